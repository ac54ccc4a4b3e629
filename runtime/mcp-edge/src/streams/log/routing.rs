//! On which stream a text belongs, and what gives way when there is no room for it.

use chio_mcp::channel::{Departure, Route};

use super::EventLog;
use crate::streams::stream::{Content, Event, Lanes, cost};

/// How a notification's text begins. All texts in a channel are written by [`chio_mcp::jsonrpc`].
const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"#;

impl EventLog {
    /// Takes a text that the session has for its client, and puts it on the stream where it belongs.
    pub(crate) fn push(&mut self, departure: Departure) {
        match departure.route.clone() {
            Route::Answer(id) => {
                let number = self.in_flight.remove(&id);
                if number.is_none() {
                    self.cancelled.retain(|(cancelled, _)| *cancelled != id);
                }
                self.touch();
                self.push_answer(number, departure);
            }
            Route::Within(id) => {
                let stream = self.in_flight.get(&id).copied().filter(|number| self.reads(*number));
                match stream {
                    Some(number) => self.push_within(number, departure),
                    None if is_notification(&departure) => self.dropped += 1,
                    // The answer overtook it, or its client went away. The server waits for an answer all the same.
                    None => self.push_unrelated(None, departure),
                }
            }
            Route::UnrelatedOr(id) => {
                let number = self.in_flight.get(&id).copied();
                self.push_unrelated(number, departure);
            }
            Route::Unrelated => self.push_unrelated(None, departure),
        }
    }

    fn push_answer(&mut self, number: Option<u64>, departure: Departure) {
        let Some(number) = number else {
            self.dropped += 1;
            return;
        };
        let Some(stream) = self.lanes.get(number) else { return };
        stream.finished = true;
        stream.room = None;
        if stream.abandoned {
            self.dropped += 1;
            self.remove(number);
        } else {
            self.append(number, departure, false);
        }
    }

    fn push_within(&mut self, number: u64, departure: Departure) {
        let is_notification = is_notification(&departure);
        let bytes = self.notification_bytes.saturating_add(cost(&departure));
        if is_notification && bytes > self.bounds.buffered_bytes / 2 {
            self.dropped += 1;
        } else {
            self.append(number, departure, is_notification);
        }
    }

    fn push_unrelated(&mut self, otherwise: Option<u64>, departure: Departure) {
        let is_notification = is_notification(&departure);
        let listened = self.lanes.unrelated().reader.is_some();
        let otherwise = otherwise.filter(|number| self.reads(*number)).or_else(|| {
            // A request of the server needs an answer, so it goes where the client surely looks.
            let newest = self.in_flight.values().copied().filter(|number| self.reads(*number)).max();
            newest.filter(|_| !is_notification)
        });
        match otherwise {
            Some(number) if !listened => self.push_within(number, departure),
            _ => {
                self.append(Lanes::UNRELATED, departure, is_notification);
                self.bound_backlog();
            }
        }
    }

    /// Whether the client still wants what is on the stream of a request.
    fn reads(&self, number: u64) -> bool {
        self.lanes.requests().get(&number).is_some_and(|stream| !stream.abandoned)
    }

    fn append(&mut self, number: u64, departure: Departure, is_notification: bool) {
        let Some(stream) = self.lanes.get(number) else { return };
        let cost = cost(&departure);
        self.pending.add(cost);
        if is_notification {
            self.notification_bytes += cost;
        }
        let content = Content::Message { departure, is_notification };
        stream.pending.push_back(Event { sequence: None, content });
        stream.wake();
    }

    fn bound_backlog(&mut self) {
        loop {
            let stream = self.lanes.unrelated();
            let waits = |event: &&Event| event.content.is_notification() && event.sequence.is_none();
            let (count, bytes) =
                stream.pending.iter().filter(waits).fold((0_usize, 0_usize), |(count, bytes), event| {
                    (count + 1, bytes + event.content.cost())
                });
            if count <= self.bounds.backlog_events && bytes <= self.bounds.backlog_bytes {
                return;
            }
            let oldest = stream.pending.iter().position(|event| waits(&event));
            let Some(event) = oldest.and_then(|at| stream.pending.remove(at)) else { return };
            self.dropped += 1;
            self.forget([&event]);
        }
    }
}

fn is_notification(departure: &Departure) -> bool {
    departure.text.starts_with(NOTIFICATION)
}
