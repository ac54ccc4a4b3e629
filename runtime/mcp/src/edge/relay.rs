//! What the wrapped server asks and tells its client.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use chio_json::Json;
use chio_kernel::{Refusal, Target};
use chio_spec::{ErrorCode, ToolName};

use crate::edge::results::{chio_error, receipt_id};
use crate::edge::{Edge, EdgeSettings};
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Members, Notification};
use crate::session::{Incoming, Session};
use crate::upstream::{UpstreamEvents, empty_object};

/// The part of an edge that the server talks to. It does not hold the edge itself: an upstream outlives the
/// sessions of its clients.
pub(super) struct FromUpstream {
    settings: EdgeSettings,
    client: Session,
    subscriptions: Arc<Mutex<HashSet<String>>>,
}

impl FromUpstream {
    pub(super) fn new(edge: &Edge) -> Self {
        Self {
            settings: edge.settings.clone(),
            client: edge.client.clone(),
            subscriptions: Arc::clone(&edge.subscriptions),
        }
    }

    fn is_subscribed(&self, notification: &Notification) -> bool {
        let uri = notification
            .params
            .as_ref()
            .and_then(|params| Members::parse(params.get()).ok())
            .and_then(|params| params.string("uri"));
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may name a resource below the one that was subscribed to.
        uri.is_some_and(|uri| subscriptions.iter().any(|subscribed| is_at_or_below(&uri, subscribed)))
    }
}

#[async_trait]
impl UpstreamEvents for FromUpstream {
    /// Nothing that a server asks of its client is governed yet, so all of it is refused, with a receipt.
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let settings = &self.settings;
        let not_found = || {
            ErrorObject::new(METHOD_NOT_FOUND, format!("the method {} does not exist here", request.method))
        };
        let method = ToolName::new(request.method.as_str()).map_err(|_| not_found())?;
        let server_id = settings.server.id().clone();
        let target = Target::Tool(method.clone());
        let capability = settings.authority.capability_for(&target, &server_id, settings.kernel.now()).ok();
        let outcome = settings
            .kernel
            .refuse(Refusal {
                request_id: request.id.json().to_owned(),
                surface: settings.surface,
                capability,
                server_id,
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
        let relayed = match notification.method.as_str() {
            "notifications/message"
            | "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => true,
            "notifications/resources/updated" => self.is_subscribed(&notification),
            _ => false,
        };
        if !relayed {
            return tracing::debug!(method = %notification.method, "dropped a notification of the tool server");
        }
        let _ = self.client.notify(&notification.method, notification.params.as_ref(), None);
    }
}

fn is_at_or_below(uri: &str, subscribed: &str) -> bool {
    uri.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || subscribed.ends_with('/') || rest.starts_with(['/', '#', '?']))
}
