//! Requests of the peer that are being worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use chio_json::Json;

use crate::jsonrpc::Id;

/// A request of the peer, handed to a [`Handler`](crate::session::Handler).
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The peer's own id.
    pub id: Id,
    /// The MCP method.
    pub method: String,
    /// An object, or absent.
    pub params: Option<Json>,
    /// Fires when nobody wants the answer any more.
    pub cancelled: Cancellation,
}

/// Why nobody wants an answer any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// The peer sent `notifications/cancelled`, with this reason.
    Peer(Option<String>),
    /// The connection ended, or this process is stopping.
    Closed,
}

impl CancelCause {
    /// A short sentence for receipts and for the other side.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Peer(Some(reason)) => format!("cancelled by the caller: {reason}"),
            Self::Peer(None) => "cancelled by the caller".to_owned(),
            Self::Closed => "the caller is gone".to_owned(),
        }
    }
}

/// A one-way signal with its cause; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancellation {
    token: CancellationToken,
    cause: Arc<OnceLock<CancelCause>>,
}

impl Cancellation {
    /// A signal that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires the signal. The first cause stays.
    pub fn cancel(&self, cause: CancelCause) {
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// The token, for code that only needs to know that it fired.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why it fired, or `None` while it has not.
    #[must_use]
    pub fn cause(&self) -> Option<&CancelCause> {
        self.cause.get()
    }

    /// Waits until it fires.
    pub async fn fired(&self) {
        self.token.cancelled().await;
    }
}

/// Why a request was not taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    Duplicate,
    TooMany,
}

/// The table of requests in work.
#[derive(Debug, Default)]
pub(super) struct InWork {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: HashMap<Id, Cancellation>,
    stopped: bool,
}

impl InWork {
    pub(super) fn enter(&self, id: &Id, limit: usize) -> Result<Cancellation, NotTaken> {
        let mut state = self.lock();
        if state.requests.contains_key(id) {
            return Err(NotTaken::Duplicate);
        }
        if state.requests.len() >= limit {
            return Err(NotTaken::TooMany);
        }
        let cancellation = Cancellation::new();
        if state.stopped {
            cancellation.cancel(CancelCause::Closed);
        }
        state.requests.insert(id.clone(), cancellation.clone());
        Ok(cancellation)
    }

    pub(super) fn leave(&self, id: &Id) {
        self.lock().requests.remove(id);
    }

    pub(super) fn cancel(&self, id: &Id, cause: CancelCause) -> bool {
        match self.lock().requests.get(id) {
            Some(cancellation) => {
                cancellation.cancel(cause);
                true
            }
            None => false,
        }
    }

    /// Cancels everything in work, and everything that still enters.
    pub(super) fn cancel_all(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for cancellation in state.requests.values() {
            cancellation.cancel(CancelCause::Closed);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().requests.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the table consistent, so a panic elsewhere cannot spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
