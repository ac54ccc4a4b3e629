//! The bytes that wait for the clients of all sessions together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count that all logs of an edge share, and its bound.
#[derive(Debug)]
pub(crate) struct Undelivered {
    bytes: AtomicUsize,
    most: usize,
}

/// What one log has of it; given back when the log is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Undelivered>,
    bytes: usize,
}

impl Undelivered {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), most })
    }

    /// A share that is empty yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { of: Arc::clone(self), bytes: 0 }
    }
}

impl Share {
    /// Whether all logs together hold more than they should, so that nothing may begin that ends in more.
    pub(super) fn is_over(&self) -> bool {
        self.of.bytes.load(Ordering::Relaxed) > self.of.most
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.of.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.of.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}
