//! Refusing what a wrapped server asks of its client.
//!
//! Sampling, elicitation and roots would let a server act through its client. Nothing here governs them
//! where no client is, so all of them are refused, and each refusal has its receipt.

use std::sync::{Arc, Weak};

use async_trait::async_trait;

use chio_json::Json;
use chio_kernel::{CallerSession, Kernel, LocalAuthority, Target, UngovernedRequest};
use chio_spec::{ErrorCode, ServerId, ToolName};

use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Notification};
use crate::registry::{chio_error, receipt_id};
use crate::session::Incoming;
use crate::upstream::{UpstreamEvents, empty_object};

/// Listens to one wrapped server, refuses what it asks and ignores what it tells: all that a surface without
/// MCP clients needs.
pub struct Refusals {
    // The kernel holds the server that holds us.
    kernel: Weak<Kernel>,
    server_id: ServerId,
    surface: &'static str,
    session: Option<(Arc<LocalAuthority>, Arc<CallerSession>)>,
}

impl Refusals {
    /// Refusals of what the server `server_id` asks, recorded for `surface`.
    #[must_use]
    pub fn new(kernel: &Arc<Kernel>, server_id: ServerId, surface: &'static str) -> Self {
        Self { kernel: Arc::downgrade(kernel), server_id, surface, session: None }
    }

    /// Records whose session it is, and under which capability it runs.
    #[must_use]
    pub fn in_session_of(mut self, authority: Arc<LocalAuthority>, caller: Arc<CallerSession>) -> Self {
        self.session = Some((authority, caller));
        self
    }
}

#[async_trait]
impl UpstreamEvents for Refusals {
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let not_found = || {
            ErrorObject::new(METHOD_NOT_FOUND, format!("the method {} does not exist here", request.method))
        };
        let kernel = self.kernel.upgrade().ok_or_else(not_found)?;
        let method = ToolName::new(request.method.as_str()).map_err(|_| not_found())?;
        let target = Target::Tool(method.clone());
        let capability = self
            .session
            .as_ref()
            .and_then(|(authority, _)| authority.capability_for(&target, &self.server_id, &kernel).ok());
        let outcome = kernel
            .refuse(UngovernedRequest {
                request_id: request.id.json().to_owned(),
                surface: self.surface,
                caller: self.session.as_ref().map(|(_, caller)| Arc::clone(caller)),
                capability,
                server_id: self.server_id.clone(),
                method,
                params: request.params.clone().unwrap_or_else(empty_object),
            })
            .await;
        let id = receipt_id(&outcome);
        tracing::warn!(method = %request.method, receipt = id, "refused a request of the tool server to its client");
        let text = format!("{} is not governed here, so it is refused", request.method);
        let error = chio_error(ErrorCode::MethodNotGoverned, Some(&text), id);
        // To the server this method does not exist: its client never announced it.
        Err(ErrorObject { code: METHOD_NOT_FOUND, ..error })
    }

    fn notification(&self, notification: Notification) {
        tracing::debug!(method = %notification.method, "dropped a notification of the tool server");
    }
}
