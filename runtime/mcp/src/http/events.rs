//! Reading an event stream, with a bound on what one event may hold.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use reqwest::Response;
use reqwest::header::HeaderValue;
use sse_stream::{Sse, SseStream};

use crate::http::client::describe;
use crate::http::link::EVENT_STREAM;
use crate::stdio::MAX_LINE_BYTES;

/// What an event may hold beside a message of the largest size: field names, ids, the rest of a chunk that
/// begins the next event.
const SLACK: usize = 1024 * 1024;

/// How long a server may make us wait before we resume a stream.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A server that wants to be asked again at once is asked no more often than this.
const SHORTEST_RETRY: Duration = Duration::from_millis(20);

/// How long we wait where the server says nothing.
const RETRY: Duration = Duration::from_secs(1);

/// How far a stream was read, over all connections that carried it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    /// The id of the newest event that had one; one that cannot be sent back is none.
    pub(super) last_id: Option<HeaderValue>,
    retry: Option<Duration>,
}

impl Cursor {
    /// How long to wait before the stream is resumed.
    pub(super) fn retry(&self) -> Duration {
        self.retry.unwrap_or(RETRY).clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }
}

/// Why a stream is over.
#[derive(Debug)]
pub(super) enum Over {
    /// It ended, or broke off.
    Ended(String),
    /// An event was larger than a message may be.
    TooLarge(u64),
}

/// One connection that carries a stream.
pub(super) struct Events {
    events: Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>,
    unread: Arc<AtomicUsize>,
}

impl Events {
    /// The stream in the body of an answer.
    pub(super) fn of(response: Response) -> Self {
        let unread = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&unread);
        let bytes = response.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| std::io::Error::other(describe(error)))?;
            let unread = counted.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
            if unread > MAX_LINE_BYTES + SLACK {
                return Err(std::io::Error::other("an event is larger than a message may be"));
            }
            Ok(chunk)
        });
        Self { events: Box::pin(SseStream::from_bytes_stream(bytes)), unread }
    }

    /// The next message's text. Events that carry none move the cursor all the same.
    pub(super) async fn next(&mut self, cursor: &mut Cursor) -> Result<String, Over> {
        loop {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    let unread = self.unread.load(Ordering::Relaxed);
                    return Err(if unread > MAX_LINE_BYTES + SLACK {
                        Over::TooLarge(unread as u64)
                    } else {
                        Over::Ended(error.to_string())
                    });
                }
                None => return Err(Over::Ended("the stream ended".to_owned())),
            };
            self.unread.store(0, Ordering::Relaxed);
            if let Some(retry) = event.retry {
                cursor.retry = Some(Duration::from_millis(retry));
            }
            if let Some(id) = event.id {
                cursor.last_id = HeaderValue::from_str(&id).ok().filter(|id| !id.is_empty());
            }
            let is_message = event.event.as_deref().is_none_or(|name| matches!(name, "" | "message"));
            if let Some(data) = event.data.filter(|data| is_message && !data.is_empty()) {
                return Ok(data);
            }
        }
    }
}

/// Whether an answer is an event stream.
pub(super) fn is_stream(response: &Response) -> bool {
    media_type(response) == EVENT_STREAM
}

/// The media type of an answer, without its parameters.
pub(super) fn media_type(response: &Response) -> String {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
