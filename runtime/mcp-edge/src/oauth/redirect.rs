//! Where an authorization response may be sent: the most attacked field of OAuth.
//!
//! Texts are compared, not parsed URLs: two parsers disagree about `..`, `@`, backslashes and case, and a text that
//! equals a registered one cannot mean something else. The one exception is the port of a loopback address, which a
//! native client learns only when it starts (RFC 8252 section 7.3); it is cut out of the text and the rest is
//! compared.

use crate::auth::url;

/// Longest redirect URI, in bytes.
pub(super) const LONGEST_URI: usize = 512;

/// Whether a client may register `uri`.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn admissible(uri: &str) -> Result<(), &'static str> {
    if uri.len() > LONGEST_URI {
        return Err("it is too long");
    }
    let parsed = url::trusted(uri)?;
    // What the parser would rewrite (case, dot segments, a missing path) would be sent in another form than it was
    // registered in.
    if parsed.as_str() != uri && parsed.as_str() != format!("{uri}/") {
        return Err("it is not written in its normal form");
    }
    Ok(())
}

/// Whether an authorization request that names `requested` may be answered there, given what was registered.
pub(super) fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    match (loopback_parts(registered), loopback_parts(requested)) {
        (Some(registered), Some(requested)) => registered == requested,
        _ => false,
    }
}

/// Host and path of a loopback redirect URI, without its port. None for everything else.
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| authority.starts_with(host))?;
    let after = authority.get(host.len()..)?;
    let port_is_sound = match after.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => after.is_empty(),
    };
    // The path is compared with a registered one; the fragment check is for registered ones that have none anyway.
    (port_is_sound && !path.contains('#')).then_some((host, path))
}
