//! GET: the stream for what belongs to no request, and the rest of a stream that broke.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use chio_policy::Identity;
use chio_spec::ErrorCode;

use super::{Edge, accept, header, session};
use crate::refusal::{Away, Refusal};
use crate::streams::{Reading, sequence_of};

pub(super) fn answer(edge: &Edge, identity: &Identity, headers: &HeaderMap) -> Result<Response, Away> {
    accept::get(headers)?;
    let session = session::find(edge, identity, headers, None)?;
    session::authorize(edge, identity, "")?;
    let mut resumes = headers.get_all(header::LAST_EVENT_ID).iter();
    let (connection, mode) = match resumes.next() {
        None => {
            let connection = session.streams.lock().listen(session.reads_priming).map_err(|_| {
                let text = "an MCP GET notification stream is already active for this session";
                Refusal::new(ErrorCode::StreamConflict, text)
            })?;
            (connection, "get_sse_live")
        }
        Some(event) => {
            let sequence = event.to_str().ok().and_then(|event| sequence_of(&session.id, event));
            let sequence = sequence.filter(|_| resumes.next().is_none());
            let connection = sequence.and_then(|sequence| session.streams.lock().resume(sequence).ok());
            let connection = connection.ok_or_else(|| {
                let text = "Last-Event-ID is no event of this session that can still be resumed from";
                Refusal::new(ErrorCode::ReplayOutOfWindow, text)
            })?;
            (connection, "get_sse_replay")
        }
    };
    Ok(event_stream(Reading::new(&session.streams, connection), mode, None))
}

/// A response that is an event stream.
pub(super) fn event_stream(
    reading: Reading,
    mode: &'static str,
    close_silent_after: Option<Duration>,
) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(accept::EVENTS)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        // Reverse proxies would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (HeaderName::from_static(header::RESPONSE_MODE), HeaderValue::from_static(mode)),
    ];
    (headers, reading.into_body(close_silent_after)).into_response()
}
