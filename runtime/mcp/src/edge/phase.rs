//! How far a session's initialization has come.
//!
//! Clients may write ahead: `initialize`, `notifications/initialized` and the first calls in one breath.
//! So phases begin in the order in which messages arrive, although `initialize` takes as long as the
//! wrapped server needs, and what was written ahead waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::jsonrpc::Id;

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    New,
    /// This request is initializing the server; the client may have said already that it is ready.
    Initializing {
        by: Id,
        confirmed: bool,
    },
    Initialized,
    Ready,
}

/// The phase of one session, and who waits for it.
#[derive(Debug)]
pub(super) struct Phases {
    phase: Mutex<Phase>,
    changed: watch::Sender<()>,
}

impl Phases {
    pub(super) fn new() -> Self {
        Self { phase: Mutex::new(Phase::New), changed: watch::Sender::new(()) }
    }

    /// An `initialize` arrived: it begins the initialization unless another one did.
    pub(super) fn begin(&self, by: &Id) {
        let mut phase = self.lock();
        if *phase == Phase::New {
            *phase = Phase::Initializing { by: by.clone(), confirmed: false };
        }
    }

    /// Whether this `initialize` began the initialization.
    pub(super) fn is_begun_by(&self, id: &Id) -> bool {
        matches!(&*self.lock(), Phase::Initializing { by, .. } if by == id)
    }

    /// The client says that it is ready. Answers whether the session is, so that the server must be told.
    pub(super) fn confirm(&self) -> bool {
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Initializing { confirmed, .. } => {
                *confirmed = true;
                false
            }
            Phase::Initialized => {
                *phase = Phase::Ready;
                true
            }
            Phase::New | Phase::Ready => false,
        }
    }

    /// The initialization succeeded, or failed and may be tried again. Answers whether the session is ready
    /// now, so that the server must be told.
    pub(super) fn end(&self, succeeded: bool) -> bool {
        let mut phase = self.lock();
        let confirmed = matches!(&*phase, Phase::Initializing { confirmed: true, .. });
        *phase = match (succeeded, confirmed) {
            (false, _) => Phase::New,
            (true, false) => Phase::Initialized,
            (true, true) => Phase::Ready,
        };
        succeeded && confirmed
    }

    /// Wakes what was written ahead, once the server was told what it must know first.
    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Waits for an initialization under way. Answers whether the session is ready.
    pub(super) async fn ready(&self) -> bool {
        let mut changed = self.changed.subscribe();
        loop {
            match &*self.lock() {
                Phase::Ready => return true,
                Phase::New | Phase::Initialized => return false,
                Phase::Initializing { .. } => {}
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until the session is ready, however long the client takes.
    pub(super) async fn until_ready(&self) {
        let mut changed = self.changed.subscribe();
        while *self.lock() != Phase::Ready {
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // Every critical section replaces the phase as a whole.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
