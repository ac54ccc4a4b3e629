//! Whether every path among the arguments lies under a directory.
//!
//! Paths are compared as words, segment by segment, without a look at any file system: this crate has none,
//! and a symbolic link could change between the look and the call. What the words leave open is refused. In
//! particular:
//!
//! * `/base` does not cover `/basement`, and `..` never leads above where a path starts;
//! * a relative path is never under an absolute directory, nor the other way round, and `~` (somebody's home)
//!   is under nothing but a directory that starts with the same `~`;
//! * a backslash separates segments on some servers and not on others, so such a path must lie under the
//!   directory either way (a directory that is itself written with backslashes settles the question);
//! * white space at the ends and line breaks belong to the path on some servers and not on others, so such a
//!   path must lie under the directory either way too;
//! * NUL ends a path early in some servers, so a path with one is under nothing;
//! * a `file:` URI is a path too, and one that URL parsers would change before they read it is under nothing;
//! * any other URI is no path, unless it holds `..`: to a file system `x://../y` is as good as `y`.

use super::uri::{as_parsed, scheme_end};
use super::{ArgumentView, Verdict};

/// Keys of string leaves that are paths whatever they look like, besides every key that contains `path`.
const PATH_KEYS: [&str; 6] = ["file", "filepath", "dir", "directory", "root", "cwd"];

/// At least one path is among the arguments, and all of them lie under `directory`.
pub(super) fn prefix(directory: &str, arguments: &ArgumentView) -> Verdict {
    let mut found = false;
    arguments.every_string(&mut |key, text| {
        if !key.is_some_and(names_a_path) && !looks_like_a_path(text) {
            return Ok(());
        }
        found = true;
        if lies_under(text, directory) {
            Ok(())
        } else {
            Err(format!("the path {text:?} does not lie under {directory:?}"))
        }
    })?;
    if found { Ok(()) } else { Err("the arguments hold no path".into()) }
}

fn names_a_path(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("path") || PATH_KEYS.contains(&key.as_str())
}

fn looks_like_a_path(text: &str) -> bool {
    is_file_uri(text)
        || text == "~"
        || text == ".."
        || (text.contains(['/', '\\']) && !is_uri_of_something_else(text))
}

/// Whether the text is a URL parser's `file:` URI.
fn is_file_uri(text: &str) -> bool {
    as_parsed(text).get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"))
}

/// Whether the whole text is one URI with an authority, which no file system would read as a path that climbs. A scheme of
/// one letter is a drive.
fn is_uri_of_something_else(text: &str) -> bool {
    scheme_end(text)
        .filter(|end| *end > 1)
        .and_then(|end| text.get(end..))
        .is_some_and(|rest| rest.starts_with("://"))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && !text.split(['/', '\\']).any(|segment| segment == "..")
}

fn lies_under(text: &str, directory: &str) -> bool {
    let decoded;
    let path = if is_file_uri(text) {
        match file_uri_path(text) {
            Some(path) => {
                decoded = path;
                decoded.as_str()
            }
            None => return false,
        }
    } else {
        text
    };
    lies_plainly_under(path, directory) && lies_plainly_under(&as_parsed(path), directory)
}

fn lies_plainly_under(path: &str, directory: &str) -> bool {
    if directory.contains('\\') {
        return covers(directory, path, &['/', '\\']);
    }
    covers(directory, path, &['/']) && (!path.contains('\\') || covers(directory, path, &['/', '\\']))
}

fn covers(directory: &str, path: &str, separators: &[char]) -> bool {
    let (Some(directory), Some(path)) = (Plain::read(directory, separators), Plain::read(path, separators))
    else {
        return false;
    };
    directory.origin == path.origin && path.segments.starts_with(&directory.segments)
}

/// Where a path starts.
#[derive(PartialEq)]
enum Origin<'a> {
    Root,
    Here,
    /// `~` or `~name`.
    Home(&'a str),
}

/// A path without `.`, `..` and empty segments.
struct Plain<'a> {
    origin: Origin<'a>,
    segments: Vec<&'a str>,
}

impl<'a> Plain<'a> {
    /// `None` for a path that climbs above its origin or holds a NUL.
    fn read(text: &'a str, separators: &[char]) -> Option<Plain<'a>> {
        if text.contains('\0') {
            return None;
        }
        let mut words = text.split(separators).peekable();
        let origin = if text.starts_with(separators) {
            Origin::Root
        } else {
            match words.peek() {
                Some(first) if first.starts_with('~') => {
                    let home = *first;
                    words.next();
                    Origin::Home(home)
                }
                _ => Origin::Here,
            }
        };
        let mut segments = Vec::new();
        for word in words {
            match word {
                "" | "." => {}
                ".." => {
                    segments.pop()?;
                }
                name => segments.push(name),
            }
        }
        Some(Plain { origin, segments })
    }
}

/// The path of a `file:` URI on this host, decoded; `None` when it names another host, cannot be decoded, or holds
/// what URL parsers remove.
fn file_uri_path(uri: &str) -> Option<String> {
    if as_parsed(uri) != uri {
        return None;
    }
    let rest = uri.get(5..)?;
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, _) = rest.split_once('/')?;
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return None;
            }
            rest.get(host.len()..)?
        }
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
            bytes.push(u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
