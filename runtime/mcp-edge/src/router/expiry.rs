//! Event streams end with the token that opened them.
//!
//! A stream can stay open for as long as its session, and a token cannot. When the token expires or is revoked, the stream
//! ends as one that has nothing more to say: its client comes back for the rest, and is told then that it needs another
//! token. Nothing undelivered is lost by that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use super::accept::EVENTS;
use crate::auth::{Authentication, Pass};

/// Lets a response that is an event stream last as long as `pass` holds.
pub(super) fn bound(response: Response, auth: &Arc<Authentication>, pass: Pass) -> Response {
    if pass.is_for_good() || response.headers().get(CONTENT_TYPE) != Some(&HeaderValue::from_static(EVENTS)) {
        return response;
    }
    let auth = Arc::clone(auth);
    response.map(|stream| {
        let ask = Box::pin(sleep(auth.holds(&pass).unwrap_or_default()));
        Body::new(Bound { stream: Some(stream), auth, pass, ask })
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
        if !body.holds(context) {
            body.stream = None;
        }
        match &mut body.stream {
            Some(stream) => Pin::new(stream).poll_frame(context),
            None => Poll::Ready(None),
        }
    }
}
