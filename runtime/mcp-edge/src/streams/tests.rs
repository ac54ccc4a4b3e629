//! The log, driven without tasks: what is pushed, what connections take, what survives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod delivery;
mod properties;
mod replay;
mod room;

use std::task::{Context, Poll, Waker};

use chio_mcp::channel::{Arrival, Channel, Departures, Outbox, Route};
use chio_mcp::jsonrpc::{self, Id};
use tokio::sync::mpsc::Receiver;

use super::log::{Bounds, Connection, EventLog};
use super::{Undelivered, sequence_of};

const SESSION: &str = "ab-cd";

const BOUNDS: Bounds = Bounds {
    in_flight: 8,
    buffered_bytes: 64 * 1024,
    replay_events: 4,
    replay_bytes: 4096,
    backlog_events: 3,
    backlog_bytes: 2048,
};

struct Bench {
    log: EventLog,
    outbox: Outbox,
    departures: Departures,
    _arrivals: Receiver<Arrival>,
}

impl Bench {
    fn new(bounds: Bounds) -> Self {
        let (Channel { arrivals, outbox }, _, departures) = Channel::new(bounds.buffered_bytes);
        Self {
            log: EventLog::new(SESSION, bounds, &Undelivered::new(usize::MAX)),
            outbox,
            departures,
            _arrivals: arrivals,
        }
    }

    fn push(&mut self, text: String, route: Route) {
        self.outbox.offer(text, route).expect("room in the channel");
        self.log.push(self.departures.next_ready().unwrap());
    }

    fn open(&mut self, id: u64) -> Connection {
        self.log.open(&Id::number(id), true, None).unwrap()
    }

    fn answer(&mut self, id: u64) {
        let id = Id::number(id);
        self.push(jsonrpc::result_text(&id, "{}"), Route::Answer(id));
    }

    fn tell(&mut self, id: u64, what: &str) {
        self.push(jsonrpc::notification_text(what, None), Route::Within(Id::number(id)));
    }

    fn broadcast(&mut self, what: &str) {
        self.push(jsonrpc::notification_text(what, None), Route::Unrelated);
    }

    fn next(&mut self, connection: &mut Connection) -> Poll<Option<String>> {
        let next = self.log.next(connection, &Context::from_waker(Waker::noop()));
        next.map(|event| event.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    /// What can be taken now: sequence and data of each event, and whether the stream ended.
    fn drain(&mut self, connection: &mut Connection) -> (Vec<(u64, String)>, bool) {
        let mut events = Vec::new();
        loop {
            match self.next(connection) {
                Poll::Ready(Some(event)) => events.push(parse(&event)),
                Poll::Ready(None) => return (events, true),
                Poll::Pending => return (events, false),
            }
        }
    }

    /// What is free of the channel's bound.
    fn room(&self) -> usize {
        let mut room = 0;
        for step in [16 * 1024, 1024, 256] {
            while let Ok(()) = self.outbox.offer("x".repeat(step - 256), Route::Unrelated) {
                room += step;
            }
        }
        room
    }
}

fn parse(event: &str) -> (u64, String) {
    let mut id = None;
    let mut data = None;
    for line in event.trim_end().lines() {
        if let Some(text) = line.strip_prefix("id: ") {
            id = sequence_of(SESSION, text);
        } else if let Some(text) = line.strip_prefix("data:") {
            data = Some(text.trim().to_owned());
        }
    }
    (id.expect("every event has an id"), data.expect("every event has data"))
}

fn messages(events: &[(u64, String)]) -> Vec<&str> {
    events.iter().map(|(_, data)| data.as_str()).filter(|data| !data.is_empty()).collect()
}

fn note(what: &str) -> String {
    jsonrpc::notification_text(what, None)
}
