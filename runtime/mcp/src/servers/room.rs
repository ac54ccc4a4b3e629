//! How many servers run at a time, and which one makes room when there are as many as may.
//!
//! A session's own server that nothing is asked of can be ended and started again when it is next needed. So at the
//! limit the one that has been idle for longest ends, and nobody is refused for the sake of a session that sleeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::McpError;
use crate::servers::FleetLimits;
use crate::servers::slot::Slot;

/// The places of a fleet's running servers.
pub(super) struct Room {
    limits: FleetLimits,
    places: Arc<Semaphore>,
    running: Mutex<Vec<Weak<Slot>>>,
}

impl Room {
    pub(super) fn new(limits: FleetLimits) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(limits.processes.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, places, running: Mutex::default() })
    }

    /// A place for one more.
    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, McpError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| McpError::TooManyServers { limit: self.limits.processes })
    }

    pub(super) fn enter(&self, slot: &Arc<Slot>) {
        self.lock().push(Arc::downgrade(slot));
    }

    pub(super) fn leave(&self, slot: &Arc<Slot>) {
        self.lock().retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(slot)));
    }

    /// Ends the server that has been idle for longest, and waits until nothing of it is left. Answers whether there was
    /// one.
    pub(super) async fn make(&self) -> bool {
        // The slots are asked without the lock, for they enter and leave under their own.
        let running = self.lock().clone();
        let idle = running.iter().filter_map(Weak::upgrade).filter_map(|slot| Some((slot.idle()?, slot)));
        let long = idle.filter(|(idle, _)| *idle >= self.limits.shortest_idle);
        let Some((_, slot)) = long.max_by_key(|(idle, _)| *idle) else { return false };
        slot.make_way(self.limits.shortest_idle).await;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        // Every critical section is one operation of the list.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
