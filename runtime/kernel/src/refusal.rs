//! Protocol features that the kernel does not govern yet.
//!
//! They are never let through unseen: each is refused, and the refusal has its receipt.

use chio_core::hash::NULL_CONTENT_HASH;
use chio_json::{Json, Signed};
use chio_spec::{
    CapabilityToken, Decision, DecisionDeny, ErrorCode, ResultErr, ServerId, ToolCallResult, ToolName,
};

use crate::pipeline::Verdict;
use crate::records::Facts;
use crate::steps::Progress;
use crate::trail::Denial;
use crate::{Kernel, Outcome};

/// The name that such denials give as their guard.
const GUARD: &str = "governed_methods";

/// A request that is refused because of its kind.
#[derive(Debug)]
pub struct Refusal {
    /// Identifier of the request.
    pub request_id: String,
    /// Name of the surface.
    pub surface: &'static str,
    /// The capability of the session that the request came up in.
    pub capability: Option<Signed<CapabilityToken>>,
    /// The server that is concerned.
    pub server_id: ServerId,
    /// The protocol method, for example `sampling/createMessage`.
    pub method: ToolName,
    /// Its parameters.
    pub params: Json,
}

impl Kernel {
    /// Refuses a request whose kind is not governed, with a receipt.
    pub async fn refuse(&self, refusal: Refusal) -> Outcome {
        let denial = Denial::new(
            ErrorCode::MethodNotGoverned,
            GUARD,
            format!("{} is not governed yet, so it is refused", refusal.method.as_str()),
        );
        let token = refusal.capability.as_ref().and_then(|token| token.view().ok().cloned());
        let mut progress = Progress { authenticated: token.is_some(), token, ..Progress::default() };
        progress.trail.failed(&denial);
        let facts = Facts::of_refusal(refusal, self.now());
        let verdict = Verdict {
            decision: Decision::Deny(DecisionDeny::new(denial.guard.clone(), denial.reason.clone())),
            result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
            denial: Some(denial),
            content_hash: NULL_CONTENT_HASH,
            stream: None,
        };
        self.close(&facts, progress, verdict, None).await
    }
}
