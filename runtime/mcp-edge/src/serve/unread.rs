//! The rest of a body that a refused request leaves unread.
//!
//! A refusal needs only the head of a request. When the body is left where it is, the connection cannot serve another
//! request and is closed, and a client that has begun its next request on it sees that one fail. So the body is read on
//! and thrown away before the refusal is sent. Where it does not end within bounds, the response says that the
//! connection closes (RFC 9112, 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// How long the rest of a body is read.
const LINGER: Duration = Duration::from_secs(5);

/// Where a body goes when its reader drops it.
type Back = Arc<Mutex<Option<Incoming>>>;

/// What the handler of a request leaves of its body.
pub(super) struct Rest {
    back: Back,
    /// The client sends its body only when it is asked to, which reading does.
    on_demand: bool,
}

/// Lends the body of a request to its handler.
pub(super) fn lend(request: Request<Incoming>) -> (Request<Body>, Rest) {
    let back = Back::default();
    let rest = Rest { back: Arc::clone(&back), on_demand: request.headers().contains_key(EXPECT) };
    (request.map(|body| Body::new(Lent { body: Some(body), back })), rest)
}

impl Rest {
    /// Reads what is left, less than `most` bytes of it. Says whether the connection can serve another request.
    pub(super) async fn read_on(self, most: usize) -> bool {
        let left = self.back.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return true };
        if self.on_demand {
            return false;
        }
        let mut left = most;
        let rest = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(LINGER, rest).await.unwrap_or(false)
    }
}

/// A body that goes back when it is dropped before its end.
struct Lent {
    body: Option<Incoming>,
    back: Back,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None) = frame {
            // A chunked body does not say by itself that it has ended.
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if !body.is_end_stream() {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
