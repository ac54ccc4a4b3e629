//! When to start the next transaction.
//!
//! Callers that were just answered usually come back at once, but not all in the same microsecond. Starting with the
//! first of them splits the callers into two groups that take turns waiting for each other's syncs, and halves the
//! rate. So while there is traffic, the writer gives those it just answered a fraction of the last sync's time to come
//! back. A caller that comes later than that, or alone, waits for nothing.

use std::time::{Duration, Instant};

/// The share of the last commit's time that is spent on waiting for company.
const SHARE: u32 = 4;
const LONGEST: Duration = Duration::from_millis(1);
/// Below this a pause of the thread costs more than it brings.
const SHORTEST: Duration = Duration::from_micros(50);

/// What the last transaction teaches about the next.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// Until when it is worth waiting.
    until: Instant,
    /// How many callers are under way: those answered last and those that already waited then.
    expected: usize,
}

impl Rhythm {
    pub(super) fn new() -> Self {
        Self { until: Instant::now(), expected: 0 }
    }

    /// `answered` callers were answered just now, `waiting` more were there already, the commit took `commit`.
    pub(super) fn note(&mut self, answered: usize, waiting: usize, commit: Duration) {
        let grace = (commit / SHARE).min(LONGEST);
        self.expected = answered + waiting;
        self.until =
            if grace < SHORTEST || self.expected < 2 { Instant::now() } else { Instant::now() + grace };
    }

    /// Waits while `gather` returns fewer callers than are expected. `gather` takes those that have come meanwhile and
    /// returns how many there are.
    pub(super) fn wait(&self, mut gather: impl FnMut() -> usize) {
        while gather() < self.expected && Instant::now() < self.until {
            std::thread::sleep(SHORTEST);
        }
    }
}
