//! Which session subscribed to which resource of a shared server.
//!
//! The server knows one client and so one subscription to each URI. The first session that wants one makes
//! it, the last that leaves ends it, and a server that was started again is told of all that are still
//! wanted. What concerns one URI happens in turn; different URIs do not wait for each other.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as Turn;

use chio_json::Json;

use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::session::RequestOptions;
use crate::upstream::{REQUEST_TIMEOUT, Upstream, empty_object};

/// Subscriptions of one session at a time.
const MOST_SUBSCRIPTIONS: usize = 1000;

/// The subscriptions of all sessions to one shared server.
#[derive(Default)]
pub(super) struct Subscriptions {
    topics: Mutex<HashMap<String, Topic>>,
}

#[derive(Default)]
struct Topic {
    subscribers: HashSet<u64>,
    /// The copy of the server that has the subscription. Held while it is asked for a change.
    at: Arc<Turn<Weak<Upstream>>>,
}

/// One session in its dealings with the subscriptions.
#[derive(Clone)]
pub(crate) struct Subscriber {
    subscriptions: Arc<Subscriptions>,
    patron: u64,
}

impl Subscriber {
    /// Makes a subscription of this session's; `params` are those of `resources/subscribe`.
    pub(crate) async fn subscribe(
        &self,
        upstream: &Arc<Upstream>,
        params: &Json,
        options: RequestOptions,
    ) -> Result<Json, McpError> {
        let uri = uri(params)?;
        // Before the server knows: its first update may overtake its answer.
        let at = self.subscriptions.enter(self.patron, &uri)?;
        let mut undo = Undo { subscriber: self, uri: &uri, armed: true };
        let mut at = at.lock().await;
        let answer = if is_at(&at, upstream) {
            empty_object()
        } else {
            let answer = upstream.request("resources/subscribe", Some(params), options).await?;
            *at = Arc::downgrade(upstream);
            answer
        };
        undo.armed = false;
        Ok(answer)
    }

    /// Ends a subscription of this session's; `params` are those of `resources/unsubscribe`.
    pub(crate) async fn unsubscribe(&self, params: &Json) -> Result<Json, McpError> {
        let uri = uri(params)?;
        if let Some(ending) = self.subscriptions.release(self.patron, &uri) {
            // The task goes on when nobody waits for it any more.
            return ending.await.unwrap_or_else(|_| Ok(empty_object()));
        }
        Ok(empty_object())
    }
}

/// Withdraws a subscription that did not come about, whatever way its future ended.
struct Undo<'a> {
    subscriber: &'a Subscriber,
    uri: &'a str,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.subscriber.subscriptions.release(self.subscriber.patron, self.uri);
        }
    }
}

type Ending = tokio::task::JoinHandle<Result<Json, McpError>>;

impl Subscriptions {
    pub(super) fn subscriber(self: &Arc<Self>, patron: u64) -> Subscriber {
        Subscriber { subscriptions: Arc::clone(self), patron }
    }

    /// The sessions that an update of this resource concerns.
    pub(super) fn subscribers_of(&self, uri: &str) -> HashSet<u64> {
        let topics = self.lock();
        let concerned = topics.iter().filter(|(subscribed, _)| is_at_or_below(uri, subscribed));
        concerned.flat_map(|(_, topic)| topic.subscribers.iter().copied()).collect()
    }

    /// Ends all subscriptions of a session.
    pub(super) fn leave(self: &Arc<Self>, patron: u64) {
        let topics = self.lock();
        let own = topics.iter().filter(|(_, topic)| topic.subscribers.contains(&patron));
        let uris: Vec<_> = own.map(|(uri, _)| uri.clone()).collect();
        drop(topics);
        for uri in uris {
            let _ = self.release(patron, &uri);
        }
    }

    /// Subscribes anew to everything that is still wanted, at a server that has just started.
    pub(super) fn renew(&self, upstream: &Arc<Upstream>) {
        let topics = self.lock();
        for (uri, topic) in topics.iter().filter(|(_, topic)| !topic.subscribers.is_empty()) {
            let (uri, at, upstream) = (uri.clone(), Arc::clone(&topic.at), Arc::clone(upstream));
            tokio::spawn(async move {
                let mut at = at.lock().await;
                if is_at(&at, &upstream) {
                    return;
                }
                match ask(&upstream, "resources/subscribe", &uri).await {
                    Ok(_) => *at = Arc::downgrade(&upstream),
                    Err(error) => {
                        tracing::warn!(%error, "a restarted tool server does not take a subscription that it had");
                    }
                }
            });
        }
    }

    fn enter(&self, patron: u64, uri: &str) -> Result<Arc<Turn<Weak<Upstream>>>, McpError> {
        let mut topics = self.lock();
        let has = topics.values().filter(|topic| topic.subscribers.contains(&patron)).count();
        if has >= MOST_SUBSCRIPTIONS {
            return Err(McpError::InvalidParams(format!(
                "this session has {MOST_SUBSCRIPTIONS} subscriptions already; end one first"
            )));
        }
        let topic = topics.entry(uri.to_owned()).or_default();
        topic.subscribers.insert(patron);
        Ok(Arc::clone(&topic.at))
    }

    /// Takes a session off a URI. Where it was the last, answers the task that tells the server.
    fn release(self: &Arc<Self>, patron: u64, uri: &str) -> Option<Ending> {
        let at = {
            let mut topics = self.lock();
            let topic = topics.get_mut(uri)?;
            let was = topic.subscribers.remove(&patron);
            if !was || !topic.subscribers.is_empty() {
                return None;
            }
            Arc::clone(&topic.at)
        };
        // Without a runtime the process is ending, and its servers with it.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let (subscriptions, uri) = (Arc::clone(self), uri.to_owned());
        Some(runtime.spawn(async move { subscriptions.end_unless_wanted(&uri, &at).await }))
    }

    async fn end_unless_wanted(&self, uri: &str, at: &Turn<Weak<Upstream>>) -> Result<Json, McpError> {
        let mut at = at.lock().await;
        if self.is_wanted(uri) {
            return Ok(empty_object());
        }
        let subscribed = std::mem::take(&mut *at).upgrade().filter(|upstream| upstream.closed().is_none());
        let answer = match subscribed {
            Some(upstream) => ask(&upstream, "resources/unsubscribe", uri).await,
            None => Ok(empty_object()),
        };
        let mut topics = self.lock();
        // Somebody who came meanwhile waits for this turn, and finds nothing subscribed.
        if topics.get(uri).is_some_and(|topic| topic.subscribers.is_empty()) {
            topics.remove(uri);
        }
        answer
    }

    fn is_wanted(&self, uri: &str) -> bool {
        self.lock().get(uri).is_some_and(|topic| !topic.subscribers.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        // No critical section leaves a topic half changed.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_at(at: &Weak<Upstream>, upstream: &Arc<Upstream>) -> bool {
    std::ptr::eq(at.as_ptr(), Arc::as_ptr(upstream))
}

async fn ask(upstream: &Upstream, method: &str, uri: &str) -> Result<Json, McpError> {
    let mut params = Members::default();
    params.set("uri", quote(uri));
    let params = params.to_json().map_err(|error| McpError::InvalidParams(error.to_string()))?;
    let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
    upstream.request(method, Some(&params), options).await
}

fn uri(params: &Json) -> Result<String, McpError> {
    let members = Members::parse(params.get()).ok();
    members
        .and_then(|members| members.string("uri"))
        .ok_or_else(|| McpError::InvalidParams("`uri` must be a string".to_owned()))
}

/// Whether a subscription to one URI covers another: a server may name a resource below the one that was
/// subscribed to.
pub(crate) fn is_at_or_below(uri: &str, subscribed: &str) -> bool {
    uri.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || subscribed.ends_with('/') || rest.starts_with(['/', '#', '?']))
}
