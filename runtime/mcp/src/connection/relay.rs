//! What a caller and the other side say to each other beside the kernel.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use chio_json::Json;

use crate::error::McpError;
use crate::jsonrpc::ErrorObject;
use crate::servers::Subscriber;
use crate::session::ProgressSink;
use crate::upstream::Upstream;

/// Carries an allowed request of a server, its method and its parameters, to the client that it is meant for.
/// Dropping the future withdraws the request.
pub type Ask = Arc<dyn Fn(String, Json) -> BoxFuture<'static, Result<Json, McpError>> + Send + Sync>;

/// What a caller wants of one call beside its result.
#[derive(Clone, Default)]
pub struct Following {
    /// Takes the server's progress.
    pub progress: Option<ProgressSink>,
    /// Makes the call as a task of the server's.
    pub task: Option<TaskCall>,
}

/// How a call is made as a task of the server's.
#[derive(Clone)]
pub struct TaskCall {
    /// How long the server is asked to keep the task and its result.
    pub ttl: Duration,
    /// Takes each state of the task as the server tells it, an MCP `Task` object.
    pub status: Option<ProgressSink>,
}

/// What the other side says about one call beside its result. Dropping it ends the relaying.
pub struct CallRelay {
    relays: Arc<Relays>,
    pub(super) key: String,
    relay: Arc<Relay>,
}

impl CallRelay {
    /// The JSON-RPC error that the call was answered with, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&ErrorObject> {
        self.relay.refusal.get()
    }
}

impl Drop for CallRelay {
    fn drop(&mut self) {
        self.relays.lock().remove(&self.key);
    }
}

pub(super) struct Relay {
    pub(super) way: Way,
    pub(super) refusal: OnceLock<ErrorObject>,
}

/// Where a call goes.
pub(super) enum Way {
    Server {
        upstream: Arc<Upstream>,
        subscriber: Option<Subscriber>,
        following: Following,
    },
    Client(Ask),
    /// The server cannot be reached, for this reason.
    Nowhere(McpError),
}

#[derive(Default)]
pub(super) struct Relays {
    next: AtomicU64,
    /// Random: metadata of another surface must not be able to name a relay of this one.
    secret: RandomState,
    open: Mutex<HashMap<String, Arc<Relay>>>,
}

impl Relays {
    pub(super) fn open(self: &Arc<Self>, way: Way) -> CallRelay {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("{number}-{:016x}", self.secret.hash_one(number));
        let relay = Arc::new(Relay { way, refusal: OnceLock::new() });
        self.lock().insert(key.clone(), Arc::clone(&relay));
        CallRelay { relays: Arc::clone(self), key, relay }
    }

    /// The relay whose key this JSON string is.
    pub(super) fn find(&self, key: &str) -> Option<Arc<Relay>> {
        self.lock().get(key.trim_matches('"')).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Relay>>> {
        // Every critical section is one operation of the map.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
