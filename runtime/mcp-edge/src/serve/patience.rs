//! Connections whose peer does not read.
//!
//! Nothing is queued for such a peer, but its connection and its session would be there for as long as it likes: TCP
//! keeps a closed window open for ever, and a stream that is being read is never idle. So a write that makes no progress
//! for a while breaks the connection. What was not delivered stays in the session, and a client that comes back is given
//! it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection on which no write waits for longer than `patience`.
pub(super) struct Patient<T> {
    connection: T,
    patience: Duration,
    /// Set while a write waits: when it is given up.
    until: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncWrite + Unpin> Patient<T> {
    pub(super) fn new(connection: T, patience: Duration) -> Self {
        Self { connection, patience, until: None }
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = attempt(Pin::new(&mut self.connection), context) {
            self.until = None;
            return Poll::Ready(written);
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        until.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, |connection, context| connection.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, |connection, context| connection.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_makes_no_progress_fails_and_a_slow_one_does_not() {
        let (near, mut far) = duplex(8);
        let mut near = Patient::new(near, PATIENCE);
        near.write_all(b"full now").await.unwrap();
        let begun = Instant::now();
        let writing = tokio::spawn(async move { near.write_all(b"but there is more").await });
        // Each time a little, long after the first patience is over.
        for _ in 0..4 {
            sleep(PATIENCE - Duration::from_secs(1)).await;
            far.read_exact(&mut [0; 2]).await.unwrap();
        }
        assert!(!writing.is_finished());
        let failed = writing.await.unwrap().unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), 4 * (PATIENCE - Duration::from_secs(1)) + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_failure() {
        let (near, mut far) = duplex(8);
        let mut near = Patient::new(near, PATIENCE);
        assert!(timeout(2 * PATIENCE, near.read_u8()).await.is_err());
        near.write_all(b"late").await.unwrap();
        far.read_exact(&mut [0; 4]).await.unwrap();
    }
}
