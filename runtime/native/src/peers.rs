//! Who is connected, and who makes way when the house is full.
//!
//! A native peer may stay silent as long as it likes, so a limit on connections alone would let anybody who can connect
//! lock out everybody else. When the limit is reached, the oldest connection of a *stranger* makes way: one on which no
//! capability has verified yet and no call runs. Holders of a capability are never put out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chio_kernel::CallerSession;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How often a full house looks again for somebody who can make way.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) caller: Arc<CallerSession>,
    /// Cancelled when the connection is to end, whoever wants it.
    pub(crate) gone: CancellationToken,
    /// One permit for every call that may run at once.
    pub(crate) calls: Arc<Semaphore>,
    call_limit: usize,
}

impl Peer {
    pub(crate) fn new(call_limit: usize) -> Arc<Self> {
        let call_limit = call_limit.clamp(1, Semaphore::MAX_PERMITS);
        let calls = Arc::new(Semaphore::new(call_limit));
        Arc::new(Self { caller: CallerSession::new(), gone: CancellationToken::new(), calls, call_limit })
    }

    fn can_make_way(&self) -> bool {
        let calls_nothing = self.calls.available_permits() == self.call_limit;
        calls_nothing && self.caller.subject().is_none() && !self.gone.is_cancelled()
    }
}

/// All peers of one server, in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    seats: Arc<Semaphore>,
    present: Arc<Mutex<BTreeMap<u64, Arc<Peer>>>>,
}

/// The place of one peer; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    peers: Peers,
    _permit: OwnedSemaphorePermit,
}

impl Peers {
    pub(crate) fn new(limit: usize) -> Self {
        let seats = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        Self { seats, present: Arc::default() }
    }

    /// Waits until there is a place for `peer`, which came as the `number`-th.
    pub(crate) async fn seat(&self, number: u64, peer: &Arc<Peer>) -> Seat {
        let permit = loop {
            let seats = Arc::clone(&self.seats);
            match seats.try_acquire_owned() {
                Ok(permit) => break permit,
                Err(_) => self.make_way(),
            }
            let free = Arc::clone(&self.seats).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_AGAIN, free).await {
                break permit;
            }
        };
        self.lock().insert(number, Arc::clone(peer));
        Seat { number, peers: self.clone(), _permit: permit }
    }

    fn make_way(&self) {
        let present = self.lock();
        if let Some(stranger) = present.values().find(|peer| peer.can_make_way()) {
            tracing::debug!("the oldest connection without a verified capability makes way for a new one");
            stranger.gone.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Peer>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.lock().remove(&self.number);
    }
}
