//! Requests of ours that wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use chio_json::Json;

use crate::error::{CloseReason, McpError};
use crate::jsonrpc::{Id, quote};

/// Takes the parameters of each `notifications/progress` for one request. Called on the session's task:
/// it must not block.
pub type ProgressSink = Arc<dyn Fn(&Json) + Send + Sync>;

pub(super) type Answer = Result<Json, McpError>;

/// The table of waiting requests. Once closed it refuses new ones with the reason.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    /// Sinks that outlast the request they were made for, by numbers that no request has.
    lasting: HashMap<u64, ProgressSink>,
    closed: Option<CloseReason>,
    /// When the last request ended.
    ended: Option<Instant>,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    progress: Option<ProgressSink>,
}

impl Pending {
    /// Enters a request and gives it an id that this session never used.
    pub(super) fn enter(
        &self,
        limit: usize,
        progress: Option<ProgressSink>,
    ) -> Result<(u64, oneshot::Receiver<Answer>), McpError> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(McpError::NotSent(reason.clone()));
        }
        if state.waiting.len() >= limit {
            return Err(McpError::Overloaded { limit });
        }
        state.next_id += 1;
        let id = state.next_id;
        let (answer, answered) = oneshot::channel();
        state.waiting.insert(id, Waiting { answer, progress });
        Ok((id, answered))
    }

    /// Gives up on a request. Answers whether it was still waiting.
    pub(super) fn forget(&self, id: u64) -> bool {
        self.lock().take(id).is_some()
    }

    /// Delivers an answer. Answers whether anything waited for it.
    pub(super) fn answer(&self, id: &Id, answer: Answer) -> bool {
        let waiting = id.as_number().and_then(|id| self.lock().take(id));
        match waiting {
            // The waiting side may have been dropped a moment ago; then nobody wants the answer.
            Some(waiting) => waiting.answer.send(answer).is_ok(),
            None => false,
        }
    }

    /// The sink for a progress token, if it is one of ours and still waiting. The token is the decimal id,
    /// which some servers hand back as a string.
    pub(super) fn progress(&self, token: &str) -> Option<ProgressSink> {
        let id: u64 = token.trim_matches('"').parse().ok()?;
        let state = self.lock();
        match state.waiting.get(&id) {
            Some(waiting) => waiting.progress.clone(),
            None => state.lasting.get(&id).cloned(),
        }
    }

    /// Takes in a sink that lasts until it is [taken out](Self::remove_lasting); answers its token.
    pub(super) fn add_lasting(&self, sink: ProgressSink) -> u64 {
        let mut state = self.lock();
        state.next_id += 1;
        let id = state.next_id;
        state.lasting.insert(id, sink);
        id
    }

    pub(super) fn remove_lasting(&self, id: u64) {
        self.lock().lasting.remove(&id);
    }

    /// Fails everything that waits, and everything that will.
    pub(super) fn close(&self, reason: &CloseReason) {
        let waiting = {
            let mut state = self.lock();
            state.closed.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            let _ = waiting.answer.send(Err(McpError::Closed(reason.clone())));
        }
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.lock().closed.clone()
    }

    /// Since when nothing waits; none while something does, or nothing ever did.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.lock();
        state.ended.filter(|_| state.waiting.is_empty())
    }

    pub(super) fn count(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the table consistent, so a panic elsewhere cannot spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.ended = Some(Instant::now());
        Some(waiting)
    }
}

/// The parameters of a `notifications/cancelled` of ours.
pub(super) fn cancelled_params(id: u64, reason: &str) -> String {
    format!(r#"{{"requestId":{id},"reason":{}}}"#, quote(reason))
}
