//! How fast strangers may fill the log.
//!
//! A denial of a caller that proved nothing still gets its receipt, but such receipts are paced: a stranger waits,
//! and neither the disk nor an honest caller pays.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

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

    /// Waits until the next denial may be recorded.
    pub(crate) async fn turn(&self) {
        let at = self.reserve(Instant::now());
        tokio::time::sleep_until(at).await;
    }

    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let theoretical = next.map_or(now, |next| next.max(now));
        *next = Some(theoretical + self.interval);
        theoretical.checked_sub(self.interval * self.burst).map_or(now, |early| early.max(now))
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
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed().as_millis(), 1000);
    }
}
