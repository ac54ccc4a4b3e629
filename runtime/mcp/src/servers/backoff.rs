//! How long a server that failed is left alone.

use std::time::{Duration, Instant};

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// However often it failed.
const LONGEST: Duration = Duration::from_secs(60);
/// A server that lived this long was well, and its failures before that count no more.
const STABLE: Duration = Duration::from_secs(60);

/// Doubles with every failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    delay: Option<Duration>,
    until: Option<Instant>,
}

impl Backoff {
    /// The server ended by itself, or did not start, after this life.
    pub(super) fn failed(&mut self, life: Duration, now: Instant) -> Instant {
        let delay = match self.delay.filter(|_| life < STABLE) {
            Some(delay) => (delay * 2).min(LONGEST),
            None => FIRST,
        };
        let until = now + delay;
        self.delay = Some(delay);
        self.until = Some(until);
        until
    }

    /// How long the server must still be left alone.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|remaining| !remaining.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_minute_and_a_stable_life_resets_it() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.remaining(now), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(Duration::from_secs(5), now);
            assert_eq!(backoff.remaining(now), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(backoff.remaining(now + LONGEST), None);
        backoff.failed(STABLE, now);
        assert_eq!(backoff.remaining(now), Some(FIRST));
    }
}
