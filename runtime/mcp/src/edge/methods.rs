//! Which request goes where.

use std::sync::Arc;

use async_trait::async_trait;

use chio_json::Json;
use chio_spec::ErrorCode;

use crate::edge::Edge;
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Notification};
use crate::registry::chio_error;
use crate::session::{Handler, Incoming};
use crate::upstream::{SERVER_METHODS, empty_object};

/// What a client says once it has read the answer to `initialize`.
pub(super) const INITIALIZED: &str = "notifications/initialized";

/// What a client says when its roots are others.
const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

/// The methods that reach a server, or give out what one said, without a decision of the kernel, and must not under
/// a stop.
const REFUSED_WHEN_STOPPED: [&str; 6] = [
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "logging/setLevel",
    "tasks/result",
];

#[async_trait]
impl Handler for Edge {
    fn arriving(&self, request: &Incoming) {
        if request.method == "initialize" {
            self.phases.begin(&request.id);
        }
    }

    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        let method = request.method.as_str();
        match method {
            "ping" => return Ok(empty_object()),
            "initialize" => return self.initialize(&request).await,
            _ => {}
        }
        if !SERVER_METHODS.contains(&method) {
            return Err(not_here(method));
        }
        if !self.phases.ready().await {
            return Err(chio_error(ErrorCode::SessionNotInitialized, None, None));
        }
        if !self.is_offered(method) {
            return Err(not_here(method));
        }
        if REFUSED_WHEN_STOPPED.contains(&method) {
            self.not_stopped()?;
        }
        match method {
            "tools/list" => self.list_tools(&request).await,
            "resources/list" => self.list_resources(&request).await,
            "resources/templates/list" => self.list_templates(&request).await,
            "prompts/list" => self.list_prompts(&request).await,
            "tools/call" => self.call_tool(&request).await,
            "resources/read" => self.read_resource(&request).await,
            "resources/subscribe" => self.subscribe(&request).await,
            "resources/unsubscribe" => self.unsubscribe(&request).await,
            "prompts/get" => self.get_prompt(&request).await,
            "completion/complete" => self.complete(&request).await,
            "logging/setLevel" => self.set_log_level(&request).await,
            "tasks/get" => self.get_task(&request),
            "tasks/list" => self.list_tasks(&request),
            "tasks/result" => self.task_result(&request).await,
            "tasks/cancel" => self.cancel_task(&request).await,
            _ => Err(not_here(method)),
        }
    }

    fn notification(&self, notification: Notification) {
        match notification.method.as_str() {
            INITIALIZED => {
                if self.phases.confirm() {
                    self.tell_ready();
                }
                self.phases.wake();
            }
            ROOTS_CHANGED => self.roots_changed(),
            method => tracing::debug!(method, "dropped a notification of the client"),
        }
    }
}

impl Edge {
    /// Whether a method belongs to what was announced. Only what is the edge's own is asked: a server knows best
    /// which of its methods exist.
    fn is_offered(&self, method: &str) -> bool {
        let Some(introduced) = self.introduced.get() else { return true };
        match method {
            "logging/setLevel" => introduced.announced.has("logging"),
            method if method.starts_with("tasks/") => introduced.announced.has("tasks"),
            _ => true,
        }
    }

    /// A handle for work that outlives its request; none once the session is over.
    pub(super) fn handle(&self) -> Result<Arc<Self>, ErrorObject> {
        self.me.upgrade().ok_or_else(|| chio_error(ErrorCode::InternalError, None, None))
    }
}

pub(super) fn not_here(method: &str) -> ErrorObject {
    ErrorObject::new(METHOD_NOT_FOUND, format!("the method {method} does not exist here"))
}
