//! Event streams end with the token that opened them.
//!
//! A stream can stay open for as long as its session, and a token cannot. When the token expires or is revoked, the stream
//! ends as one that has nothing more to say: its client comes back for the rest, and is told then that it needs another
//! token. Nothing undelivered is lost by that: the stream of a request whose client was not told an event id yet, and so
//! could not come back, goes on until it is. A key that an issuer withdraws ends no stream before its tokens expire.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use super::accept::EVENTS;
use crate::auth::{Authentication, Pass};

/// Lets a response that is an event stream last as long as `pass` holds.
pub(super) fn bound(response: Response, method: &Method, auth: &Arc<Authentication>, pass: Pass) -> Response {
    if pass.is_for_good() || response.headers().get(CONTENT_TYPE) != Some(&HeaderValue::from_static(EVENTS)) {
        return response;
    }
    let auth = Arc::clone(auth);
    response.map(|stream| {
        let ask = Box::pin(sleep(auth.holds(&pass).unwrap_or_default()));
        // What a GET has can always be asked for again.
        Body::new(Bound { stream: Some(stream), auth, pass, ask, is_resumable: method == Method::GET })
    })
}

/// A body that ends with its pass.
struct Bound {
    /// None when it has ended.
    stream: Option<Body>,
    auth: Arc<Authentication>,
    pass: Pass,
    /// When to ask whether the pass still holds.
    ask: Pin<Box<Sleep>>,
    /// Whether the client can come back for the rest.
    is_resumable: bool,
}

impl Bound {
    /// Whether the stream may go on. What polls it is woken when that is to be asked again.
    fn holds(&mut self, context: &mut Context<'_>) -> bool {
        while self.ask.as_mut().poll(context).is_ready() {
            match self.auth.holds(&self.pass) {
                Some(pause) => self.ask.as_mut().reset(Instant::now() + pause),
                None => return false,
            }
        }
        true
    }
}

impl HttpBody for Bound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let body = self.get_mut();
        if body.is_resumable && !body.holds(context) {
            body.stream = None;
        }
        let Some(stream) = &mut body.stream else { return Poll::Ready(None) };
        let frame = Pin::new(stream).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            // Every event has an id; comments have none.
            body.is_resumable |= frame.data_ref().is_some_and(|data| !data.starts_with(b":"));
        }
        frame
    }
}
