//! What a client can read, and what it sends.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use chio_spec::ErrorCode;

use crate::refusal::Refusal;

const JSON: &str = "application/json";
/// The media type of event streams.
pub(super) const EVENTS: &str = "text/event-stream";

/// A POST is answered in either form, so its client must read both.
pub(super) fn post(headers: &HeaderMap) -> Result<(), Refusal> {
    let accepts = |kind: &str| ranges(headers).any(|range| covers(&range, kind));
    if accepts(JSON) && accepts(EVENTS) {
        return Ok(());
    }
    Err(not_acceptable("POST requests must advertise both application/json and text/event-stream in Accept"))
}

/// A GET is answered with events only.
pub(super) fn get(headers: &HeaderMap) -> Result<(), Refusal> {
    if ranges(headers).any(|range| covers(&range, EVENTS)) {
        return Ok(());
    }
    Err(not_acceptable("GET requests must advertise text/event-stream in Accept"))
}

/// The body is JSON.
pub(super) fn content(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let kind = values.next().and_then(|value| value.to_str().ok()).map(media_type);
    if kind.is_some_and(|kind| kind == JSON) && values.next().is_none() {
        return Ok(());
    }
    let text = "POST requests must use Content-Type: application/json";
    Err(Refusal::new(ErrorCode::InvalidRequestShape, text).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The media ranges of `Accept` that are not refused by a quality of zero.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !is_refused(range))
        .map(media_type)
}

fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_refused(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| {
        let quality = parameter.trim().strip_prefix("q=").or(parameter.trim().strip_prefix("Q="));
        quality.is_some_and(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0))
    })
}

fn covers(range: &str, kind: &str) -> bool {
    let whole = kind.split('/').next().unwrap_or_default();
    range == kind || range == "*/*" || range.strip_suffix("/*").is_some_and(|family| family == whole)
}

fn not_acceptable(text: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequestShape, text).with_status(StatusCode::NOT_ACCEPTABLE)
}
