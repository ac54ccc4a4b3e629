//! The decision before anything is taken: every step that only looks.
//!
//! The order is the order of the decision. Each step either leaves evidence that it passed or ends the decision with a
//! [`Denial`]; nothing after a denial runs. Nothing that costs more than a signature is done for a caller before its
//! token's authority is proven.

use std::sync::Arc;

use chio_core::capability::constraint::ArgumentView;
use chio_core::capability::{TimeStatus, VerifiedToken, admit, time_status};
use chio_json::Signed;
use chio_spec::{CapabilityToken, ErrorCode};
use chio_store::NonceClaim;

use crate::dispatch::without_panic;
use crate::scope::{Candidate, matching_grants, proof_of_possession};
use crate::tokens::within_size;
use crate::trail::{Denial, Progress, step};
use crate::{CallRequest, Kernel, KernelError, records};

/// Arguments above this size, in bytes, are read and inspected on a thread of their own: that work grows with them, and
/// the threads that serve everybody must not wait for it.
const INLINE: usize = 64 << 10;

/// A call that nothing speaks against so far.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub(crate) token: VerifiedToken,
    pub(crate) ancestors: Vec<VerifiedToken>,
    /// The grants that admit the call, best first; the first whose budgets have room is charged.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) nonce: Option<NonceClaim>,
}

impl Kernel {
    /// Runs every step up to the guards.
    pub(crate) async fn clear(
        &self,
        request: &CallRequest,
        now: u64,
        progress: &mut Progress,
    ) -> Result<Cleared, Denial> {
        self.not_stopped(&[])?;
        let view = structure(&request.capability)?;
        progress.token = Some((view.id.clone(), records::attribution(view)));
        progress.agents = agents(view);
        self.not_stopped(&progress.agents)?;
        progress.trail.passed(step::EMERGENCY_STOP);
        progress.trail.passed(step::STRUCTURE);

        let token = self.signature(&request.capability, view)?;
        progress.trail.passed(step::SIGNATURE);
        validity(view, now)?;
        progress.trail.passed(step::VALIDITY);
        self.not_revoked(view)?;
        progress.trail.passed(step::REVOCATION);
        let ancestors = self.ancestors(&token, &request.ancestors).await?;
        self.delegation(&token, &ancestors)?;
        progress.authenticated = true;
        ancestors.iter().chain([&token]).for_each(|token| self.tokens.remember(token));
        if !ancestors.is_empty() {
            progress.trail.passed_with(step::DELEGATION, format!("{} links", ancestors.len()));
        }
        subject(request, &token)?;
        progress.trail.passed(step::SUBJECT);
        request.caller.remember(&request.capability, view);

        let arguments = Arc::new(self.arguments(request).await?);
        let grants = matching_grants(&token, request, &arguments).await?;
        progress.trail.passed(step::SCOPE);
        let (grants, nonce) = proof_of_possession(grants, request, &token, now)?;
        if nonce.is_some() {
            progress.trail.passed(step::DPOP);
        }
        if self.target_known(request).await? {
            progress.trail.passed(step::TOOL);
        }
        self.guards(request, &arguments, view, progress).await?;

        let candidates = grants.into_iter().map(|grant| grant.charged(view, &ancestors)).collect();
        Ok(Cleared { token, ancestors, candidates, nonce })
    }

    pub(crate) fn not_stopped(&self, agents: &[String]) -> Result<(), Denial> {
        let stops = self.store.stops();
        if stops.everything.is_some() {
            return Err(stopped(None));
        }
        match agents.iter().find(|agent| stops.covers(agent)) {
            Some(agent) => Err(stopped(Some(agent))),
            None => Ok(()),
        }
    }

    async fn arguments(&self, request: &CallRequest) -> Result<ArgumentView, Denial> {
        let arguments = request.arguments.clone();
        let read = offload(arguments.get().len(), move || ArgumentView::new(&arguments)).await?;
        read.map_err(|error| {
            Denial::new(ErrorCode::InvalidRequestShape, step::STRUCTURE, "arguments are not readable JSON")
                .with_details(error.to_string())
        })
    }

    /// The signatures of the token, and trust in its issuer when it is a root. The root of a delegated token is known
    /// only with its ancestors.
    pub(crate) fn signature(
        &self,
        capability: &Signed<CapabilityToken>,
        view: &CapabilityToken,
    ) -> Result<VerifiedToken, Denial> {
        let token = self.tokens.verify(capability).map_err(|fault| {
            Denial::new(fault.code(), step::SIGNATURE, fault.reason()).with_details(fault.to_string())
        })?;
        if view.delegation_chain.is_empty() && !self.trusted_issuers.contains(&view.issuer) {
            let details = format!("issuer {} is not among the trusted issuers", view.issuer);
            return Err(Denial::new(
                ErrorCode::CapabilityIssuerUntrusted,
                step::SIGNATURE,
                "capability issuer is not trusted",
            )
            .with_details(details));
        }
        Ok(token)
    }

    pub(crate) fn not_revoked(&self, view: &CapabilityToken) -> Result<(), Denial> {
        let links = view.delegation_chain.iter().map(|link| link.capability_id.as_str());
        let ids: Vec<&str> = std::iter::once(view.id.as_str()).chain(links).collect();
        match self.store.first_revoked(&ids) {
            Some(id) => Err(revoked(id, view)),
            None => Ok(()),
        }
    }

    pub(crate) fn delegation(
        &self,
        token: &VerifiedToken,
        ancestors: &[VerifiedToken],
    ) -> Result<(), Denial> {
        admit(token, ancestors, &self.trusted_issuers, self.policy().delegation_depth_limit()).map_err(
            |fault| {
                Denial::new(fault.code(), step::DELEGATION, fault.reason()).with_details(fault.to_string())
            },
        )
    }

    /// True when the target exists, false when the caller left before that was known.
    async fn target_known(&self, request: &CallRequest) -> Result<bool, Denial> {
        let server = request.server_id.as_str();
        let unknown = |reason: String| Denial::new(ErrorCode::ToolNotRegistered, step::TOOL, reason);
        let Some(connection) = self.server(&request.server_id) else {
            return Err(unknown(format!("tool server {server} is not registered")));
        };
        let asked = tokio::select! {
            asked = without_panic(connection.knows(&request.target, request.meta.as_ref())) => asked,
            () = tokio::time::sleep(self.policy().tool_timeout()) => {
                Some(Err(KernelError::ToolServerError("it did not answer in time".to_owned())))
            }
            // Such a call ends before it is dispatched, and its receipt says why.
            () = request.cancel.cancelled() => return Ok(false),
        };
        let failed = |details: String| {
            Denial::new(ErrorCode::ToolServerError, step::TOOL, "the tool server does not list its tools")
                .with_details(details)
        };
        match asked {
            Some(Ok(true)) => Ok(true),
            Some(Ok(false)) => Err(unknown(format!(
                "tool {} is not registered on server {server}",
                request.target.tool_name().as_str()
            ))),
            Some(Err(error @ KernelError::Unavailable(_))) => {
                Err(Denial::new(ErrorCode::ServerUnavailable, step::TOOL, "the tool server is not available")
                    .with_details(error.to_string()))
            }
            Some(Err(error)) => Err(failed(error.to_string())),
            None => Err(failed("the tool server connection panicked".to_owned())),
        }
    }
}

/// Everybody whose stop stops the call.
pub(crate) fn agents(view: &CapabilityToken) -> Vec<String> {
    let delegators = view.delegation_chain.iter().map(|link| link.delegator.to_string());
    std::iter::once(view.subject.to_string()).chain(delegators).collect()
}

/// Runs `work` here, or on a thread of its own when it looks at many bytes.
pub(crate) async fn offload<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Denial> {
    if bytes <= INLINE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Denial::new(ErrorCode::InternalError, step::STRUCTURE, "the arguments could not be inspected")
            .with_details(error.to_string())
    })
}

pub(crate) fn stopped(agent: Option<&str>) -> Denial {
    let details = match agent {
        None => "the operator has stopped all calls; `chio resume` lifts the stop".to_owned(),
        Some(agent) => {
            format!("the operator has stopped agent {agent}; `chio resume --agent {agent}` lifts the stop")
        }
    };
    Denial::new(ErrorCode::EmergencyStop, step::EMERGENCY_STOP, "stopped by the operator")
        .with_details(details)
}

pub(crate) fn revoked(id: &str, view: &CapabilityToken) -> Denial {
    let (code, reason) = if id == view.id.as_str() {
        (ErrorCode::CapabilityRevoked, format!("capability has been revoked: {id}"))
    } else {
        (ErrorCode::DelegationAncestorRevoked, format!("delegation chain revoked at ancestor {id}"))
    };
    Denial::new(code, step::REVOCATION, reason)
}

pub(crate) fn structure(capability: &Signed<CapabilityToken>) -> Result<&CapabilityToken, Denial> {
    within_size(capability, step::STRUCTURE)?;
    capability.view().map_err(|error| {
        Denial::new(ErrorCode::CapabilityMalformed, step::STRUCTURE, "capability token is malformed")
            .with_details(error.to_string())
    })
}

pub(crate) fn validity(view: &CapabilityToken, now: u64) -> Result<(), Denial> {
    let (code, reason) = match time_status(view.issued_at, view.expires_at, now) {
        TimeStatus::Valid => return Ok(()),
        TimeStatus::Expired => (ErrorCode::CapabilityExpired, "capability has expired"),
        TimeStatus::NotYetValid => (ErrorCode::CapabilityNotYetValid, "capability not yet valid"),
    };
    let details = format!("valid from {} until before {}, and it is {now}", view.issued_at, view.expires_at);
    Err(Denial::new(code, step::VALIDITY, reason).with_details(details))
}

fn subject(request: &CallRequest, token: &VerifiedToken) -> Result<(), Denial> {
    let subject = token.token().subject;
    if request.caller.bind(subject) {
        return Ok(());
    }
    let bound = request.caller.subject().map_or_else(String::new, |bound| bound.to_string());
    Err(Denial::new(ErrorCode::SubjectMismatch, step::SUBJECT, "capability belongs to another subject")
        .with_details(format!("the session is bound to {bound}, the capability's subject is {subject}")))
}
