//! Refusals: one form for everything that the edge itself turns away.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chio_json::Json;
use chio_mcp::jsonrpc::{ErrorObject, Id, error_text};
use chio_spec::ErrorCode;
use serde_json::json;

/// A request that is turned away: an HTTP status and a JSON-RPC error as its body, which carries the id of the
/// request where it could be read and no id where not.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: ErrorCode,
    text: String,
    id: Option<Id>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With the status that the registry has for the code.
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, text: text.into(), id: None, headers: Vec::new() }
    }

    /// As the answer to a request, with status 200. Clients take other statuses for the end of the session, so they
    /// are kept for what the transport itself demands.
    pub(crate) fn answer(code: ErrorCode, id: &Id, text: impl Into<String>) -> Self {
        Self::new(code, text).to(Some(id)).with_status(StatusCode::OK)
    }

    /// Too many requests; `seconds` says when to come again.
    pub(crate) fn rate_limited(text: impl Into<String>, seconds: u64) -> Self {
        Self::new(ErrorCode::RateLimited, text).with_header(RETRY_AFTER, seconds.into())
    }

    /// Names the request that is refused.
    pub(crate) fn to(mut self, id: Option<&Id>) -> Self {
        self.id = id.cloned();
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let data = json!({"chioError": {
            "code": self.code.number(),
            "name": self.code.name(),
            "category": self.code.category().as_str(),
            "transient": self.code.transient(),
            "retry": {"strategy": self.code.retry().as_str(), "guidance": self.code.guidance()},
        }});
        let error = ErrorObject::new(i64::from(self.code.jsonrpc_code()), self.text)
            .with_data(Json::from_value(&data));
        let mut response = json_response(self.status, Body::from(error_text(self.id.as_ref(), &error)));
        response.headers_mut().extend(self.headers);
        // For the metrics; it does not reach the wire.
        response.extensions_mut().insert(self.code);
        response
    }
}

/// The response that ends the handling of a request early.
pub(crate) struct Away(Box<Response>);

impl Away {
    pub(crate) fn into_response(self) -> Response {
        *self.0
    }
}

impl<R: IntoResponse> From<R> for Away {
    fn from(response: R) -> Self {
        Self(Box::new(response.into_response()))
    }
}

/// A response whose body is JSON.
pub(crate) fn json_response(status: StatusCode, body: Body) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
