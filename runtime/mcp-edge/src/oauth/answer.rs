//! What the endpoints answer: JSON that nobody may keep (RFC 6749 section 5).

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::grants::Refused;
use super::secret::NoRandomness;

/// An error answer of an endpoint that speaks JSON.
#[derive(Debug)]
pub(super) struct OauthError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    retry_after: Option<u64>,
}

impl OauthError {
    /// An error with status 400.
    pub(super) fn bad(error: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description, retry_after: None }
    }

    /// The client is unknown, or claims to have a secret (RFC 6749 section 5.2).
    pub(super) fn invalid_client(description: &'static str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description, retry_after: None }
    }

    /// The body of the request did not arrive in time.
    pub(super) fn late() -> Self {
        let description = "the body of the request did not arrive in time";
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::bad("invalid_request", description) }
    }

    /// Too many failures came from there.
    pub(super) fn too_many(seconds: u64) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            error: "temporarily_unavailable",
            description: "too many requests failed; wait before the next",
            retry_after: Some(seconds),
        }
    }

    /// Whether the caller has no part in it.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// The server cannot do it at present.
    pub(super) fn unavailable(description: &'static str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "temporarily_unavailable",
            description,
            retry_after: Some(30),
        }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "error_description": self.description});
        let mut response = private(self.status, &body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Refused> for OauthError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid => Self::bad(
                "invalid_grant",
                "the code or token is unknown, over, used before, or was given to another client or redirect URI",
            ),
            Refused::Scope => Self::bad("invalid_scope", "the scope is wider than what was approved"),
            Refused::Full => Self::unavailable("too many approvals were revoked just now"),
            Refused::Randomness => NoRandomness::answer(),
        }
    }
}

impl From<NoRandomness> for OauthError {
    fn from(_: NoRandomness) -> Self {
        NoRandomness::answer()
    }
}

impl NoRandomness {
    fn answer() -> OauthError {
        OauthError::unavailable("the operating system gave no random bytes")
    }
}

/// JSON that holds a secret, or may: not to be kept by anybody.
pub(super) fn private(status: StatusCode, body: &Value) -> Response {
    let mut response = public(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// JSON that everybody may read.
pub(super) fn public(body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
