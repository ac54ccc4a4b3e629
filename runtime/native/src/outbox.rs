//! What a connection has to send: a bounded queue and the one task that writes it.
//!
//! Every sender waits for room, so a peer that reads slowly slows down its own calls and nobody else's. The room is
//! counted in bytes: 1 MiB of small frames or one large frame. A frame that the peer does not take within the deadline
//! ends the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::NativeError;
use crate::frame::{self, Message};

/// Bytes that may wait to be written; a larger frame waits alone.
const ROOM: u32 = 1024 * 1024;

/// Frames that may wait to be written.
const FRAMES: usize = 256;

/// Frames below this size are written together.
const BATCH_BYTES: usize = 64 * 1024;

/// The sending half of the queue. The writer ends once every clone is dropped and everything is written.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Queued {
    frame: Vec<u8>,
    /// Gives the room back once the frame is written.
    room: OwnedSemaphorePermit,
}

impl Outbox {
    /// Starts the writer. When it fails it cancels `broken`, and every later [`send`](Self::send) fails.
    pub(crate) fn start<W>(sink: W, deadline: Duration, broken: CancellationToken) -> (Self, JoinHandle<()>)
    where
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(FRAMES);
        let writer = tokio::spawn(async move {
            if let Err(error) = write_all(sink, waiting, deadline).await {
                tracing::debug!(%error, "writing to a native peer ended");
                broken.cancel();
            }
        });
        (Self { queue, room: Arc::new(Semaphore::new(ROOM as usize)) }, writer)
    }

    /// Queues one message as soon as there is room for it.
    ///
    /// # Errors
    /// Those of [`frame::encode`], after which nothing was queued and the connection goes on;
    /// [`NativeError::ConnectionClosed`] when the writer has ended.
    pub(crate) async fn send<M: Message>(&self, message: &M) -> Result<(), NativeError> {
        let frame = frame::encode(message)?;
        let bytes = u32::try_from(frame.len()).unwrap_or(ROOM).min(ROOM);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let room = room.map_err(|_| NativeError::ConnectionClosed)?;
        self.queue.send(Queued { frame, room }).await.map_err(|_| NativeError::ConnectionClosed)
    }
}

async fn write_all<W>(
    mut sink: W,
    mut waiting: mpsc::Receiver<Queued>,
    deadline: Duration,
) -> Result<(), NativeError>
where
    W: AsyncWrite + Unpin,
{
    while let Some(first) = waiting.recv().await {
        let mut batch = first.frame;
        let mut rooms = vec![first.room];
        while batch.len() < BATCH_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            batch.extend_from_slice(&next.frame);
            rooms.push(next.room);
        }
        let write = async {
            sink.write_all(&batch).await?;
            sink.flush().await
        };
        let written = timeout(deadline, write).await.map_err(|_| NativeError::WriteDeadline(deadline))?;
        written.map_err(|error| NativeError::io("writing to the connection", error))?;
    }
    // The peer learns that nothing follows; what it still sends is read and thrown away for a moment.
    let _ = timeout(deadline, sink.shutdown()).await;
    Ok(())
}
