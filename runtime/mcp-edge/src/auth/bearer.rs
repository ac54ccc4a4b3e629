//! The bearer token of a request: from the `Authorization` header, from nowhere else (RFC 6750 section 2.1).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::failure::Fault;

/// Longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// The token of a request.
///
/// A second `Authorization` header is refused, because two readers of one request must not see two callers.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Fault::Missing)?;
    if values.next().is_some() {
        return Err(Fault::Malformed);
    }
    let value = value.to_str().map_err(|_| Fault::Malformed)?;
    let Some((scheme, token)) = value.split_once(' ') else { return Err(Fault::Missing) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Fault::Missing);
    }
    let token = token.trim_matches(' ');
    if token.len() > LONGEST_TOKEN {
        return Err(Fault::Invalid("the token is longer than any that is accepted"));
    }
    if is_b64token(token) {
        Ok(token)
    } else {
        Err(Fault::Invalid("the token has characters that none may have"))
    }
}

/// Whether `text` has the form of a bearer token (`b64token` of RFC 6750).
pub(super) fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
