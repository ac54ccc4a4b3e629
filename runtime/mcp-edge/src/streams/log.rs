//! The log itself: a data structure without tasks or timers of its own.

mod routing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::ops::AddAssign;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chio_mcp::channel::Departure;
use chio_mcp::jsonrpc::Id;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::event::frame;
use super::stream::{Content, Event, Lanes, Stream};
use super::undelivered::{Share, Undelivered};
use super::window::{Delivered, Window};

/// How long the id of a cancelled request is kept from a new one, unless its late answer comes before. Whatever the
/// session said before it heard of the cancellation has come by then.
const CANCELLED_FOR: Duration = Duration::from_secs(10);

/// The bounds of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// The bound of the session's channel.
    pub(crate) buffered_bytes: usize,
    /// Delivered events kept for replay.
    pub(crate) replay_events: usize,
    /// Bytes of those.
    pub(crate) replay_bytes: usize,
    /// Notifications kept on the stream for what belongs to no request; above that the oldest is dropped.
    pub(crate) backlog_events: usize,
    /// Bytes of those.
    pub(crate) backlog_bytes: usize,
}

/// Why a request has no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// A request with this id is in flight, or was cancelled just now.
    InUse,
    /// Too many requests are in flight.
    TooMany,
    /// Too much waits for the client already.
    Full,
    /// Too much waits for the clients of all sessions together.
    AllFull,
    /// The session is over.
    Over,
}

/// A connection reads the stream for what belongs to no request already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyListening;

/// The event is not in the retained window of any stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfWindow;

/// A connection's place in the log.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: u64,
    reader: u64,
    replay: VecDeque<(u64, Bytes)>,
}

/// What comes first for a request.
#[derive(Debug)]
pub(crate) enum First {
    /// The answer, and nothing before it. Its stream is over.
    Answer(Departure),
    /// Something that the answer will follow.
    Other,
    /// Nothing will come: the request was cancelled, or the session is over.
    Nothing,
}

/// What a log holds, for those who look after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// Connections that read a stream.
    pub(crate) streams: usize,
    /// Bytes that undelivered messages take of the channel's bound.
    pub(crate) pending_bytes: usize,
    /// Messages that were dropped so far.
    pub(crate) dropped: u64,
}

impl AddAssign for Holding {
    fn add_assign(&mut self, other: Self) {
        self.in_flight += other.in_flight;
        self.streams += other.streams;
        self.pending_bytes += other.pending_bytes;
        self.dropped += other.dropped;
    }
}

/// The event log of one session.
#[derive(Debug)]
pub(crate) struct EventLog {
    session_id: Arc<str>,
    bounds: Bounds,
    last_sequence: u64,
    last_stream: u64,
    last_reader: u64,
    lanes: Lanes,
    in_flight: HashMap<Id, u64>,
    /// Cancelled requests whose answer may yet come, the oldest first. It must not become that of a new request.
    cancelled: VecDeque<(Id, Instant)>,
    window: Window,
    /// Of streams that are over and not quite out of the window, and of the stream for what belongs to no request, the
    /// last event that left it. A client that has that one has missed nothing.
    evicted: BTreeMap<u64, u64>,
    pending: Share,
    notification_bytes: usize,
    dropped: u64,
    over: bool,
    active: Instant,
    working: bool,
}

impl EventLog {
    pub(crate) fn new(session_id: &str, bounds: Bounds, all: &Arc<Undelivered>) -> Self {
        Self {
            session_id: session_id.into(),
            bounds,
            last_sequence: 0,
            last_stream: Lanes::UNRELATED,
            last_reader: 0,
            lanes: Lanes::default(),
            in_flight: HashMap::new(),
            cancelled: VecDeque::new(),
            window: Window::new(bounds.replay_events, bounds.replay_bytes),
            evicted: BTreeMap::new(),
            pending: all.share(),
            notification_bytes: 0,
            dropped: 0,
            over: false,
            active: Instant::now(),
            working: false,
        }
    }

    /// Opens the stream of a request. `primed`: its first event has an id and no data. `room`: what is given back when
    /// the request is answered or cancelled.
    pub(crate) fn open(
        &mut self,
        id: &Id,
        primed: bool,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, NotOpened> {
        self.touch();
        if self.over {
            return Err(NotOpened::Over);
        }
        while self.cancelled.front().is_some_and(|(_, at)| at.elapsed() >= CANCELLED_FOR) {
            self.cancelled.pop_front();
        }
        if self.in_flight.contains_key(id) || self.cancelled.iter().any(|(cancelled, _)| cancelled == id) {
            return Err(NotOpened::InUse);
        }
        if self.in_flight.len() >= self.bounds.in_flight {
            return Err(NotOpened::TooMany);
        }
        // Answers of clients that left and did not come back must not fill the room for good, and each of them
        // costs more than its bytes.
        let most_streams = self.bounds.in_flight.saturating_mul(8);
        let most_bytes = self.bounds.buffered_bytes / 4 * 3;
        if self.lanes.requests().len() >= most_streams || self.pending.bytes() > most_bytes {
            return Err(NotOpened::Full);
        }
        if self.pending.is_over() {
            return Err(NotOpened::AllFull);
        }
        self.last_stream += 1;
        let mut stream = Stream::in_work(room);
        if primed {
            stream.pending.push_back(Event { sequence: None, content: Content::Priming });
        }
        let reader = self.next_reader();
        stream.attach(reader);
        self.lanes.insert(self.last_stream, stream);
        self.in_flight.insert(id.clone(), self.last_stream);
        Ok(Connection { stream: self.last_stream, reader, replay: VecDeque::new() })
    }

    /// Makes a connection the reader of the stream for what belongs to no request, from the first undelivered event on.
    pub(crate) fn listen(&mut self, primed: bool) -> Result<Connection, AlreadyListening> {
        self.touch();
        let reader = self.next_reader();
        let stream = self.lanes.unrelated();
        if stream.reader.is_some() {
            return Err(AlreadyListening);
        }
        match stream.pending.front_mut() {
            Some(Event { content: Content::Priming, .. }) => {
                stream.pending.pop_front();
            }
            // It was handed to a connection that broke. Here it follows the priming event, and so must its number.
            Some(event) => event.sequence = None,
            None => {}
        }
        if primed {
            stream.pending.push_front(Event { sequence: None, content: Content::Priming });
        }
        stream.attach(reader);
        Ok(Connection { stream: Lanes::UNRELATED, reader, replay: VecDeque::new() })
    }

    /// Makes a connection the reader of the stream that an event belongs to, from the event after it on. A connection
    /// that reads the stream now is replaced.
    pub(crate) fn resume(&mut self, sequence: u64) -> Result<Connection, OutOfWindow> {
        self.touch();
        let handed =
            |stream: &Stream| stream.pending.front().is_some_and(|event| event.sequence == Some(sequence));
        let waiting = self.lanes.all().find(|(_, stream)| handed(stream)).map(|(number, _)| number);
        if let Some(number) = waiting {
            // The client has it, whatever became of the connection that it came by.
            self.confirm(number);
        }
        let evicted = || {
            // While a request is in flight, its answer matters more than what may be missing before it. Once it is
            // over, nothing may be missing.
            let mut requests = self.lanes.requests().iter();
            let in_flight =
                requests.find(|(_, stream)| stream.was_evicted(sequence)).map(|(number, _)| *number);
            let over = || self.evicted.iter().find(|(_, last)| **last == sequence).map(|(number, _)| *number);
            in_flight.or_else(over)
        };
        let number =
            waiting.or_else(|| self.window.stream_of(sequence)).or_else(evicted).ok_or(OutOfWindow)?;
        let replay = self.window.after(number, sequence);
        let reader = self.next_reader();
        if let Some(stream) = self.lanes.get(number) {
            stream.attach(reader);
        }
        Ok(Connection { stream: number, reader, replay })
    }

    /// The next event for a connection, as it stands on the wire; `None` is the end of its stream. Asking for the next
    /// one confirms that the one before was delivered.
    pub(crate) fn next(&mut self, connection: &mut Connection, context: &Context<'_>) -> Poll<Option<Bytes>> {
        let number = connection.stream;
        if let Some(stream) = self.lanes.get(number) {
            let Some(reader) = stream.reader.as_mut().filter(|reader| reader.number == connection.reader)
            else {
                return Poll::Ready(None);
            };
            if mem::take(&mut reader.handed) {
                self.confirm(number);
            }
        }
        if let Some((sequence, text)) = connection.replay.pop_front() {
            let text = std::str::from_utf8(&text).unwrap_or_default();
            return Poll::Ready(Some(frame(&self.session_id, sequence, text)));
        }
        let Some(stream) = self.lanes.get(number) else { return Poll::Ready(None) };
        if let Some(front) = stream.pending.front_mut() {
            let sequence = *front.sequence.get_or_insert_with(|| {
                self.last_sequence += 1;
                self.last_sequence
            });
            let frame = frame(&self.session_id, sequence, front.content.text());
            stream.resumable = true;
            if let Some(reader) = &mut stream.reader {
                reader.handed = true;
            }
            return Poll::Ready(Some(frame));
        }
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(reader) = &mut stream.reader {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// What comes first for the request that this connection waits for. An answer that comes first is taken out.
    pub(crate) fn first(&mut self, connection: &Connection, context: &Context<'_>) -> Poll<First> {
        let Some(stream) = self.lanes.get(connection.stream) else { return Poll::Ready(First::Nothing) };
        let messages =
            stream.pending.iter().filter(|event| !matches!(event.content, Content::Priming)).count();
        if messages == 1 && stream.finished {
            let departure = self.remove(connection.stream).and_then(|mut stream| stream.pending.pop_back());
            return Poll::Ready(match departure {
                Some(Event { content: Content::Message { departure, .. }, .. }) => First::Answer(departure),
                _ => First::Nothing,
            });
        }
        if messages > 0 {
            return Poll::Ready(First::Other);
        }
        if self.over {
            return Poll::Ready(First::Nothing);
        }
        if let Some(reader) = &mut stream.reader {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// The text of the answer that this connection waits for, once it is there; `None` when it will not come.
    pub(crate) fn answer_text(
        &mut self,
        connection: &Connection,
        context: &Context<'_>,
    ) -> Poll<Option<String>> {
        let Some(stream) = self.lanes.get(connection.stream) else { return Poll::Ready(None) };
        if stream.finished {
            return Poll::Ready(stream.pending.back().map(|event| event.content.text().to_owned()));
        }
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(reader) = &mut stream.reader {
            reader.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Whether the client of this connection was told an event id, so that it can come back.
    pub(crate) fn is_resumable(&mut self, connection: &Connection) -> bool {
        self.lanes.get(connection.stream).is_none_or(|stream| stream.resumable)
    }

    /// A connection is gone. The call goes on: that is no cancellation.
    pub(crate) fn leave(&mut self, connection: &Connection) {
        self.touch();
        let number = connection.stream;
        let Some(stream) = self.lanes.get(number).filter(|stream| stream.is_read_by(connection.reader))
        else {
            return;
        };
        stream.reader = None;
        if number == Lanes::UNRELATED || stream.resumable {
            return;
        }
        // Nobody can ask for what is on this stream.
        stream.abandoned = true;
        if stream.finished {
            self.dropped += 1;
            self.remove(number);
        } else {
            let events = mem::take(&mut stream.pending);
            self.forget(&events);
        }
    }

    /// The client cancelled a request: nothing more comes on its stream, and nothing of it can be asked for.
    pub(crate) fn cancel(&mut self, id: &Id) {
        let Some(number) = self.in_flight.remove(id) else { return };
        if self.cancelled.len() >= self.bounds.in_flight {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back((id.clone(), Instant::now()));
        self.window.forget(number);
        if let Some(mut stream) = self.remove(number) {
            stream.wake();
        }
    }

    /// The session is over: connections are given what waits, and end.
    pub(crate) fn close(&mut self) {
        self.over = true;
        self.in_flight.clear();
        self.lanes.wake_all();
    }

    /// The client showed that it is there.
    pub(crate) fn touch(&mut self) {
        self.active = Instant::now();
    }

    /// Whether the session works on something that no request waits for. When it is done, the client may still want to
    /// hear of it.
    pub(crate) fn set_working(&mut self, working: bool) {
        self.working = working;
        self.touch();
    }

    /// How long nothing has happened, or `None` while a connection reads, a call is in flight or a task runs.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let quiet = self.in_flight.is_empty()
            && !self.working
            && self.lanes.all().all(|(_, stream)| stream.reader.is_none());
        quiet.then(|| self.active.elapsed())
    }

    /// How long ago the client last showed that it is there.
    pub(crate) fn active_ago(&self) -> Duration {
        self.active.elapsed()
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn holding(&self) -> Holding {
        Holding {
            in_flight: self.in_flight.len(),
            streams: self.lanes.all().filter(|(_, stream)| stream.reader.is_some()).count(),
            pending_bytes: self.pending.bytes(),
            dropped: self.dropped,
        }
    }

    fn next_reader(&mut self) -> u64 {
        self.last_reader += 1;
        self.last_reader
    }

    /// The event at the front was delivered: it gives back its room and stays for replay.
    fn confirm(&mut self, number: u64) {
        let Some(stream) = self.lanes.get(number) else { return };
        let Some(event) = stream.pending.pop_front() else { return };
        let over = stream.finished && stream.pending.is_empty();
        self.forget([&event]);
        let (Some(sequence), content) = (event.sequence, event.content) else { return };
        let text = match content {
            Content::Priming => Bytes::new(),
            Content::Message { departure, .. } => departure.text.into(),
        };
        for left in self.window.keep(Delivered { sequence, stream: number, text }) {
            match self.lanes.get(left.stream) {
                Some(stream) if left.stream != Lanes::UNRELATED => stream.remember_evicted(left.sequence),
                // The stream for what belongs to no request never ends, so its place is kept however long ago it was.
                _ if left.stream == Lanes::UNRELATED || self.window.holds(left.stream) => {
                    self.evicted.insert(left.stream, left.sequence);
                }
                _ => {
                    self.evicted.remove(&left.stream);
                }
            }
        }
        if over
            && let Some(last) = self.remove(number).and_then(|stream| stream.last_evicted())
            && self.window.holds(number)
        {
            self.evicted.insert(number, last);
        }
    }

    /// Takes a stream out.
    fn remove(&mut self, number: u64) -> Option<Stream> {
        let stream = self.lanes.remove(number)?;
        self.forget(&stream.pending);
        Some(stream)
    }

    /// These events wait no longer.
    fn forget<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            let cost = event.content.cost();
            self.pending.remove(cost);
            if event.content.is_notification() {
                self.notification_bytes = self.notification_bytes.saturating_sub(cost);
            }
        }
    }
}
