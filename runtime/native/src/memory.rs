//! A bound on what large incoming frames may hold together.
//!
//! Without it a thousand peers could each send 16 MiB less one byte and stop. Frames up to [`FREE_BYTES`] are never
//! made to wait, so peers that hold the budget can delay other large frames only: until their own frame has arrived and
//! its call has ended, which for callers who proved nothing is a matter of seconds.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::frame::MAX_PAYLOAD_BYTES;

/// Payload bytes that every frame may hold without asking.
pub(crate) const FREE_BYTES: usize = 64 * 1024;

/// Bytes that one permit of the semaphore stands for.
const UNIT: usize = 1024;

/// The budget that all connections of one server share.
#[derive(Clone, Debug)]
pub(crate) struct FrameMemory(Arc<Semaphore>);

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    _permit: Option<OwnedSemaphorePermit>,
}

impl FrameMemory {
    /// A budget of `bytes`, at least one frame of the largest size.
    pub(crate) fn new(bytes: usize) -> Self {
        let units = bytes.max(MAX_PAYLOAD_BYTES).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// Waits, in order of arrival, until `bytes` are free. The whole frame is reserved at once: many half-received
    /// frames that wait for each other's rest would all miss their deadlines.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reservation {
        if bytes <= FREE_BYTES {
            return Reservation { _permit: None };
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed, and a frame never needs more units than exist.
        Reservation { _permit: Arc::clone(&self.0).acquire_many_owned(units).await.ok() }
    }
}
