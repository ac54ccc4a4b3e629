//! Frames from a byte stream, with memory and time bounded by what has really arrived.
//!
//! * The announced length is a claim of a stranger, so nothing is allocated for it: the buffer grows by what arrived,
//!   at least 64 KiB and at most twice that.
//! * Between frames a peer may be silent for ever (liveness is the peer's business, dead TCP peers are found by
//!   keepalive). From the first byte of a frame on, the whole frame has one deadline: a peer that sends one byte a
//!   second is cut off like one that stops.
//! * The end of the stream between frames or inside a prefix is an orderly end; inside a payload it is an error. No
//!   part of a frame is ever delivered.

use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::NativeError;
use crate::frame::{self, PREFIX_BYTES};
use crate::memory::{FREE_BYTES, FrameMemory, Reservation};

/// Bytes asked for between frames; small, because every idle connection keeps such a buffer.
const IDLE_STEP: usize = 8 * 1024;

/// Least bytes asked for inside a payload.
const PAYLOAD_STEP: usize = 64 * 1024;

/// Largest buffer that is kept once its frames are taken.
const KEPT_CAPACITY: usize = 2 * IDLE_STEP;

/// Reads frames from one direction of a transport.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Start of what is not taken yet.
    start: usize,
    ended: bool,
    deadline: Duration,
    memory: FrameMemory,
}

/// One frame that has fully arrived.
#[derive(Debug)]
pub struct Frame<'a> {
    payload: &'a [u8],
    reservation: Reservation,
}

impl<'a> Frame<'a> {
    /// The payload, without its prefix; nothing about it is checked but its length.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub(crate) fn into_parts(self) -> (&'a [u8], Reservation) {
        (self.payload, self.reservation)
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that gives every frame `deadline` from its first byte to its last.
    pub fn new(source: R, deadline: Duration) -> Self {
        Self::with_memory(source, deadline, FrameMemory::new(0))
    }

    pub(crate) fn with_memory(source: R, deadline: Duration, memory: FrameMemory) -> Self {
        Self { source, buffer: Vec::new(), start: 0, ended: false, deadline, memory }
    }

    /// The next frame, or `None` when the stream ends before a whole prefix arrived.
    ///
    /// # Errors
    /// [`NativeError::ClosedInsideFrame`], [`NativeError::MessageTooLarge`], [`NativeError::FrameDeadline`], or what
    /// the transport says. After an error the transport must be closed.
    pub async fn next(&mut self) -> Result<Option<Frame<'_>>, NativeError> {
        if self.waiting() == 0 && self.read_some(IDLE_STEP).await? == 0 {
            return Ok(None);
        }
        let mut deadline = Instant::now() + self.deadline;
        let prefix = timeout_at(deadline, self.prefix()).await.map_err(|_| self.too_slow())??;
        let Some(prefix) = prefix else {
            return Ok(None);
        };
        let length = frame::announced_length(prefix)?;
        let opening = PREFIX_BYTES + length.min(FREE_BYTES);
        timeout_at(deadline, self.fill(opening, length)).await.map_err(|_| self.too_slow())??;
        let asked = Instant::now();
        let reservation = self.memory.reserve(length).await;
        // Waiting for room is our delay and not the peer's.
        deadline += asked.elapsed();
        let whole = PREFIX_BYTES + length;
        timeout_at(deadline, self.fill(whole, length)).await.map_err(|_| self.too_slow())??;
        let payload = self.take(whole);
        Ok(Some(Frame { payload: self.buffer.get(payload).unwrap_or_default(), reservation }))
    }

    /// Reads ahead while nobody takes frames, so that the end of the stream is noticed: returns when it has ended,
    /// and never once 64 KiB are waiting. Dropping the future loses nothing.
    pub(crate) async fn wait_for_end(&mut self) {
        while !self.ended {
            if self.waiting() >= FREE_BYTES {
                return std::future::pending().await;
            }
            if self.read_some(IDLE_STEP).await.is_err() {
                self.ended = true;
            }
        }
    }

    /// Throws away whatever still arrives, until the peer closes its side.
    pub(crate) async fn discard_rest(&mut self) {
        loop {
            self.buffer.clear();
            self.start = 0;
            match self.read_some(IDLE_STEP).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn prefix(&mut self) -> Result<Option<[u8; PREFIX_BYTES]>, NativeError> {
        loop {
            let waiting = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(prefix) = waiting.first_chunk() {
                return Ok(Some(*prefix));
            }
            if self.read_some(IDLE_STEP).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads until `wanted` bytes wait, of a frame whose payload was announced as `length`.
    async fn fill(&mut self, wanted: usize, length: usize) -> Result<(), NativeError> {
        while self.waiting() < wanted {
            let missing = wanted - self.waiting();
            // Doubling keeps the copying linear; the claim of the prefix never counts for more than what arrived.
            let step = missing.min(self.waiting().max(PAYLOAD_STEP));
            if self.read_some(step).await? == 0 {
                let arrived = self.waiting().saturating_sub(PREFIX_BYTES);
                return Err(NativeError::ClosedInsideFrame { arrived, announced: length });
            }
        }
        Ok(())
    }

    /// Reads what the source has, up to the room that is there and at least up to `step` bytes; 0 at its end.
    async fn read_some(&mut self, step: usize) -> Result<usize, NativeError> {
        if self.ended {
            return Ok(0);
        }
        self.make_room(step);
        let read = self.source.read_buf(&mut self.buffer).await;
        let read = read.map_err(|error| NativeError::io("reading from the connection", error))?;
        self.ended = read == 0;
        Ok(read)
    }

    fn make_room(&mut self, step: usize) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.capacity() > KEPT_CAPACITY && self.buffer.len() + step <= KEPT_CAPACITY {
            self.buffer.shrink_to(self.buffer.len() + step);
        }
        self.buffer.reserve_exact(step);
    }

    fn take(&mut self, bytes: usize) -> Range<usize> {
        let whole = self.start..self.start + bytes;
        self.start = whole.end;
        whole.start + PREFIX_BYTES..whole.end
    }

    fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn too_slow(&self) -> NativeError {
        NativeError::FrameDeadline(self.deadline)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn memory_follows_what_arrived_and_not_what_was_announced() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(far, Duration::from_secs(30));
        near.write_all(&0x0100_0000_u32.to_be_bytes()).await.unwrap();
        near.write_all(&[b'1'; 300_000]).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(200), reader.next()).await;
        assert!(waiting.is_err());
        assert!(reader.waiting() == 300_004 && reader.buffer.capacity() <= 2 * 300_004 + PAYLOAD_STEP);
    }

    #[tokio::test]
    async fn an_idle_connection_gives_the_memory_of_a_large_frame_back() {
        let (mut near, far) = tokio::io::duplex(1 << 21);
        let mut reader = FrameReader::new(far, Duration::from_secs(30));
        near.write_all(&0x0010_0000_u32.to_be_bytes()).await.unwrap();
        near.write_all(&vec![b'1'; 0x0010_0000]).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().payload().len(), 0x0010_0000);
        let waiting = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
        assert!(waiting.is_err());
        assert!(reader.buffer.capacity() <= KEPT_CAPACITY);
    }

    #[tokio::test(start_paused = true)]
    async fn large_frames_share_one_budget_and_small_ones_never_wait() {
        let memory = FrameMemory::new(16 << 20);
        let reader = |bytes: usize, announced: u32| {
            let (mut near, far) = tokio::io::duplex(16 << 20);
            let reader = FrameReader::with_memory(far, Duration::from_secs(30), memory.clone());
            let sending = async move {
                near.write_all(&announced.to_be_bytes()).await.unwrap();
                near.write_all(&vec![b'1'; bytes]).await.unwrap();
                near
            };
            async move { (sending.await, reader) }
        };
        let (_stalled, mut stalling) = reader(1 << 20, 10 << 20).await;
        let stalled = tokio::spawn(async move { stalling.next().await.map(|_| ()) });
        tokio::task::yield_now().await;

        let started = Instant::now();
        let (_near, mut small) = reader(60_000, 60_000).await;
        assert!(small.next().await.unwrap().is_some());
        assert_eq!(started.elapsed(), Duration::ZERO);

        let (_near, mut honest) = reader(10 << 20, 10 << 20).await;
        let frame = honest.next().await.unwrap().unwrap();
        assert_eq!((frame.payload().len(), started.elapsed().as_secs()), (10 << 20, 30));
        assert!(matches!(stalled.await.unwrap(), Err(NativeError::FrameDeadline(_))));

        // What was reserved is held as long as somebody works on the frame.
        let (_, reservation) = frame.into_parts();
        let (_near, mut next) = reader(10 << 20, 10 << 20).await;
        assert!(timeout_at(Instant::now() + Duration::from_secs(3600), next.next()).await.is_err());
        drop(reservation);
        assert!(next.next().await.unwrap().is_some());
    }
}
