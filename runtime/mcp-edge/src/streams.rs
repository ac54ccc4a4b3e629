//! What one session's client was told, and has yet to be told.
//!
//! Streamable HTTP gives a session many streams: one for each POSTed request, which ends with its answer, and one for
//! what belongs to no request, which the client opens by GET. A connection may break at any time and the client may
//! come back for the rest, so texts do not go to connections. They go into the [`EventLog`] of the session, and
//! connections take from there what is theirs, at their own pace.
//!
//! What the log promises:
//! - An event belongs to one stream. A client that resumes is given events of the stream that it names, never another's.
//! - Event ids are `{session_id}-{sequence}` with one rising sequence for the session. An event is numbered when it is
//!   first handed to a connection, so the numbers of each stream rise in the order of delivery.
//! - What was not delivered is never evicted. It stays with its room in the channel's bound, so that a client
//!   that does not read makes its own answers wait and loses its own notifications, and nothing else happens.
//! - What was delivered stays for replay, within a window, as plain text. The request that is still in flight can
//!   be resumed from any event that its client has seen: at worst notifications that were delivered long ago are
//!   missing. Everything else outside the window is refused.
//! - Notifications never take more than half of the room, so that answers always find the rest.

mod body;
mod event;
mod log;
mod stream;
mod undelivered;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use body::{Reading, answer_body};
pub(crate) use event::sequence_of;
pub(crate) use log::{Bounds, Connection, EventLog, First, Holding, NotOpened};
pub(crate) use undelivered::Undelivered;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The log of one session, shared by its router and its connections.
#[derive(Debug)]
pub(crate) struct Streams {
    log: Mutex<EventLog>,
}

impl Streams {
    pub(crate) fn new(session_id: &str, bounds: Bounds, all: &Arc<Undelivered>) -> Arc<Self> {
        Arc::new(Self { log: Mutex::new(EventLog::new(session_id, bounds, all)) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, EventLog> {
        // Every critical section leaves the log consistent, so a panic elsewhere cannot spoil it.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
