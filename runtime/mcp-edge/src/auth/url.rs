//! Which URLs may name a party that is trusted: `https`, or `http` on loopback, and nothing that two parsers could
//! read in two ways.

use url::{Host, Url};

/// Reads a URL that a setting or a peer gave.
///
/// # Errors
///
/// What is wrong with it and what is wanted.
pub(crate) fn trusted(text: &str) -> Result<Url, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return Err("it holds characters that a URL may not have");
    }
    let url = Url::parse(text).map_err(|_| "it is not an absolute URL")?;
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("it names a user, and a URL must not carry credentials");
    }
    if text.contains('#') {
        return Err("it has a fragment");
    }
    // A URL parser lets more through than any name on a network has.
    let is_name_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if matches!(url.host(), Some(Host::Domain(name)) if !name.bytes().all(is_name_character)) {
        return Err("its host is not a name that a machine can have");
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http is only for loopback addresses; use https"),
        _ => Err("its scheme must be https, or http with a loopback host"),
    }
}

/// Whether the host of `url` is this machine: a loopback address or the name `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
