//! Whether every domain among the arguments is an allowed one.
//!
//! A domain is looked for in every string: as it stands, in a URL, in an address. URL readers disagree on
//! oddly written authorities (backslashes, control characters, several `@`), so whatever follows a scheme is
//! taken as a domain even if it cannot be one: it then equals nothing and the call is refused. Since URL parsers
//! remove tabs and line breaks before they look for a scheme, every string is read with and without them, and a
//! URL that then still holds control characters is refused.

use std::borrow::Cow;

use super::uri::{as_parsed, scheme_end};
use super::{ArgumentView, Verdict};

/// At least one domain is among the arguments, and all are `domain`.
pub(super) fn exact(domain: &str, arguments: &ArgumentView) -> Verdict {
    let expected = normal(domain);
    every_domain(arguments, |found| found == expected)
}

/// At least one domain is among the arguments, and all match `glob`, in which `*` stands for any characters.
pub(super) fn glob(glob: &str, arguments: &ArgumentView) -> Verdict {
    let glob = normal(glob);
    every_domain(arguments, |found| glob_matches(glob.as_bytes(), found.as_bytes()))
}

fn every_domain(arguments: &ArgumentView, allowed: impl Fn(&str) -> bool) -> Verdict {
    let mut any = false;
    let mut check = |domain: String| {
        any = true;
        // A wildcard must not let an unreadable authority through.
        if readable(&domain) && allowed(&domain) {
            Ok(())
        } else {
            Err(format!("the domain {domain:?} is not allowed"))
        }
    };
    arguments.every_string(&mut |_, text| {
        domain_in(text.trim()).map_or(Ok(()), &mut check)?;
        match as_parsed(text) {
            // Nobody can say what a URL reader makes of these; no domain is written so.
            parsed
                if parsed.contains(char::is_control) && (parsed.contains(":/") || parsed.contains(":\\")) =>
            {
                check(parsed.into_owned())
            }
            Cow::Borrowed(parsed) if parsed == text.trim() => Ok(()),
            parsed => domain_in(&parsed).map_or(Ok(()), &mut check),
        }
    })?;
    if any { Ok(()) } else { Err("the arguments hold no domain".into()) }
}

/// The domain that a string names, in lower case; `None` when it names none.
fn domain_in(text: &str) -> Option<String> {
    let (authority, certain) = match after_scheme(text) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => host,
    };
    // Several `@` or a backslash: readers disagree on where the host begins.
    if certain && (authority.contains('\\') || authority.matches('@').count() > 1) {
        return Some(authority.to_ascii_lowercase());
    }
    let host = normal(host);
    if certain {
        return Some(host);
    }
    (readable(&host) && (host.contains('.') || host == "localhost")).then_some(host)
}

/// What follows the scheme of a URL, or the slashes of a URL without one.
fn after_scheme(text: &str) -> Option<&str> {
    let slashes: &[char] = &['/', '\\'];
    if text.starts_with("//") || text.starts_with(r"\\") {
        return Some(text.trim_start_matches(slashes));
    }
    let (scheme, colon) = text.split_at(scheme_end(text)?);
    let rest = colon.strip_prefix(':')?;
    // Browsers read `https:host` and `https:\host` as URLs too.
    let lenient =
        ["http", "https", "ws", "wss", "ftp"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if lenient || rest.starts_with("//") || rest.starts_with(r"\\") {
        return Some(rest.trim_start_matches(slashes));
    }
    None
}

/// Whether a host is written as one that every reader understands alike, and not longer than a domain may be.
fn readable(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Lower case, and without the dot of a fully qualified name.
fn normal(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    host.strip_suffix('.').map_or_else(|| host.clone(), str::to_owned)
}

/// Matches `*` against any characters. The time is at most the product of the lengths, and a domain is short.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while seen < text.len() {
        match (glob.get(at), text.get(seen)) {
            (Some(b'*'), _) => {
                retry = Some((at, seen));
                at += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                at += 1;
                seen += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    at = star + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}
