//! The way of a streamed result from the tool server to the surface, hashed and bounded on the way.

use chio_core::receipt::StreamHasher;
use chio_json::Json;
use tokio::sync::{Mutex, mpsc};

use crate::KernelError;

/// Where a tool server puts the chunks of its result.
///
/// Every chunk is hashed once; the hashes go into the receipt. The limits keep a receipt's list
/// of chunk hashes, and what an uncollected stream may carry, bounded.
#[derive(Debug)]
pub struct ChunkSink {
    state: Mutex<StreamState>,
    forward: Option<mpsc::Sender<Json>>,
    limits: StreamLimits,
}

/// Bounds of one stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Most chunks.
    pub chunks: u64,
    /// Most bytes over all chunks.
    pub total_bytes: u64,
    /// Most bytes of one chunk.
    pub chunk_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { chunks: 16_384, total_bytes: 256 << 20, chunk_bytes: 15 << 20 }
    }
}

#[derive(Debug, Default)]
struct StreamState {
    hasher: StreamHasher,
    collected: Vec<Json>,
}

/// What went through a [`ChunkSink`].
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    pub(crate) hasher: StreamHasher,
    /// The chunks themselves, when no surface took them.
    pub(crate) collected: Vec<Json>,
}

impl ChunkSink {
    pub(crate) fn new(forward: Option<mpsc::Sender<Json>>, limits: StreamLimits) -> Self {
        Self { state: Mutex::default(), forward, limits }
    }

    /// Sends one chunk on, in order.
    ///
    /// # Errors
    /// [`KernelError::ToolServerError`] when the chunk is not readable as JSON in one way only or breaks a limit,
    /// and [`KernelError::Interrupted`] when nobody takes chunks any more; the server should stop then.
    pub async fn send(&self, chunk: Json) -> Result<(), KernelError> {
        let mut state = self.state.lock().await;
        let bytes = chunk.get().len();
        if bytes > self.limits.chunk_bytes {
            return Err(KernelError::ToolServerError(format!("a chunk of {bytes} bytes is too large")));
        }
        if state.hasher.chunks() >= self.limits.chunks
            || state.hasher.total_bytes().saturating_add(bytes as u64) > self.limits.total_bytes
        {
            return Err(KernelError::ToolServerError("the stream is longer than its limit".to_owned()));
        }
        state.hasher.push(&chunk).map_err(|error| {
            KernelError::ToolServerError(format!("a chunk is not readable JSON: {error}"))
        })?;
        match &self.forward {
            None => state.collected.push(chunk),
            Some(forward) => forward
                .send(chunk)
                .await
                .map_err(|_| KernelError::Interrupted("nobody takes the stream any more".to_owned()))?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Streamed {
        let StreamState { hasher, collected } = self.state.into_inner();
        Streamed { hasher, collected }
    }
}
