//! What a session needs of a transport: arrivals in, texts out.
//!
//! A [`Channel`] is the seam between the session model and its framings. stdio fills it from lines
//! ([`crate::stdio`]), the hosted edge from HTTP bodies and event streams. Outgoing texts are bounded by
//! their bytes, not by their number: a sender that must be heard waits for room, one that may be
//! missed is told at once that there is none. Nothing is ever queued without bound for a peer that
//! does not read.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::jsonrpc::{Id, Malformed, Message};

/// Charged for every queued text beside its bytes, so that a flood of tiny ones is bounded too.
const MESSAGE_OVERHEAD: usize = 256;

/// Arrivals waiting for the session; a full queue makes the transport stop reading.
const ARRIVALS: usize = 64;

/// Both directions of a connection to one peer, as a session sees them.
#[derive(Debug)]
pub struct Channel {
    /// What the peer sent. The end of the queue is the end of the connection.
    pub arrivals: mpsc::Receiver<Arrival>,
    /// Where texts for the peer go.
    pub outbox: Outbox,
}

impl Channel {
    /// A channel and the transport's ends of it; `queue_bytes` bounds the texts waiting to be written.
    #[must_use]
    pub fn new(queue_bytes: usize) -> (Self, mpsc::Sender<Arrival>, Departures) {
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let (queue, departures) = mpsc::unbounded_channel();
        let capacity = u32::try_from(queue_bytes.max(MESSAGE_OVERHEAD)).unwrap_or(u32::MAX >> 4);
        let capacity = capacity.min(u32::MAX >> 4);
        let room = Arc::new(Semaphore::new(capacity as usize));
        let (work, under_way) = watch::channel(0);
        let outbox = Outbox { queue, room, capacity, work };
        (Self { arrivals, outbox }, arrived, Departures { queue: departures, under_way })
    }
}

/// One thing the transport heard from the peer.
#[derive(Debug)]
pub enum Arrival {
    /// A well-formed message.
    Message(Message),
    /// JSON that is no JSON-RPC message.
    Malformed(Malformed),
    /// A message above the size limit; it was skipped without being kept.
    Oversized {
        /// Its size as far as it was counted.
        bytes: u64,
        /// Whom it concerns, read while it was skipped.
        concerns: Concerns,
    },
    /// The answer to this request of ours cannot come any more, although the connection may go on.
    Lost {
        /// The request.
        id: Id,
        /// What became of it.
        reason: String,
        /// Whether the peer may have acted on it. If not, it certainly did not take it in.
        taken: bool,
    },
    /// The connection broke. A plain end of input is the end of the queue instead.
    Broken(String),
}

/// Whom a message concerns that was too large to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// Our request with this id, which it seems to answer.
    Answer(Id),
    /// The peer, who waits for the answer to this request.
    Request(Id),
    /// Nobody waits for anything: it seems to be a notification.
    Nobody,
    /// It cannot be told, so somebody may wait for ever.
    Unknown,
}

/// A text on its way to the peer.
#[derive(Debug)]
pub struct Departure {
    /// One JSON-RPC message.
    pub text: String,
    /// Which of the peer's streams the text belongs on. stdio has one stream and ignores it; a transport
    /// with a stream per request routes by it.
    pub route: Route,
    /// Room in the queue's bound, given back when the departure is dropped. A transport that keeps texts
    /// until they are delivered keeps the departure with them, and so the bound holds for them too.
    _room: OwnedSemaphorePermit,
}

/// The stream that a text belongs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The answer to this request of the peer: the last text on the request's stream.
    Answer(Id),
    /// Belongs to this request of the peer, and to no other stream.
    Within(Id),
    /// The stream for what belongs to no request, if the peer has it open, else the stream of this request.
    UnrelatedOr(Id),
    /// The stream for what belongs to no request.
    #[default]
    Unrelated,
}

/// The transport's end of the outgoing queue.
#[derive(Debug)]
pub struct Departures {
    queue: mpsc::UnboundedReceiver<Departure>,
    under_way: watch::Receiver<usize>,
}

impl Departures {
    /// The next text, or `None` when the session is over and everything was taken.
    pub async fn next(&mut self) -> Option<Departure> {
        self.queue.recv().await
    }

    /// How much the session works on that no request of the peer waits for. A transport that ends sessions which
    /// nobody uses leaves those alone that work.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<usize> {
        self.under_way.clone()
    }

    /// The next text if one waits, without waiting; lets a transport write many and flush once.
    pub fn next_ready(&mut self) -> Option<Departure> {
        self.queue.try_recv().ok()
    }
}

/// Something that a session works on although no request of the peer waits for it, such as a task; under way as long
/// as this lives.
#[derive(Debug)]
pub struct Work {
    under_way: watch::Sender<usize>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Why a text was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The peer reads too slowly and the queue is full.
    #[error("the peer does not read fast enough and its queue is full")]
    Full,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

/// The session's end of the outgoing queue; clones share one queue and one bound.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Departure>,
    room: Arc<Semaphore>,
    capacity: u32,
    work: watch::Sender<usize>,
}

impl Outbox {
    /// Tells the transport of work that goes on without a request, so that it keeps the session meanwhile.
    #[must_use]
    pub fn begin_work(&self) -> Work {
        self.work.send_modify(|count| *count += 1);
        Work { under_way: self.work.clone() }
    }

    /// Queues a text, waiting for room.
    ///
    /// # Errors
    /// [`Unsent::Closed`] when the connection is closed, before or while waiting.
    pub async fn send(&self, text: String, route: Route) -> Result<(), Unsent> {
        let acquire = Arc::clone(&self.room).acquire_many_owned(self.cost(&text));
        let room = tokio::select! {
            room = acquire => room.map_err(|_| Unsent::Closed)?,
            () = self.queue.closed() => return Err(Unsent::Closed),
        };
        self.queue.send(Departure { text, route, _room: room }).map_err(|_| Unsent::Closed)
    }

    /// Queues a text if there is room now.
    ///
    /// # Errors
    /// [`Unsent`], and the text is dropped.
    pub fn offer(&self, text: String, route: Route) -> Result<(), Unsent> {
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(self.cost(&text))
            .map_err(|_| if self.queue.is_closed() { Unsent::Closed } else { Unsent::Full })?;
        self.queue.send(Departure { text, route, _room: room }).map_err(|_| Unsent::Closed)
    }

    /// Waits until everything queued so far was written, or cannot be any more.
    pub async fn flushed(&self) {
        tokio::select! {
            _ = self.room.acquire_many(self.capacity) => {}
            () = self.queue.closed() => {}
        }
    }

    fn cost(&self, text: &str) -> u32 {
        let cost = text.len().saturating_add(MESSAGE_OVERHEAD);
        u32::try_from(cost).unwrap_or(u32::MAX).min(self.capacity)
    }
}
