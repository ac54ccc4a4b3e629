//! Why a configuration is refused, and why a request is.

use std::fmt;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chio_spec::ErrorCode;

/// Why [`crate::auth::Authentication`] cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No authentication, on an address that other machines can reach.
    #[error(
        "the edge does not serve {at} without authentication, because other machines can reach it; give a token or \
         OAuth settings, or listen on a loopback address"
    )]
    OpenToOthers {
        /// The address or URL that is not loopback.
        at: String,
    },
    /// Automatic approval, on an address that other machines can reach.
    #[error(
        "automatic approval gives a token to whoever asks, so it is refused on {at}; let the operator approve, or \
         listen on a loopback address"
    )]
    ApprovesOthers {
        /// The address or URL that is not loopback.
        at: String,
    },
    /// A URL that is neither `https` nor loopback `http`, or that is not a URL.
    #[error("{role} {text:?} cannot be used: {why}")]
    BadUrl {
        /// Which setting it is.
        role: &'static str,
        /// The text that was given.
        text: String,
        /// What is wrong with it and what is wanted.
        why: &'static str,
    },
    /// A static token that no client could send, or that is too short to be a secret.
    #[error(
        "the bearer token cannot be used: it needs at least {least} characters, all of them letters, digits or one \
         of -._~+/ with = only at the end"
    )]
    BadToken {
        /// The fewest characters.
        least: usize,
    },
    /// An empty or oversized name.
    #[error("{role} must have 1 to {most} characters and none that is invisible")]
    BadName {
        /// Which setting it is.
        role: &'static str,
        /// The most characters.
        most: usize,
    },
    /// An admin token that is also the token of clients, so that each of them would be an operator.
    #[error(
        "the admin token is the same as the bearer token of the clients, so every client could use it; give another"
    )]
    AdminTokenOfClients,
    /// The keys of the issuer cannot be read.
    #[error("the keys of the issuer cannot be read from {from}: {why}")]
    Keys {
        /// The URL or file.
        from: String,
        /// What went wrong.
        why: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes, so no secret can be made: {0}")]
    Randomness(String),
}

/// Why a request is turned away, and what its sender is told about it.
///
/// Turned into a response, it has a status, a `WWW-Authenticate` challenge where the standard wants one, and a plain
/// text. It never contains a token or a part of one.
#[derive(Clone)]
pub struct AuthFailure {
    fault: Fault,
    challenge: Option<HeaderValue>,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No token.
    Missing,
    /// More than one `Authorization` header, or one that is no text.
    Malformed,
    /// A token that is not accepted; the text is for the operator.
    Invalid(&'static str),
    /// A token that was accepted once: it expired or was revoked. The text is for the operator.
    Over(&'static str),
    /// A token without the scope that the method needs.
    Scope,
    /// The issuer's keys cannot be had at present, so nothing can be said about any token.
    KeysUnavailable,
}

impl AuthFailure {
    pub(crate) fn new(fault: Fault, challenge: Option<HeaderValue>) -> Self {
        Self { fault, challenge }
    }

    /// The HTTP status: 400, 401, 403 or 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.fault {
            Fault::Malformed => StatusCode::BAD_REQUEST,
            Fault::Missing | Fault::Invalid(_) | Fault::Over(_) => StatusCode::UNAUTHORIZED,
            Fault::Scope => StatusCode::FORBIDDEN,
            Fault::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether a credential was presented that looks like a guess. A request without one is how clients ask where to log
    /// in, one with a token that is over is how they learn that they need the next, and when the issuer's keys cannot be
    /// had, nobody knows what the token is.
    pub(crate) fn is_wrong_credential(&self) -> bool {
        matches!(self.fault, Fault::Malformed | Fault::Invalid(_))
    }

    /// The value of `WWW-Authenticate`, where the response has one.
    #[must_use]
    pub fn challenge(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// The entry of the error registry.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.fault {
            Fault::Missing | Fault::Malformed | Fault::Invalid(_) | Fault::Over(_) => {
                ErrorCode::AuthMissingOrInvalid
            }
            Fault::Scope => ErrorCode::InsufficientScope,
            Fault::KeysUnavailable => ErrorCode::InternalError,
        }
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.fault {
            Fault::Missing | Fault::Invalid(_) | Fault::Over(_) => "missing or invalid bearer token",
            Fault::Malformed => "the Authorization header must be given once and hold one bearer token",
            Fault::Scope => "the token lacks the scope that this method needs",
            Fault::KeysUnavailable => {
                "the keys of the token's issuer cannot be read at present; try again later"
            }
        }
    }

    /// What the operator may read in the log: the cause, never the token.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match self.fault {
            Fault::Invalid(cause) | Fault::Over(cause) => cause,
            Fault::Missing => "no bearer token was sent",
            _ => self.reason(),
        }
    }
}

impl IntoResponse for AuthFailure {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.reason()).into_response();
        if self.fault == Fault::KeysUnavailable {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl fmt::Debug for AuthFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AuthFailure({} {})", self.status().as_u16(), self.detail())
    }
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

impl std::error::Error for AuthFailure {}
