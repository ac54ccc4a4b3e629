//! Delivered events that are kept for replay.

use std::collections::VecDeque;

use bytes::Bytes;

/// A delivered event.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) sequence: u64,
    pub(super) stream: u64,
    pub(super) text: Bytes,
}

/// The newest delivered events of a session, in the order of delivery.
#[derive(Debug)]
pub(super) struct Window {
    events: VecDeque<Delivered>,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
}

impl Window {
    pub(super) fn new(most_events: usize, most_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, most_events, most_bytes }
    }

    /// Keeps an event and answers what had to leave. The newest one stays whatever its size: that it was delivered
    /// means that it was handed to a connection, which may yet break.
    pub(super) fn keep(&mut self, event: Delivered) -> Vec<Delivered> {
        self.bytes = self.bytes.saturating_add(event.text.len());
        self.events.push_back(event);
        let mut left = Vec::new();
        while self.events.len() > 1 && (self.events.len() > self.most_events || self.bytes > self.most_bytes)
        {
            let Some(event) = self.events.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(event.text.len());
            left.push(event);
        }
        left
    }

    /// Whether an event of a stream is still here.
    pub(super) fn holds(&self, stream: u64) -> bool {
        self.events.iter().any(|event| event.stream == stream)
    }

    /// The stream of an event that is still here.
    pub(super) fn stream_of(&self, sequence: u64) -> Option<u64> {
        self.events.iter().find(|event| event.sequence == sequence).map(|event| event.stream)
    }

    /// What was delivered on a stream after an event, in order.
    pub(super) fn after(&self, stream: u64, sequence: u64) -> VecDeque<(u64, Bytes)> {
        self.events
            .iter()
            .filter(|event| event.stream == stream && event.sequence > sequence)
            .map(|event| (event.sequence, event.text.clone()))
            .collect()
    }

    /// Drops all events of a stream.
    pub(super) fn forget(&mut self, stream: u64) {
        self.events.retain(|event| event.stream != stream);
        self.bytes = self.events.iter().map(|event| event.text.len()).sum();
    }
}
