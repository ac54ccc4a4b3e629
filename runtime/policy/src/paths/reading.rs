//! The ways a string can be read as a path.

use std::borrow::Cow;

use super::Kind;
use super::decode::{caseless, look_alikes, percent};

/// How often a string may be percent-encoded over itself before it is refused.
const MAX_ENCODINGS: usize = 5;

/// How many prefixes that end in a colon are taken off, as in `git:HEAD:.env`.
const MAX_SCHEMES: usize = 4;

/// How often a path may lead through the root of a process (`/proc/self/root`) before it is refused.
const MAX_ROOTS: usize = 2;

/// How much text the readings of a candidate may hold together, as a multiple of its length, before it is refused. Short
/// candidates count as this long.
const MAX_READINGS: usize = 16;
const SHORT: usize = 16 * 1024;

/// Schemes of addresses that are not files.
const WEB_SCHEMES: &[&str] = &["http", "https", "ws", "wss"];

/// One reading of a candidate: segments joined by single slashes, with a leading slash if the path is absolute.
///
/// Leading `..` segments of a relative path are dropped: from an unknown directory they lead anywhere, so what follows
/// is compared with absolute patterns too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// With upper and lower case as written; what exceptions are compared with.
    pub(crate) exact: String,
    /// Without case; what forbidden patterns are compared with.
    pub(crate) caseless: String,
}

/// Why a candidate cannot be read. Such a call is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It contains a NUL, which no path does: it ends the path for some programs and not for others.
    Nul,
    /// It is a URI with a control character, which no URI holds and some of which URL parsers remove.
    Control,
    /// It is percent-encoded more often than anybody would by accident.
    Encoded,
    /// It leads through roots of processes again and again.
    Roundabout,
    /// It is long, and so many things might be the path in it that comparing them all would take too long.
    Manifold,
}

/// All readings of a candidate as a path, the plainest first.
pub(crate) fn forms(text: &str, kind: Kind) -> Result<Vec<Form>, Unreadable> {
    let room = MAX_READINGS.saturating_mul(text.len().max(SHORT));
    let mut texts = Texts { kind, found: Vec::with_capacity(1), room: Some(room) };
    let mut round = Cow::Borrowed(text);
    if text.contains('\0') && kind != Kind::Prose {
        return Err(Unreadable::Nul);
    }
    if kind == Kind::Uri && text.contains(|c: char| c.is_ascii_control()) {
        return Err(Unreadable::Control);
    }
    texts.add(&round);
    for encodings in 1.. {
        let Some(decoded) = percent(&round) else { break };
        if encodings > MAX_ENCODINGS {
            return Err(Unreadable::Encoded);
        }
        if decoded.contains('\0') && kind == Kind::Uri {
            return Err(Unreadable::Nul);
        }
        texts.add(&decoded);
        round = Cow::Owned(decoded);
    }
    if texts.room.is_none() {
        return Err(Unreadable::Manifold);
    }
    let mut forms = Vec::with_capacity(texts.found.len());
    for text in &texts.found {
        paths(text, &mut forms)?;
    }
    Ok(forms)
}

/// The readings of a path that a program wrote: no scheme, no percent-encoding, no wrapping is looked for.
pub(super) fn plain_forms(text: &str) -> Result<Vec<Form>, Unreadable> {
    let mut forms = Vec::new();
    paths(text, &mut forms)?;
    Ok(forms)
}

/// What surrounds a path in prose and commands.
const WRAPPERS: &[char] = &['"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', ',', ';', '!'];

fn blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Without the white space, quotes and brackets that surround a path, and the `@` before it.
fn bare(text: &str) -> &str {
    text.trim_matches(|c| blank(c) || WRAPPERS.contains(&c)).trim_start_matches('@')
}

/// Collects the texts that may be paths, each once.
struct Texts {
    kind: Kind,
    found: Vec<String>,
    /// Bytes that may still be added; none once there was no room.
    room: Option<usize>,
}

impl Texts {
    fn add(&mut self, text: &str) {
        self.unwrapped(text);
        if let Cow::Owned(plain) = look_alikes(text) {
            self.unwrapped(&plain);
        }
        // What a program opens that takes the NUL for the end.
        if let Some((before, _)) = text.split_once('\0') {
            self.unwrapped(before);
        }
        // What a URL parser reads, which removes these wherever they stand (WHATWG URL, "basic URL parser").
        if text.contains(['\t', '\n', '\r']) {
            let joined = text.replace(['\t', '\n', '\r'], "");
            if after_scheme(bare(&joined)).is_some() {
                self.unwrapped(&joined);
            }
        }
    }

    /// With and without what surrounds a path in prose and commands.
    fn unwrapped(&mut self, text: &str) {
        let trimmed = text.trim_matches(blank);
        self.scheme(trimmed);
        let bare = bare(trimmed);
        if bare.len() != trimmed.len() {
            self.scheme(bare);
        }
    }

    /// Takes the path out of a URI, and out of what revisions and remote copies look like: `git:HEAD:.env`.
    fn scheme(&mut self, text: &str) {
        if self.kind != Kind::Uri
            && let Some(start) = web_address(text)
        {
            // `https:` is also a legal directory name, which `..` leaves again.
            if text.contains("/..") || text.contains("\\..") {
                self.cut(text);
            }
            let before = text.get(..start).unwrap_or_default().trim_end();
            if !before.is_empty() {
                self.scheme(before);
            }
            return;
        }
        self.cut(text);
        let mut rest = text;
        for _ in 0..MAX_SCHEMES {
            let Some(after) = after_scheme(rest) else { break };
            match after.strip_prefix("//") {
                Some(hierarchy) => {
                    self.cut(hierarchy);
                    if let Some(authority_end) = hierarchy.find('/') {
                        self.cut(hierarchy.get(authority_end..).unwrap_or_default());
                    }
                }
                None => self.cut(after),
            }
            rest = after;
        }
    }

    /// With and without a query or fragment.
    fn cut(&mut self, text: &str) {
        self.push(text);
        if let Some((before, _)) = text.split_once(['?', '#']) {
            self.push(before);
        }
    }

    fn push(&mut self, text: &str) {
        if !text.is_empty() && !self.found.iter().any(|known| known == text) {
            self.room = self.room.and_then(|room| room.checked_sub(text.len()));
            if self.room.is_some() {
                self.found.push(text.to_owned());
            }
        }
    }
}

/// What follows the scheme of a URI. One letter is a drive, and a space after the colon is prose.
fn after_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let legal = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphanumeric())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '/'));
    (legal && !rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// Where the first web address of the text starts, if it starts the text or follows white space.
pub(super) fn web_address(text: &str) -> Option<usize> {
    if ["data:", "mailto:"].iter().any(|scheme| starts_with(text, scheme)) {
        return Some(0);
    }
    text.match_indices("://").find_map(|(colon, _)| {
        WEB_SCHEMES.iter().find_map(|scheme| {
            let start = colon.checked_sub(scheme.len())?;
            let alone = text.get(..start)?.chars().next_back().is_none_or(char::is_whitespace);
            (alone && starts_with(text.get(start..)?, scheme)).then_some(start)
        })
    })
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
}

/// Adds the forms of one text.
fn paths(text: &str, forms: &mut Vec<Form>) -> Result<(), Unreadable> {
    let text = if text.contains('\\') { Cow::Owned(text.replace('\\', "/")) } else { Cow::Borrowed(text) };
    let (absolute, segments) = resolve(without_device(&text));
    add(absolute, &segments, MAX_ROOTS, forms)?;
    if let Some(segments) = without_streams_and_short_names(&segments) {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        add(absolute, &segments, MAX_ROOTS, forms)?;
    }
    Ok(())
}

fn add(absolute: bool, segments: &[&str], roots: usize, forms: &mut Vec<Form>) -> Result<(), Unreadable> {
    push(absolute, segments, forms);
    match segments {
        ["private", rest @ ..] if absolute => push(true, rest, forms),
        ["proc", _, "root", rest @ ..] | ["proc", _, "task", _, "root", rest @ ..] if absolute => {
            let roots = roots.checked_sub(1).ok_or(Unreadable::Roundabout)?;
            add(true, rest, roots, forms)?;
        }
        ["proc", _, "cwd", rest @ ..] | ["proc", _, "task", _, "cwd", rest @ ..] if absolute => {
            add(false, rest, roots, forms)?;
        }
        [home, rest @ ..] if !absolute => {
            let variable = ["$home", "${home}", "%userprofile%", "%homepath%", "$env:userprofile"]
                .iter()
                .any(|known| home.eq_ignore_ascii_case(known));
            if variable {
                let with_tilde: Vec<&str> = std::iter::once("~").chain(rest.iter().copied()).collect();
                push(false, &with_tilde, forms);
            }
        }
        _ => {}
    }
    Ok(())
}

fn push(absolute: bool, segments: &[&str], forms: &mut Vec<Form>) {
    let segments = match segments.iter().position(|segment| *segment != "..") {
        Some(first) if !absolute => segments.get(first..).unwrap_or_default(),
        _ => segments,
    };
    let mut exact = String::with_capacity(segments.iter().map(|segment| segment.len() + 1).sum());
    for (index, segment) in segments.iter().enumerate() {
        if absolute || index > 0 {
            exact.push('/');
        }
        exact.push_str(segment);
    }
    if exact.is_empty() || forms.iter().any(|form| form.exact == exact) {
        return;
    }
    forms.push(Form { caseless: caseless(&exact), exact });
}

/// Without the prefixes by which Windows names volumes: `C:`, `//?/C:`, `//./C:`, `//?/UNC`.
fn without_device(text: &str) -> &str {
    let mut rest = text;
    for prefix in ["//?/", "//./", "/??/"] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let drive = rest.strip_prefix('/').unwrap_or(rest);
    match drive.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => drive.get(2..).unwrap_or_default(),
        _ => text,
    }
}

/// The segments that remain when `.`, `..` and empty ones are resolved by text, as programs do before they open a file.
fn resolve(text: &str) -> (bool, Vec<&str>) {
    let absolute = text.starts_with('/');
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => match segments.last() {
                Some(&"..") => segments.push(".."),
                Some(_) => {
                    segments.pop();
                }
                None if absolute => {}
                None => segments.push(".."),
            },
            // Windows drops trailing dots and spaces: `.env.` opens `.env`.
            _ => match segment.trim_end_matches(['.', ' ', '\t', '\r', '\n']) {
                "" => segments.push(segment),
                kept => segments.push(kept),
            },
        }
    }
    (absolute, segments)
}

/// `.env::$DATA` and `.env:12` name `.env`, and `GIT~1` is the short name of `.git`.
fn without_streams_and_short_names(segments: &[&str]) -> Option<Vec<String>> {
    let plain = |segment: &&str| -> String {
        let name = match segment.split_once(':') {
            Some((name, _)) if !name.is_empty() => name.trim_end_matches(['.', ' ']),
            _ => segment,
        };
        match name.split_once('~') {
            Some((long, number))
                if !long.is_empty() && number.starts_with(|digit: char| digit.is_ascii_digit()) =>
            {
                format!(".{long}")
            }
            _ => name.to_owned(),
        }
    };
    let changed: Vec<String> = segments.iter().map(plain).collect();
    changed.iter().zip(segments).any(|(new, old)| new != old).then_some(changed)
}
