//! Who is connected, and who makes way when the house is full.
//!
//! A native peer may stay silent as long as it likes, so a limit on connections alone would let anybody who can connect
//! lock out everybody else. When the limit is reached, the oldest connection of a *stranger* makes way: one on which no
//! capability has verified yet, whether its calls wait to be denied or it has made none. A call whose tool runs has
//! verified its capability, so holders are never put out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chio_kernel::CallerSession;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How often a full house looks again for somebody who can make way.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Most calls in flight on a connection on which no capability has verified yet. Denials of strangers are paced by the
/// kernel, so a stranger could otherwise fill memory with calls that wait for theirs.
const STRANGER_CALLS: usize = 8;

/// How often a stranger with as many calls in flight is looked at again: has it become a holder meanwhile?
const STRANGER_POLL: Duration = Duration::from_millis(5);

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) caller: Arc<CallerSession>,
    /// Cancelled when the connection is to end, whoever wants it.
    pub(crate) gone: CancellationToken,
    calls: Arc<Semaphore>,
    stranger_calls: Arc<Semaphore>,
}

/// Leave for one call; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _call: Option<OwnedSemaphorePermit>,
    _stranger: Option<OwnedSemaphorePermit>,
}

impl Peer {
    pub(crate) fn new(call_limit: usize) -> Arc<Self> {
        let call_limit = call_limit.clamp(1, Semaphore::MAX_PERMITS);
        let calls = Arc::new(Semaphore::new(call_limit));
        let stranger_calls = Arc::new(Semaphore::new(STRANGER_CALLS));
        let (caller, gone) = (CallerSession::new(), CancellationToken::new());
        Arc::new(Self { caller, gone, calls, stranger_calls })
    }

    /// Waits until one more call may run on this connection.
    pub(crate) async fn turn(&self) -> Turn {
        let stranger = loop {
            if !self.is_stranger() {
                break None;
            }
            let permit = Arc::clone(&self.stranger_calls).acquire_owned();
            if let Ok(permit) = timeout(STRANGER_POLL, permit).await {
                break permit.ok();
            }
        };
        // Neither semaphore is ever closed.
        Turn { _call: Arc::clone(&self.calls).acquire_owned().await.ok(), _stranger: stranger }
    }

    fn is_stranger(&self) -> bool {
        self.caller.subject().is_none()
    }

    fn can_make_way(&self) -> bool {
        self.is_stranger() && !self.gone.is_cancelled()
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
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, free).await {
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Peer>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.lock().remove(&self.number);
    }
}
