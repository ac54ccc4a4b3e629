//! How fast strangers may fill the log.
//!
//! A denial of a caller that proved nothing still gets its receipt, but such receipts are paced: a stranger waits,
//! and neither the disk nor an honest caller pays.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longest that a stranger waits. With the pace, it bounds how many wait at once.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A generic cell rate limiter: up to `burst` at once, then one every `interval`, the rest wait their turn.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    burst: u32,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), burst, next: Mutex::new(None) }
    }

    /// Waits until the next denial may be recorded. False, and at once, when the wait would be longer than
    /// [`LONGEST_WAIT`]: then so many wait that one more is turned away.
    pub(crate) async fn turn(&self) -> bool {
        match self.reserve(Instant::now()) {
            Some(at) => {
                tokio::time::sleep_until(at).await;
                true
            }
            None => false,
        }
    }

    fn reserve(&self, now: Instant) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let theoretical = next.map_or(now, |next| next.max(now));
        let turn = theoretical.checked_sub(self.interval * self.burst).map_or(now, |early| early.max(now));
        if turn.duration_since(now) > LONGEST_WAIT {
            return None;
        }
        *next = Some(theoretical + self.interval);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_is_paced() {
        let pace = Pace::new(10, 5);
        let start = Instant::now();
        for _ in 0..6 {
            assert!(pace.turn().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            assert!(pace.turn().await);
        }
        assert_eq!(start.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_turned_away() {
        let pace = Pace::new(10, 5);
        let waiting = (0..200).filter(|_| pace.reserve(Instant::now()).is_some()).count();
        assert_eq!(waiting, 106);
    }
}
