//! What an operator can ask about a server.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chio_spec::ServerId;

use crate::servers::{Owner, ServerSettings};

/// How a server is.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Its name in grants and receipts.
    pub id: ServerId,
    /// Whose it is once it runs.
    pub owner: Owner,
    /// How many copies of it run now; at most one where it is shared.
    pub running: usize,
    /// How often it was started again after it had ended by itself or failed to start.
    pub restarts: u64,
    /// Notifications of a shared server that said not whom they concern, and so reached nobody.
    pub unattributed: u64,
    /// Why it ended or did not start the last time that happened.
    pub last_failure: Option<Failure>,
    /// How long the copy that failed last is still left alone.
    pub retry_in: Option<Duration>,
}

/// A failure of a server.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// What happened.
    pub reason: String,
}

/// What is counted over all running copies of one server.
#[derive(Debug, Default)]
pub(super) struct Record {
    running: AtomicUsize,
    restarts: AtomicU64,
    unattributed: AtomicU64,
    last: Mutex<Option<(Failure, Instant)>>,
}

impl Record {
    pub(super) fn started(&self, again: bool) {
        self.running.fetch_add(1, Ordering::Relaxed);
        if again {
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn ended(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: String, retry_at: Instant) {
        let failure = Failure { at: SystemTime::now(), reason };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure, retry_at));
    }

    pub(super) fn unattributed(&self) {
        self.unattributed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn status(&self, settings: &ServerSettings) -> ServerStatus {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let retry_at = last.as_ref().map(|(_, retry_at)| *retry_at);
        ServerStatus {
            id: settings.id.clone(),
            owner: settings.owner,
            running: self.running.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            unattributed: self.unattributed.load(Ordering::Relaxed),
            retry_in: retry_at.and_then(|at| at.checked_duration_since(Instant::now())),
            last_failure: last.map(|(failure, _)| failure),
        }
    }
}
