//! Connections as HTTP bodies. Each takes events from the log when its peer has room for them, so nothing is ever
//! queued for a connection.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use chio_mcp::channel::Departure;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::event::KEEP_ALIVE;
use super::{Connection, First, Streams};

/// The silence after which a comment is sent, so that nothing on the way takes the connection for dead, and so that
/// we notice when it is.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A place in the log that is given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    streams: Arc<Streams>,
    connection: Connection,
}

impl Reading {
    pub(crate) fn new(streams: &Arc<Streams>, connection: Connection) -> Self {
        Self { streams: Arc::clone(streams), connection }
    }

    /// What comes first for the request.
    pub(crate) async fn first(&self) -> First {
        poll_fn(|context| self.streams.lock().first(&self.connection, context)).await
    }

    /// The text of the answer, which stays where it is; `None` when it will not come.
    pub(crate) async fn answer_text(&self) -> Option<String> {
        poll_fn(|context| self.streams.lock().answer_text(&self.connection, context)).await
    }

    /// The stream as the body of a response. `close_silent_after`: end it after that silence.
    pub(crate) fn into_body(self, close_silent_after: Option<Duration>) -> Body {
        Body::new(EventStream {
            reading: self,
            keep_alive: Box::pin(sleep(KEEP_ALIVE_EVERY)),
            silence: close_silent_after.map(|limit| (limit, Box::pin(sleep(limit)))),
            ended: false,
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.streams.lock().leave(&self.connection);
    }
}

/// The body of an event stream.
#[derive(Debug)]
struct EventStream {
    reading: Reading,
    keep_alive: Pin<Box<Sleep>>,
    silence: Option<(Duration, Pin<Box<Sleep>>)>,
    ended: bool,
}

impl EventStream {
    fn heard(&mut self) {
        let now = Instant::now();
        self.keep_alive.as_mut().reset(now + KEEP_ALIVE_EVERY);
        if let Some((limit, silence)) = &mut self.silence {
            silence.as_mut().reset(now + *limit);
        }
    }

    /// Whether the stream was silent for too long and its client can come back for the rest.
    fn is_to_be_closed(&mut self, context: &mut Context<'_>) -> bool {
        let Some((limit, silence)) = &mut self.silence else { return false };
        if silence.as_mut().poll(context).is_pending() {
            return false;
        }
        silence.set(sleep_until(Instant::now() + *limit));
        let _ = silence.as_mut().poll(context);
        let Reading { streams, connection } = &self.reading;
        streams.lock().is_resumable(connection)
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if body.ended {
            return Poll::Ready(None);
        }
        let Reading { streams, connection } = &mut body.reading;
        let next = streams.lock().next(connection, context);
        match next {
            Poll::Ready(Some(event)) => {
                body.heard();
                Poll::Ready(Some(Ok(Frame::data(event))))
            }
            Poll::Ready(None) => {
                body.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending if body.is_to_be_closed(context) => {
                body.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if body.keep_alive.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                body.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE_EVERY);
                Poll::Ready(Some(Ok(Frame::data(KEEP_ALIVE))))
            }
        }
    }
}

/// An answer as the body of a response; it keeps its room in the channel's bound until it is written.
pub(crate) fn answer_body(answer: Departure) -> Body {
    struct Held(Departure);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            self.0.text.as_bytes()
        }
    }

    Body::from(Bytes::from_owner(Held(answer)))
}
