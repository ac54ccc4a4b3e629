//! What URL parsers make of a text before they read it.

use std::borrow::Cow;

/// The text as a URL parser reads it: without white space and control characters at its ends, and without tabs
/// and line breaks anywhere (WHATWG URL, "basic URL parser", steps 1 to 3). White space is meant widely, with the
/// byte order mark, because many programs trim before they parse.
pub(super) fn as_parsed(text: &str) -> Cow<'_, str> {
    let removed = |c: char| matches!(c, '\t' | '\n' | '\r');
    let text = text.trim_matches(|c: char| c <= ' ' || c.is_whitespace() || c == '\u{feff}');
    if text.contains(removed) { Cow::Owned(text.replace(removed, "")) } else { Cow::Borrowed(text) }
}

/// Where the colon after the scheme stands (RFC 3986, section 3.1); `None` without a scheme.
pub(super) fn scheme_end(text: &str) -> Option<usize> {
    let (scheme, _) = text.split_once(':')?;
    let well_formed = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    well_formed.then_some(scheme.len())
}
