//! Which grants of the token admit the call, what they charge, and the proof that some of them ask for.

use std::sync::Arc;

use chio_core::capability::constraint::{self, ArgumentView};
use chio_core::capability::{
    VerifiedToken, covering_grants, match_prompt, match_resource, match_tool_grants,
};
use chio_core::dpop::{self, DpopFault};
use chio_core::hash::hash_json;
use chio_spec::{CapabilityToken, ChioScope, Constraint, ErrorCode, Operation, ToolGrant};
use chio_store::{Charge, NonceClaim};

use crate::CallRequest;
use crate::connection::Target;
use crate::steps::offload;
use crate::trail::{Denial, step};

/// One grant that admits the call, and what it charges.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) grant_index: u32,
    /// The grant's own budget and that of every ancestor's grant above it.
    pub(crate) charges: Vec<Charge>,
}

/// A grant that covers the call, by its place in the scope. Only tool grants carry budgets and ask for proofs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched {
    index: usize,
    is_tool: bool,
    needs_proof: bool,
}

impl Matched {
    /// Adds what the call charges: to the grant, and to the grant of every ancestor that it was cut from.
    pub(crate) fn charged(self, view: &CapabilityToken, ancestors: &[VerifiedToken]) -> Candidate {
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

/// The grants that admit the call, best first.
pub(crate) async fn matching_grants(
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
        Target::Tool(tool) | Target::ClientRequest { method: tool } => {
            let exact = matches!(request.target, Target::ClientRequest { .. });
            let (token, arguments) = (token.clone(), Arc::clone(arguments));
            let (server_id, name) = (request.server_id.clone(), tool.clone());
            let evaluate = move || tool_grants(&token, server_id.as_str(), name.as_str(), exact, &arguments);
            // Compiling patterns takes its time, whatever the arguments.
            let bytes = if has_patterns(scope) { usize::MAX } else { request.arguments.get().len() };
            offload(bytes, evaluate)
                .await??
                .ok_or_else(|| out_of_scope(&format!("requested tool {} on server {server}", tool.as_str())))
        }
    }
}

fn has_patterns(scope: &ChioScope) -> bool {
    let is_pattern = |rule: &Constraint| {
        matches!(rule, Constraint::RegexMatch(_) | Constraint::MemoryWriteDenyPatterns(_))
    };
    scope.grants.iter().any(|grant| grant.constraints.iter().any(is_pattern))
}

/// The tool grants whose constraints hold; none when no grant covers the tool at all. With `exact`, a grant of every
/// tool covers nothing.
fn tool_grants(
    token: &VerifiedToken,
    server: &str,
    tool: &str,
    exact: bool,
    arguments: &ArgumentView,
) -> Result<Option<Vec<Matched>>, Denial> {
    let mut grants = match_tool_grants(&token.token().scope, server, tool, Operation::Invoke);
    grants.retain(|(_, grant)| !exact || grant.tool_name.as_str() == tool);
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
pub(crate) fn proof_of_possession(
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
