//! One stream of a session: what waits on it, and who reads it.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use chio_mcp::channel::Departure;
use tokio::sync::OwnedSemaphorePermit;

/// How many stretches of evicted events a stream remembers. A client would have to be this many bursts behind to be
/// refused while its request is in flight.
const MOST_STRETCHES: usize = 256;

/// What a [`chio_mcp::channel::Channel`] charges for a text beside its bytes.
const OVERHEAD: usize = 256;

/// What waits on a stream.
#[derive(Debug)]
pub(super) struct Event {
    /// Its number, once it was handed to a connection.
    pub(super) sequence: Option<u64>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// An event without data, whose id is all it has to say.
    Priming,
    /// A message, with its room in the channel's bound.
    Message { departure: Departure, is_notification: bool },
}

impl Content {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Priming => "",
            Self::Message { departure, .. } => &departure.text,
        }
    }

    /// What it takes of the room in the channel's bound.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Priming => 0,
            Self::Message { departure, .. } => cost(departure),
        }
    }

    pub(super) fn is_notification(&self) -> bool {
        matches!(self, Self::Message { is_notification: true, .. })
    }
}

/// What a departure takes of the room in the channel's bound: its bytes and what the channel charges beside them.
pub(super) fn cost(departure: &Departure) -> usize {
    departure.text.len().saturating_add(OVERHEAD)
}

/// The connection that reads a stream.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) number: u64,
    /// Whether the event at the front was handed to it. That it asks for the next one confirms it.
    pub(super) handed: bool,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) pending: VecDeque<Event>,
    pub(super) reader: Option<Reader>,
    /// The answer is among what waits, or was delivered: nothing follows.
    pub(super) finished: bool,
    /// The client left before it was told any event id, so it cannot come back for the answer.
    pub(super) abandoned: bool,
    /// The client was told an event id of this stream.
    pub(super) resumable: bool,
    /// The room that its request takes while it is in work.
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// Which of its events were delivered and have left the window.
    evicted: Vec<(u64, u64)>,
}

impl Stream {
    /// The stream of a request that begins, and the room that it takes.
    pub(super) fn in_work(room: Option<OwnedSemaphorePermit>) -> Self {
        Self { room, ..Self::default() }
    }

    pub(super) fn is_read_by(&self, number: u64) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.number == number)
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.reader.as_mut().and_then(|reader| reader.waker.take()) {
            waker.wake();
        }
    }

    /// Makes a connection the reader; the one before is woken and will find itself replaced.
    pub(super) fn attach(&mut self, number: u64) {
        self.wake();
        self.reader = Some(Reader { number, handed: false, waker: None });
    }

    pub(super) fn remember_evicted(&mut self, sequence: u64) {
        match self.evicted.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(sequence) => *last = sequence,
            _ => {
                if self.evicted.len() >= MOST_STRETCHES {
                    self.evicted.remove(0);
                }
                self.evicted.push((sequence, sequence));
            }
        }
    }

    /// The last of its events that has left the window.
    pub(super) fn last_evicted(&self) -> Option<u64> {
        self.evicted.last().map(|(_, last)| *last)
    }

    pub(super) fn was_evicted(&self, sequence: u64) -> bool {
        let after = self.evicted.partition_point(|(first, _)| *first <= sequence);
        let stretch = after.checked_sub(1).and_then(|at| self.evicted.get(at));
        stretch.is_some_and(|(_, last)| sequence <= *last)
    }
}

/// The streams of a session that are not over.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    unrelated: Stream,
    requests: BTreeMap<u64, Stream>,
}

impl Lanes {
    /// The number of the stream for what belongs to no request.
    pub(super) const UNRELATED: u64 = 0;

    pub(super) fn unrelated(&mut self) -> &mut Stream {
        &mut self.unrelated
    }

    pub(super) fn requests(&self) -> &BTreeMap<u64, Stream> {
        &self.requests
    }

    pub(super) fn insert(&mut self, number: u64, stream: Stream) {
        self.requests.insert(number, stream);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Stream> {
        self.requests.remove(&number)
    }

    pub(super) fn get(&mut self, number: u64) -> Option<&mut Stream> {
        if number == Self::UNRELATED { Some(&mut self.unrelated) } else { self.requests.get_mut(&number) }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Stream)> {
        let requests = self.requests.iter().map(|(number, stream)| (*number, stream));
        std::iter::once((Self::UNRELATED, &self.unrelated)).chain(requests)
    }

    pub(super) fn wake_all(&mut self) {
        self.unrelated.wake();
        self.requests.values_mut().for_each(Stream::wake);
    }
}
