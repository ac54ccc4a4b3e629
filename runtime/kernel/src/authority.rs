//! Capabilities for callers that present none.
//!
//! The kernel decides about capabilities only. A surface whose caller cannot know them (an editor that speaks plain
//! MCP) holds a session key of its own, and the local authority issues to that key what the policy grants by default.
//! So such a caller gets the same decisions, budgets and revocations as everybody else, and its receipts name the
//! capability.

use std::sync::{Arc, Mutex, PoisonError};

use chio_core::capability::{CapabilityTemplate, issue, match_prompt, match_resource, match_tool_grants};
use chio_core::keys::SigningKey;
use chio_json::{PublicKeyHex, Signed};
use chio_policy::{DefaultGrant, EffectivePolicy, Identity};
use chio_spec::{CapabilityId, CapabilityToken, ChioScope, Operation, ServerId};
use uuid::Uuid;

use crate::{Kernel, KernelError, Target};

/// How many of the tokens of one default capability a session remembers.
const REMEMBERED: usize = 1024;

/// Issues, and renews before they expire, the capabilities of one session.
#[derive(Debug)]
pub struct LocalAuthority {
    key: Arc<SigningKey>,
    subject: PublicKeyHex,
    policy: Arc<EffectivePolicy>,
    identity: Identity,
    /// The tokens issued for each default capability of the policy, by position, oldest first.
    issued: Mutex<Vec<Vec<Issued>>>,
}

#[derive(Clone, Debug)]
struct Issued {
    id: CapabilityId,
    token: Signed<CapabilityToken>,
    renew_at: u64,
}

impl LocalAuthority {
    /// An authority that signs with `key` for the caller that holds `subject`, and gives it what the policy gives
    /// `identity`.
    #[must_use]
    pub fn new(
        key: Arc<SigningKey>,
        policy: Arc<EffectivePolicy>,
        subject: PublicKeyHex,
        identity: Identity,
    ) -> Self {
        // One place more than there are grants, for the capability that grants nothing.
        let issued = Mutex::new(vec![Vec::new(); policy.grants_for(&identity).len() + 1]);
        Self { key, subject, policy, identity, issued }
    }

    /// The scopes that are given, one for each validity.
    #[must_use]
    pub fn grants(&self) -> &[DefaultGrant] {
        self.policy.grants_for(&self.identity)
    }

    /// The key that is issued to.
    #[must_use]
    pub fn subject(&self) -> PublicKeyHex {
        self.subject
    }

    /// The capability under which this session calls `target` on `server` now: the first default capability that covers
    /// it. When none does, one that grants nothing, so that the kernel denies the call and says so in a receipt.
    ///
    /// Once any capability of the session was revoked, that one is presented as long as the session lasts, and every
    /// further call is denied: an operator revokes the identifier that a receipt shows, renewed or not.
    ///
    /// # Errors
    /// [`KernelError::Receipt`] when the clock is beyond what a token can state.
    pub fn capability_for(
        &self,
        target: &Target,
        server: &ServerId,
        kernel: &Kernel,
    ) -> Result<Signed<CapabilityToken>, KernelError> {
        let now = kernel.now();
        let defaults = self.grants();
        let position =
            defaults.iter().position(|default| granted_by(default, target, server)).unwrap_or(defaults.len());
        let (scope, ttl) = match defaults.get(position) {
            Some(default) => (default.scope.clone(), default.ttl),
            None => (ChioScope::new(), self.policy.max_capability_ttl()),
        };
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = issued.get(position).map_or(&[][..], Vec::as_slice);
        let ids: Vec<&str> = earlier.iter().map(|issued| issued.id.as_str()).collect();
        if let Some(revoked) = kernel.store().first_revoked(&ids)
            && let Some(revoked) = earlier.iter().find(|issued| issued.id.as_str() == revoked)
        {
            return Ok(revoked.token.clone());
        }
        if let Some(current) = earlier.last().filter(|current| now < current.renew_at) {
            return Ok(current.token.clone());
        }
        let id = CapabilityId::new(format!("cap-{}", Uuid::now_v7()))
            .map_err(|error| KernelError::Receipt(error.to_string()))?;
        let token = self.issue(id.clone(), scope, ttl, now)?;
        if let Some(slot) = issued.get_mut(position) {
            // A quarter of the validity is left for calls that wait.
            let renew_at = now.saturating_add(ttl - ttl / 4);
            slot.push(Issued { id, token: token.clone(), renew_at });
            // Days of renewals; what is forgotten expired long ago.
            let surplus = slot.len().saturating_sub(REMEMBERED);
            slot.drain(..surplus);
        }
        Ok(token)
    }

    /// Whether a default capability covers `target` on `server`, so that
    /// [`capability_for`](Self::capability_for) would give one that does.
    #[must_use]
    pub fn covers(&self, target: &Target, server: &ServerId) -> bool {
        self.grants().iter().any(|default| granted_by(default, target, server))
    }

    fn issue(
        &self,
        id: CapabilityId,
        scope: ChioScope,
        ttl: u64,
        now: u64,
    ) -> Result<Signed<CapabilityToken>, KernelError> {
        let template = CapabilityTemplate {
            id,
            subject: self.subject,
            scope,
            issued_at: now,
            expires_at: now.saturating_add(ttl),
            delegation_chain: Vec::new(),
        };
        issue(&self.key, template).map_err(|error| KernelError::Receipt(error.to_string()))
    }
}

/// Whether a default grant covers `target` on `server`. What its scope says counts only where the grant holds.
fn granted_by(default: &DefaultGrant, target: &Target, server: &ServerId) -> bool {
    let names_its_server = matches!(target, Target::Tool(_) | Target::ClientRequest { .. });
    let here = default.server.as_ref().is_none_or(|only| only == server.as_str());
    (here || names_its_server) && covers(&default.scope, target, server)
}

pub(crate) fn covers(scope: &ChioScope, target: &Target, server: &ServerId) -> bool {
    match target {
        Target::Tool(tool) => {
            !match_tool_grants(scope, server.as_str(), tool.as_str(), Operation::Invoke).is_empty()
        }
        Target::Resource { uri, subscribe, .. } => {
            let operation = if *subscribe { Operation::Subscribe } else { Operation::Read };
            match_resource(scope, uri, operation).is_some()
        }
        Target::Prompt { name, .. } => match_prompt(scope, name, Operation::Get).is_some(),
        Target::ClientRequest { method } => {
            match_tool_grants(scope, server.as_str(), method.as_str(), Operation::Invoke)
                .iter()
                .any(|(_, grant)| grant.tool_name == *method)
        }
    }
}
