//! Parameters of a query or a form. Each may be there once (RFC 6749 section 3.1), so that there are never two answers to
//! which one counts.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use url::form_urlencoded;

use crate::router::ReadTimeout;

/// Most bytes of a request body.
const LARGEST_BODY: usize = 32 * 1024;
/// How long a body may take where the edge that accepted it did not say.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Most parameters.
const MOST_PARAMETERS: usize = 64;

/// Parameters, each once. An empty one counts as absent.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Parameters, &'static str> {
        let mut read = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if read.len() >= MOST_PARAMETERS {
                return Err("the request has too many parameters");
            }
            if read.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err("the request gives a parameter twice");
            }
        }
        Ok(Parameters(read))
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Why there are no parameters, or no body at all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unread {
    /// The body did not arrive in time.
    Late,
    /// What arrived cannot be used.
    Unusable(&'static str),
}

/// Reads a posted form.
pub(super) async fn posted(request: Request<Body>) -> Result<Parameters, Unread> {
    if !has_media_type(request.headers(), "application/x-www-form-urlencoded") {
        return Err(Unread::Unusable("the request must be a form: application/x-www-form-urlencoded"));
    }
    Parameters::parse(&body(request).await?).map_err(Unread::Unusable)
}

/// Reads a body, within its size and its time. Anybody may send one here.
pub(super) async fn body(request: Request<Body>) -> Result<Bytes, Unread> {
    let limit = request.extensions().get::<ReadTimeout>().map_or(READ_TIMEOUT, |limit| limit.0);
    match tokio::time::timeout(limit, to_bytes(request.into_body(), LARGEST_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Unread::Unusable("the request could not be read, or is too long")),
        Err(_) => Err(Unread::Late),
    }
}

/// Whether the body says to be of that type.
pub(super) fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(wanted))
}
