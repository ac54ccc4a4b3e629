//! Time that does not count against a call.
//!
//! A tool that asks its caller something waits for a person, who takes the time that people take. A surface that knows of
//! such a question pauses the call's time while it is open; the question has a limit of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The pauses of one call; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    changed: Notify,
}

/// The call's time stands still as long as this lives.
#[derive(Debug)]
pub struct Pause {
    shared: Arc<Shared>,
}

impl Pauses {
    /// Begins a pause. Several may be open at a time.
    #[must_use]
    pub fn begin(&self) -> Pause {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        self.shared.changed.notify_waiters();
        Pause { shared: Arc::clone(&self.shared) }
    }

    /// Returns when the call has had `limit` beside its pauses, and at the latest after `longest`: whoever asks again and
    /// again must not have a call go on for ever.
    pub(crate) async fn spent(&self, limit: Duration, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.spent_besides(limit)).await;
    }

    async fn spent_besides(&self, limit: Duration) {
        let mut left = limit;
        loop {
            // Before the look at the number, so that no change falls between.
            let changed = self.shared.changed.notified();
            if self.shared.open.load(Ordering::SeqCst) > 0 {
                changed.await;
                continue;
            }
            let begun = Instant::now();
            tokio::select! {
                () = changed => left = left.saturating_sub(begun.elapsed()),
                () = tokio::time::sleep(left) => return,
            }
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_call_stands_still_while_any_pause_is_open() {
        let pauses = Pauses::default();
        let begun = Instant::now();
        let pausing = async {
            tokio::time::sleep(SECOND).await;
            let first = pauses.begin();
            tokio::time::sleep(5 * SECOND).await;
            let second = pauses.begin();
            drop(first);
            tokio::time::sleep(5 * SECOND).await;
            drop(second);
        };
        tokio::join!(pauses.spent(3 * SECOND, 60 * SECOND), pausing);
        assert_eq!(begun.elapsed().as_secs(), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_never_ends_does_not_keep_a_call_for_ever() {
        let pauses = Pauses::default();
        let _asking = pauses.begin();
        let begun = Instant::now();
        pauses.spent(3 * SECOND, 60 * SECOND).await;
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
