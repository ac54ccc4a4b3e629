//! What the wrapped server asks and tells its client.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use chio_json::Json;
use chio_spec::ServerId;

use crate::channel::Route;
use crate::edge::Edge;
use crate::error::CloseReason;
use crate::jsonrpc::{ErrorObject, Members, Notification};
use crate::refusals::Refusals;
use crate::servers::{ServerEvents, is_at_or_below};
use crate::session::{Incoming, Session};
use crate::upstream::UpstreamEvents;

/// The part of an edge that the server talks to. It holds neither the edge nor the kernel: an upstream
/// outlives the sessions of its clients, and is itself held by both.
pub(super) struct FromUpstream {
    refusals: Refusals,
    client: Session,
    subscriptions: Arc<Mutex<HashSet<String>>>,
}

impl FromUpstream {
    pub(super) fn new(edge: &Edge) -> Self {
        let settings = &edge.settings;
        let refusals = Refusals::new(&settings.kernel, edge.server.id().clone(), settings.surface)
            .in_session_of(Arc::clone(&settings.authority));
        Self { refusals, client: edge.client.clone(), subscriptions: Arc::clone(&edge.subscriptions) }
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
impl ServerEvents for FromUpstream {
    async fn request(&self, _: &ServerId, request: &Incoming) -> Result<Json, ErrorObject> {
        self.refusals.request(request).await
    }

    fn notification(&self, _: &ServerId, notification: Notification) {
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
        let _ = self.client.notify(&notification.method, notification.params.as_ref(), Route::Unrelated);
    }

    fn ended(&self, server: &ServerId, reason: &CloseReason) {
        tracing::info!(%server, %reason, "the tool server of a session ended");
    }
}
