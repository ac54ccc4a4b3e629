//! Requests whose kind nobody governs, or nobody can answer for.
//!
//! They are never let through unseen: each is refused, and the refusal has its receipt.

use std::sync::Arc;

use chio_json::{Json, Signed};
use chio_spec::{CapabilityToken, ErrorCode, ServerId, ToolName};

use crate::records::{self, Facts};
use crate::trail::{Denial, Progress};
use crate::{CallerSession, Kernel, Outcome};

/// The name that such denials give as their guard.
const GUARD: &str = "governed_methods";

/// A request that is refused because of its kind.
#[derive(Debug)]
pub struct UngovernedRequest {
    /// Identifier of the request.
    pub request_id: String,
    /// Name of the surface.
    pub surface: &'static str,
    /// Whose session the request came up in, where that is known.
    pub caller: Option<Arc<CallerSession>>,
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
    /// Refuses a request whose kind is not governed, with a receipt. They are paced: a wrapped server may send such
    /// requests without end.
    pub async fn refuse(&self, request: UngovernedRequest) -> Outcome {
        let denial = Denial::new(
            ErrorCode::MethodNotGoverned,
            GUARD,
            format!("{} is not governed here, so it is refused", request.method.as_str()),
        );
        let token = request.capability.as_ref().and_then(|token| token.view().ok());
        let token = token.map(|token| (token.id.clone(), records::attribution(token)));
        let progress = Progress { token, ..Progress::default() };
        let facts = Facts::of_ungoverned(request, self.now());
        self.deny_stranger(&facts, progress, denial).await
    }
}
