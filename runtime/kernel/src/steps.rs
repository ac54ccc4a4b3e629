//! The decision before anything is taken: every step that only looks.
//!
//! The order is the order of the decision. Each step either leaves evidence that it passed or ends the decision with a
//! [`Denial`]; nothing after a denial runs. Nothing that costs more than a signature is done for a caller before its
//! token's authority is proven.

use std::sync::Arc;

use chio_core::capability::constraint::{self, ArgumentView};
use chio_core::capability::{
    TimeStatus, VerifiedToken, admit, covering_grants, match_prompt, match_resource, match_tool_grants,
    time_status,
};
use chio_core::dpop::{self, DpopFault};
use chio_core::hash::hash_json;
use chio_spec::{CapabilityId, CapabilityToken, ErrorCode, Operation, ReceiptAttribution, ToolGrant};
use chio_store::{Charge, NonceClaim};

use crate::connection::Target;
use crate::dispatch::without_panic;
use crate::tokens::within_size;
use crate::trail::{Denial, Trail, step};
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

/// One grant that admits the call, and what it charges.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) grant_index: u32,
    /// The grant's own budget and that of every ancestor's grant above it.
    pub(crate) charges: Vec<Charge>,
}

/// How far the decision got; what a receipt may say about the caller depends on it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) trail: Trail,
    /// The token's identifier and whose authority it states, once it could be read.
    pub(crate) token: Option<(CapabilityId, ReceiptAttribution)>,
    /// The subject of the token and everybody who delegated to it: a stop of any of them stops the call.
    pub(crate) agents: Vec<String>,
    /// Whether the token's authority was proven.
    pub(crate) authenticated: bool,
    /// Whether a guard denied: its evidence is in the trail already.
    pub(crate) guard_denied: bool,
}

impl Progress {
    /// Notes the grant that admitted the call.
    pub(crate) fn admitted_by(&mut self, grant_index: u32) {
        if let Some((_, attribution)) = &mut self.token {
            attribution.grant_index = Some(grant_index);
        }
    }
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
        let view = structure(request)?;
        progress.token = Some((view.id.clone(), records::attribution(view)));
        progress.agents = agents(view);
        self.not_stopped(&progress.agents)?;
        progress.trail.passed(step::EMERGENCY_STOP);
        progress.trail.passed(step::STRUCTURE);

        let token = self.signature(request, view)?;
        progress.trail.passed(step::SIGNATURE);
        validity(view, now)?;
        progress.trail.passed(step::VALIDITY);
        self.not_revoked(view)?;
        progress.trail.passed(step::REVOCATION);
        let ancestors = self.ancestors(&token, request).await?;
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
        self.target_known(request).await?;
        progress.trail.passed(step::TOOL);
        self.guards(request, &arguments, view, progress).await?;

        let candidates = grants.into_iter().map(|grant| grant.charged(view, &ancestors)).collect();
        Ok(Cleared { token, ancestors, candidates, nonce })
    }

    fn not_stopped(&self, agents: &[String]) -> Result<(), Denial> {
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
    fn signature(&self, request: &CallRequest, view: &CapabilityToken) -> Result<VerifiedToken, Denial> {
        let token = self.tokens.verify(&request.capability).map_err(|fault| {
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

    fn not_revoked(&self, view: &CapabilityToken) -> Result<(), Denial> {
        let links = view.delegation_chain.iter().map(|link| link.capability_id.as_str());
        let ids: Vec<&str> = std::iter::once(view.id.as_str()).chain(links).collect();
        match self.store.first_revoked(&ids) {
            Some(id) => Err(revoked(id, view)),
            None => Ok(()),
        }
    }

    fn delegation(&self, token: &VerifiedToken, ancestors: &[VerifiedToken]) -> Result<(), Denial> {
        admit(token, ancestors, &self.trusted_issuers, self.policy().delegation_depth_limit()).map_err(
            |fault| {
                Denial::new(fault.code(), step::DELEGATION, fault.reason()).with_details(fault.to_string())
            },
        )
    }

    async fn target_known(&self, request: &CallRequest) -> Result<(), Denial> {
        let server = request.server_id.as_str();
        let unknown = |reason: String| Denial::new(ErrorCode::ToolNotRegistered, step::TOOL, reason);
        let Some(connection) = self.server(&request.server_id) else {
            return Err(unknown(format!("tool server {server} is not registered")));
        };
        let asked = tokio::select! {
            asked = without_panic(connection.knows(&request.target)) => asked,
            () = tokio::time::sleep(self.policy().tool_timeout()) => {
                Some(Err(KernelError::ToolServerError("it did not answer in time".to_owned())))
            }
            // Such a call is admitted, ends before it is dispatched, and its receipt says why.
            () = request.cancel.cancelled() => Some(Ok(true)),
        };
        let failed = |details: String| {
            Denial::new(ErrorCode::ToolServerError, step::TOOL, "the tool server does not list its tools")
                .with_details(details)
        };
        match asked {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(unknown(format!(
                "tool {} is not registered on server {server}",
                request.target.tool_name().as_str()
            ))),
            Some(Err(error)) => Err(failed(error.to_string())),
            None => Err(failed("the tool server connection panicked".to_owned())),
        }
    }
}

/// Everybody whose stop stops the call.
fn agents(view: &CapabilityToken) -> Vec<String> {
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

fn structure(request: &CallRequest) -> Result<&CapabilityToken, Denial> {
    within_size(&request.capability, step::STRUCTURE)?;
    request.capability.view().map_err(|error| {
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

/// A grant that covers the call, by its place in the scope. Only tool grants carry budgets and ask for proofs.
#[derive(Clone, Copy, Debug)]
struct Matched {
    index: usize,
    is_tool: bool,
    needs_proof: bool,
}

impl Matched {
    /// Adds what the call charges: to the grant, and to the grant of every ancestor that it was cut from.
    fn charged(self, view: &CapabilityToken, ancestors: &[VerifiedToken]) -> Candidate {
        let mut charges = Vec::new();
        if let Some(grant) = view.scope.grants.get(self.index).filter(|_| self.is_tool) {
            charge(&mut charges, view, self.index, grant);
            let mut child = grant;
            for ancestor in ancestors.iter().rev() {
                let parent = ancestor.token();
                // The chain was admitted, so a covering grant exists.
                let Some((index, grant)) = covering_grants(child, &parent.scope)
                    .into_iter()
                    .find_map(|index| Some((index, parent.scope.grants.get(index)?)))
                else {
                    break;
                };
                charge(&mut charges, parent, index, grant);
                child = grant;
            }
        }
        Candidate { grant_index: position(self.index), charges }
    }
}

fn charge(charges: &mut Vec<Charge>, token: &CapabilityToken, index: usize, grant: &ToolGrant) {
    if let Some(limit) = grant.max_invocations {
        let (capability_id, grant_index) = (token.id.as_str().to_owned(), position(index));
        charges.push(Charge { capability_id, grant_index, limit: u64::from(limit) });
    }
}

/// A scope that fits in a message has fewer than 2^32 grants.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

async fn matching_grants(
    token: &VerifiedToken,
    request: &CallRequest,
    arguments: &Arc<ArgumentView>,
) -> Result<Vec<Matched>, Denial> {
    let server = request.server_id.as_str();
    let scope = &token.token().scope;
    let out_of_scope = |what: &str| {
        Denial::new(ErrorCode::ScopeExceeded, step::SCOPE, format!("{what} is not in capability scope"))
    };
    let found = |index| vec![Matched { index, is_tool: false, needs_proof: false }];
    match &request.target {
        Target::Resource { uri, subscribe, .. } => {
            let operation = if *subscribe { Operation::Subscribe } else { Operation::Read };
            match match_resource(scope, uri, operation) {
                Some((index, _)) => Ok(found(index)),
                None => Err(out_of_scope("the requested resource")),
            }
        }
        Target::Prompt { name, .. } => match match_prompt(scope, name, Operation::Get) {
            Some((index, _)) => Ok(found(index)),
            None => Err(out_of_scope("the requested prompt")),
        },
        Target::Tool(tool) => {
            let (token, arguments) = (token.clone(), Arc::clone(arguments));
            let (server_id, name) = (request.server_id.clone(), tool.clone());
            let evaluate = move || tool_grants(&token, server_id.as_str(), name.as_str(), &arguments);
            offload(request.arguments.get().len(), evaluate)
                .await??
                .ok_or_else(|| out_of_scope(&format!("requested tool {} on server {server}", tool.as_str())))
        }
    }
}

/// The tool grants whose constraints hold; none when no grant covers the tool at all.
fn tool_grants(
    token: &VerifiedToken,
    server: &str,
    tool: &str,
    arguments: &ArgumentView,
) -> Result<Option<Vec<Matched>>, Denial> {
    let grants = match_tool_grants(&token.token().scope, server, tool, Operation::Invoke);
    let mut broken = None;
    let mut matched = Vec::with_capacity(grants.len());
    for (index, grant) in grants {
        match grant.constraints.iter().try_for_each(|rule| constraint::evaluate(rule, arguments)) {
            Ok(()) => {
                let needs_proof = grant.dpop_required == Some(true);
                matched.push(Matched { index, is_tool: true, needs_proof });
            }
            Err(fault) => broken = broken.or(Some(fault)),
        }
    }
    match broken {
        _ if !matched.is_empty() => Ok(Some(matched)),
        Some(fault) => {
            Err(Denial::new(fault.code(), step::SCOPE, fault.reason()).with_details(fault.to_string()))
        }
        None => Ok(None),
    }
}

/// Checks a proof that came with the call, and drops the grants that need one when none came.
fn proof_of_possession(
    grants: Vec<Matched>,
    request: &CallRequest,
    token: &VerifiedToken,
    now: u64,
) -> Result<(Vec<Matched>, Option<NonceClaim>), Denial> {
    let Some(proof) = &request.dpop_proof else {
        let free: Vec<_> = grants.into_iter().filter(|grant| !grant.needs_proof).collect();
        if free.is_empty() {
            let reason = "grant requires a proof of possession but none was provided";
            return Err(Denial::new(ErrorCode::DpopRequired, step::DPOP, reason));
        }
        return Ok((free, None));
    };
    let subject = token.subject();
    let claim = hash_json(&request.arguments).map_err(DpopFault::from).and_then(|action_hash| {
        let expected = dpop::Expected {
            capability_id: token.token().id.as_str(),
            tool_server: request.server_id.as_str(),
            tool_name: request.target.tool_name().as_str(),
            action_hash: &action_hash,
            subject,
            now,
        };
        dpop::verify(proof, &expected)
    });
    match claim {
        Ok(claim) => {
            let claim = NonceClaim { key: claim.key, nonce: claim.nonce, keep_until: claim.keep_until };
            Ok((grants, Some(claim)))
        }
        Err(fault) => {
            Err(Denial::new(fault.code(), step::DPOP, fault.reason()).with_details(fault.to_string()))
        }
    }
}
