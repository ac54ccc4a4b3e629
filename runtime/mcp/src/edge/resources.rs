//! Resources: reading, subscribing, and which server a URI belongs to.

use std::sync::Arc;

use chio_json::Json;
use chio_kernel::{Patience, Target};
use chio_spec::{ErrorCode, ServerId, ToolName};

use crate::connection::Following;
use crate::edge::Edge;
use crate::edge::calls::Call;
use crate::edge::params::{Meta, Params, invalid, method};
use crate::edge::results::upstream_error;
use crate::jsonrpc::{ErrorObject, Members, quote};
use crate::session::{Incoming, RequestOptions};
use crate::upstream::{REQUEST_TIMEOUT, Upstream, empty_object};

const SUBSCRIBE: &str = "resources/subscribe";

/// The request id in the receipt of a subscription that is made again, for which no client has sent a request.
const AGAIN: &str = "subscribed again";

/// Subscriptions of one session at a time.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// A subscription of the session's.
pub(super) struct Subscription {
    pub(super) server: ServerId,
    /// Whether the server took it; until then it is being decided.
    pub(super) made: bool,
}

impl Edge {
    pub(super) async fn read_resource(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let (meta, arguments) = (params.meta()?, params.only(&["uri"]));
        let member = self.member_of(&uri, &request.cancelled).await;
        let target = Target::Resource { method: method(request)?, uri, subscribe: false };
        match member {
            Ok(member) => self.govern_method(request, member, target, &arguments, meta).await,
            Err(instead) => self.deny_method(request, target, &arguments, meta, instead).await,
        }
    }

    pub(super) async fn subscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let (meta, arguments) = (params.meta()?, params.only(&["uri"]));
        let member = self.member_of(&uri, &request.cancelled).await;
        let target = Target::Resource { method: method(request)?, uri: uri.clone(), subscribe: true };
        let member = match member {
            Ok(member) => member,
            Err(instead) => return self.deny_method(request, target, &arguments, meta, instead).await,
        };
        // Before the server knows: its first update may overtake its answer.
        let new = {
            let mut subscriptions = self.subscriptions();
            if subscriptions.len() >= MOST_SUBSCRIPTIONS && !subscriptions.contains_key(&uri) {
                let text = format!("this session has {MOST_SUBSCRIPTIONS} subscriptions; end some first");
                return Err(crate::registry::chio_error(ErrorCode::KernelBusy, Some(&text), None));
            }
            let new = !subscriptions.contains_key(&uri);
            let server = member.id().clone();
            subscriptions.entry(uri.clone()).or_insert(Subscription { server, made: false });
            new
        };
        let answer = self.govern_method(request, member, target, &arguments, meta).await;
        let mut subscriptions = self.subscriptions();
        if answer.is_ok() {
            subscriptions.insert(uri, Subscription { server: member.id().clone(), made: true });
        } else if new && subscriptions.get(&uri).is_some_and(|subscription| !subscription.made) {
            subscriptions.remove(&uri);
        }
        drop(subscriptions);
        answer
    }

    /// Makes a subscription once more at a server that was started again. Much may have changed since the first time, so
    /// it is decided anew, under what the session is given by default, and leaves a receipt of its own. A subscription
    /// that is not made again is over.
    pub(super) async fn subscribe_again(&self, server: &ServerId, upstream: &Arc<Upstream>, uri: String) {
        let Some(member) = self.settings.servers.get(server) else { return };
        if self.subscribed_at(&uri).as_ref() != Some(server) {
            return;
        }
        let again = async {
            let mut arguments = Members::default();
            arguments.set("uri", quote(&uri));
            let arguments = arguments.to_json().map_err(|error| invalid(&error.to_string()))?;
            let method = ToolName::new(SUBSCRIBE).map_err(|error| invalid(&error.to_string()))?;
            let call = Call {
                request_id: quote(AGAIN),
                member,
                upstream: Ok(Arc::clone(upstream)),
                target: Target::Resource { method, uri: uri.clone(), subscribe: true },
                arguments,
                meta: Meta { forward: "{}".to_owned(), ..Meta::default() },
                following: Following { progress: None, task: None },
                patience: Patience::Call,
                cancel: self.over.child_token(),
            };
            self.govern(call).await?.method_answer()
        };
        if let Err(error) = again.await {
            tracing::warn!(%server, error = %error.message, "a subscription was not made again after a restart");
            self.subscriptions().remove(&uri);
        } else if self.subscribed_at(&uri).is_none() {
            // The client ended it meanwhile.
            let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
            let mut params = Members::default();
            params.set("uri", quote(&uri));
            if let Ok(params) = params.to_json() {
                let _ = member.unsubscribe(upstream, &params, options).await;
            }
        }
    }

    /// Needs no decision: afterwards the server does less.
    pub(super) async fn unsubscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let subscribed = self.subscribed_at(&uri);
        // There is nothing to end, so no server needs to hear of it.
        let Some(member) = subscribed.and_then(|id| self.settings.servers.get(&id)) else {
            return Ok(empty_object());
        };
        let answer = match member.running() {
            // A server that is gone has forgotten the subscription already.
            None => Ok(empty_object()),
            Some(upstream) => {
                let forwarded = forwarded(&params, &["uri"], &params.meta()?)?;
                let options = RequestOptions {
                    timeout: Some(REQUEST_TIMEOUT),
                    cancelled: Some(request.cancelled.clone()),
                    ..RequestOptions::default()
                };
                member.unsubscribe(&upstream, &forwarded, options).await.map_err(upstream_error)
            }
        };
        self.subscriptions().remove(&uri);
        answer
    }

    /// The server that the session has a subscription to this URI at.
    pub(super) fn subscribed_at(&self, uri: &str) -> Option<ServerId> {
        self.subscriptions().get(uri).map(|subscription| subscription.server.clone())
    }
}

/// The parameters of a request that passes without a decision: what is known of it, and its `_meta` for the server.
pub(super) fn forwarded(params: &Params<'_>, keys: &[&str], meta: &Meta) -> Result<Json, ErrorObject> {
    let mut members: Members<'_> = params.only(keys);
    if meta.forward != "{}" {
        members.set("_meta", meta.forward.clone());
    }
    members.to_json().map_err(|error| invalid(&format!("the parameters: {error}")))
}
