//! What the servers of a session tell its client.
//!
//! Only what was announced is passed on, and only to whom it concerns. A server of the session's own concerns nobody
//! else; what a shared one says is sorted before it comes here, and all that remains of it is that a resource changed
//! which this session subscribed to.

use std::sync::{Arc, Weak};

use async_trait::async_trait;

use chio_json::Json;
use chio_spec::ServerId;

use crate::channel::Route;
use crate::edge::Edge;
use crate::edge::catalogue::Kind;
use crate::edge::methods::not_here;
use crate::edge::params::RELATED_TASK;
use crate::edge::results::without_our_keys;
use crate::error::CloseReason;
use crate::jsonrpc::{ErrorObject, Members, Notification, quote};
use crate::servers::{Owner, ServerEvents, is_at_or_below};
use crate::session::Incoming;
use crate::upstream::Upstream;

/// The part of an edge that servers talk to. It does not keep the edge, which holds the servers.
pub(super) struct FromServers {
    edge: Weak<Edge>,
}

impl FromServers {
    pub(super) fn of(edge: Weak<Edge>) -> Self {
        Self { edge }
    }
}

#[async_trait]
impl ServerEvents for FromServers {
    async fn request(&self, server: &ServerId, request: &Incoming) -> Result<Json, ErrorObject> {
        match self.edge.upgrade() {
            Some(edge) => edge.asked(server, request).await,
            None => Err(not_here(&request.method)),
        }
    }

    fn notification(&self, server: &ServerId, notification: Notification) {
        if let Some(edge) = self.edge.upgrade() {
            edge.told_by(server, &notification);
        }
    }

    fn ready(&self, server: &ServerId, upstream: &Arc<Upstream>) {
        if let Some(edge) = self.edge.upgrade() {
            edge.ready(server, upstream);
        }
    }

    fn counts_on(&self, server: &ServerId) -> bool {
        let subscribed = |edge: Arc<Edge>| edge.subscriptions().values().any(|at| at.server == *server);
        self.edge.upgrade().is_some_and(subscribed)
    }

    fn ended(&self, server: &ServerId, reason: &CloseReason) {
        if let Some(edge) = self.edge.upgrade() {
            edge.ended(server, reason);
        }
    }
}

impl Edge {
    fn told_by(&self, server: &ServerId, notification: &Notification) {
        let method = notification.method.as_str();
        let params = notification.params.as_ref();
        let relayed = match (method, list_of(method)) {
            (_, Some(kind)) => {
                self.catalogue.forget(server, kind);
                return self.tell_list_changed(server, kind);
            }
            ("notifications/message", _) => self.log_message(server, params),
            ("notifications/resources/updated", _) => params
                .filter(|params| self.is_subscribed(server, params))
                .map(|params| self.own_words(server, params)),
            ("notifications/elicitation/complete", _) => params
                .and_then(|params| self.elicitations.completed(server, params))
                .map(|params| (params, None)),
            _ => None,
        };
        let Some((params, task)) = relayed else {
            return tracing::debug!(%server, method, "dropped a notification of a tool server");
        };
        let route = match task {
            Some(task) => self.tasks.route(&task),
            None if method == "notifications/message" => self.in_flight.route(server),
            None => unrelated(self.in_flight.route(server)),
        };
        self.tell(method, Some(&params), route);
    }

    /// The parameters without what only we may say, and with the task that they name, if any, under our name for it;
    /// no client ever learns a server's.
    pub(super) fn own_words(&self, server: &ServerId, params: &Json) -> (Json, Option<String>) {
        let unchanged = || (params.clone(), None);
        let Ok(mut members) = Members::parse(params.get()) else { return unchanged() };
        let Some(meta) = members.get("_meta").map(without_our_keys) else { return unchanged() };
        let mut meta = Members::parse(&meta).unwrap_or_default();
        let theirs = meta.remove(RELATED_TASK);
        let task = theirs.and_then(|theirs| self.tasks.ours(server, &theirs));
        if let Some(task) = &task {
            meta.set(RELATED_TASK, format!(r#"{{"taskId":{}}}"#, quote(task)));
        }
        members.set("_meta", meta.to_text());
        members.to_json().map_or_else(|_| unchanged(), |params| (params, task))
    }

    /// A log message; with several servers it says whose it is.
    fn log_message(&self, server: &ServerId, params: Option<&Json>) -> Option<(Json, Option<String>)> {
        let own = self.settings.servers.get(server).is_some_and(|member| member.owner() == Owner::Session);
        if !own || !self.introduced.get().is_some_and(|introduced| introduced.announced.has("logging")) {
            return None;
        }
        let (params, task) = self.own_words(server, params?);
        if self.only_member().is_some() {
            return Some((params, task));
        }
        let mut members = Members::parse(params.get()).ok()?;
        let logger = match members.string("logger") {
            Some(logger) => format!("{server}/{logger}"),
            None => server.to_string(),
        };
        members.set("logger", quote(&logger));
        Some((members.to_json().ok()?, task))
    }

    fn is_subscribed(&self, server: &ServerId, params: &Json) -> bool {
        let uri = Members::parse(params.get()).ok().and_then(|params| params.string("uri"));
        // A server may name a resource below the one that was subscribed to.
        uri.is_some_and(|uri| {
            self.subscriptions()
                .iter()
                .any(|(subscribed, at)| at.server == *server && is_at_or_below(&uri, subscribed))
        })
    }

    pub(super) fn tell_list_changed(&self, server: &ServerId, kind: Kind) {
        let announced = self
            .introduced
            .get()
            .is_some_and(|introduced| introduced.announced.part(kind.capability(), "listChanged"));
        if announced {
            let route = unrelated(self.in_flight.route(server));
            self.tell(&format!("notifications/{}/list_changed", kind.capability()), None, route);
        }
    }

    /// A server of the session's own is there, perhaps again, and then it has forgotten what the session subscribed to.
    fn ready(self: &Arc<Self>, server: &ServerId, upstream: &Arc<Upstream>) {
        let uris: Vec<String> = {
            let subscriptions = self.subscriptions();
            let made = subscriptions.iter().filter(|(_, at)| at.made && at.server == *server);
            made.map(|(uri, _)| uri.clone()).collect()
        };
        if !uris.is_empty() {
            let (edge, server, upstream) = (Arc::clone(self), server.clone(), Arc::clone(upstream));
            tokio::spawn(async move {
                for uri in uris {
                    edge.subscribe_again(&server, &upstream, uri).await;
                }
            });
        }
    }

    /// A server ended by itself. What it offered is not there until it is needed again.
    fn ended(&self, server: &ServerId, reason: &CloseReason) {
        tracing::info!(%server, %reason, "a tool server of the session ended");
        let own = self.settings.servers.get(server).is_some_and(|member| member.owner() == Owner::Session);
        if !own || self.relayed.is_some() {
            return;
        }
        for kind in [Kind::Tools, Kind::Resources, Kind::Prompts] {
            self.catalogue.forget(server, kind);
            self.tell_list_changed(server, kind);
        }
    }
}

/// The list that a notification says has changed.
fn list_of(method: &str) -> Option<Kind> {
    match method {
        "notifications/tools/list_changed" => Some(Kind::Tools),
        "notifications/resources/list_changed" => Some(Kind::Resources),
        "notifications/prompts/list_changed" => Some(Kind::Prompts),
        _ => None,
    }
}

/// What belongs to no request is put on the stream of one only where there is no other.
fn unrelated(route: Route) -> Route {
    match route {
        Route::Within(request) => Route::UnrelatedOr(request),
        route => route,
    }
}
