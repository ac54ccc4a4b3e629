//! Resources: reading, subscribing, and which server a URI belongs to.

use chio_json::Json;
use chio_kernel::Target;
use chio_spec::ErrorCode;

use crate::edge::Edge;
use crate::edge::params::{Meta, Params, method};
use crate::edge::results::upstream_error;
use crate::jsonrpc::{ErrorObject, Members};
use crate::registry::entry;
use crate::servers::Member;
use crate::session::{Cancellation, Incoming, RequestOptions};
use crate::upstream::{REQUEST_TIMEOUT, empty_object};

/// Subscriptions of one session at a time.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// MCP: there is no such resource.
const RESOURCE_NOT_FOUND: i64 = -32002;

impl Edge {
    pub(super) async fn read_resource(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let (meta, arguments) = (params.meta()?, params.only(&["uri"]));
        let member = self.member_of(&uri, &request.cancelled).await?;
        let target = Target::Resource { method: method(request)?, uri, subscribe: false };
        self.govern_method(request, member, target, &arguments, meta).await
    }

    pub(super) async fn subscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let (meta, arguments) = (params.meta()?, params.only(&["uri"]));
        let member = self.member_of(&uri, &request.cancelled).await?;
        let target = Target::Resource { method: method(request)?, uri: uri.clone(), subscribe: true };
        // Before the server knows: its first update may overtake its answer.
        let new = {
            let mut subscriptions = self.subscriptions();
            if subscriptions.len() >= MOST_SUBSCRIPTIONS && !subscriptions.contains_key(&uri) {
                let text = format!("this session has {MOST_SUBSCRIPTIONS} subscriptions; end some first");
                return Err(crate::registry::chio_error(ErrorCode::KernelBusy, Some(&text), None));
            }
            subscriptions.insert(uri.clone(), member.id().clone()).is_none()
        };
        let answer = self.govern_method(request, member, target, &arguments, meta).await;
        if answer.is_err() && new {
            self.subscriptions().remove(&uri);
        }
        answer
    }

    /// Needs no decision: afterwards the server does less.
    pub(super) async fn unsubscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let subscribed = self.subscriptions().get(&uri).cloned();
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

    /// The server that a URI belongs to.
    pub(super) async fn member_of(
        &self,
        uri: &str,
        cancelled: &Cancellation,
    ) -> Result<&Member, ErrorObject> {
        if let Some(only) = self.only_member() {
            return Ok(only);
        }
        let subscribed = self.subscriptions().get(uri).cloned();
        if let Some(member) = subscribed.and_then(|id| self.settings.servers.get(&id)) {
            return Ok(member);
        }
        let position = self.resource_owner(uri, cancelled).await;
        position.and_then(|position| self.members().get(position)).ok_or_else(|| {
            let data = serde_json::json!({"uri": uri, "chioError": entry(ErrorCode::InvalidParams)});
            ErrorObject::new(RESOURCE_NOT_FOUND, "no server here offers this resource")
                .with_data(Json::from_value(&data))
        })
    }
}

/// The parameters of a request that passes without a decision: what is known of it, and its `_meta` for the server.
pub(super) fn forwarded(params: &Params<'_>, keys: &[&str], meta: &Meta) -> Result<Json, ErrorObject> {
    let mut members: Members<'_> = params.only(keys);
    if meta.forward != "{}" {
        members.set("_meta", meta.forward.clone());
    }
    members.to_json().map_err(|error| crate::edge::params::invalid(&format!("the parameters: {error}")))
}
