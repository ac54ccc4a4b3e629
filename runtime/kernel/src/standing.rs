//! What a capability is good for before anything is called with it.
//!
//! A surface that lists what its caller may use asks here, so that a list shows what calls would find: nothing of a
//! token that is forged, expired, revoked or somebody else's. Nothing is recorded and nothing is bound, for nothing is
//! done.

use chio_core::capability::VerifiedToken;
use chio_json::Signed;
use chio_spec::{CapabilityToken, ChioScope, ErrorCode, Operation, ServerId};

use crate::authority::covers;
use crate::steps::{agents, structure, validity};
use crate::trail::Denial;
use crate::{CallerSession, Kernel, Target};

/// A capability that would be accepted now.
#[derive(Clone, Debug)]
pub struct Standing {
    token: VerifiedToken,
}

impl Standing {
    /// Whether a grant covers the target; constraints, guards and budgets may still speak against a call.
    #[must_use]
    pub fn covers(&self, target: &Target, server: &ServerId) -> bool {
        covers(&self.token.token().scope, target, server)
    }

    /// What the capability grants.
    #[must_use]
    pub fn scope(&self) -> &ChioScope {
        &self.token.token().scope
    }
}

impl Kernel {
    /// Looks at a capability as a call of this caller would: signatures, trust, time, revocation, chain and subject.
    ///
    /// # Errors
    /// The registry entry of the first thing that speaks against it.
    pub async fn standing(
        &self,
        caller: &CallerSession,
        capability: &Signed<CapabilityToken>,
        ancestors: &[Signed<CapabilityToken>],
    ) -> Result<Standing, ErrorCode> {
        self.look(caller, capability, ancestors).await.map_err(|denial| denial.code)
    }

    async fn look(
        &self,
        caller: &CallerSession,
        capability: &Signed<CapabilityToken>,
        ancestors: &[Signed<CapabilityToken>],
    ) -> Result<Standing, Denial> {
        let view = structure(capability)?;
        self.not_stopped(&agents(view))?;
        let token = self.signature(capability, view)?;
        validity(view, self.now())?;
        self.not_revoked(view)?;
        let ancestors = self.ancestors(&token, ancestors).await?;
        self.delegation(&token, &ancestors)?;
        if caller.subject().is_some_and(|subject| subject != view.subject) {
            let reason = "capability belongs to another subject";
            return Err(Denial::new(ErrorCode::SubjectMismatch, crate::trail::step::SUBJECT, reason));
        }
        Ok(Standing { token })
    }
}

/// Whether a scope may let a resource be read that a template (RFC 6570) can become. Every URI it can become begins
/// with what stands before its first expression, and nothing more is certain of them all.
#[must_use]
pub fn reads_some(scope: &ChioScope, template: &str) -> bool {
    let start = template.split('{').next().unwrap_or_default();
    scope.resource_grants.iter().any(|grant| {
        let pattern = grant.uri_pattern.as_str();
        let meets = match pattern.strip_suffix('*') {
            Some(prefix) => prefix.starts_with(start) || start.starts_with(prefix),
            None => pattern.starts_with(start),
        };
        meets && grant.operations.contains(&Operation::Read)
    })
}
