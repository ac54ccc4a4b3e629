//! Which strings of a call may be paths.

use std::fmt;
use std::ops::ControlFlow;

use chio_json::strict;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::reading::web_address;

/// How often JSON inside a string inside JSON is opened.
const MAX_EMBEDDED: usize = 3;

/// How a candidate was found, which decides what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path, a name, or a word of a command.
    Path,
    /// A whole value of an argument that holds text.
    Prose,
    /// The URI of a resource.
    Uri,
}

/// A string that may be a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
    pub(crate) place: &'a Pointer<'a>,
}

/// Where among the arguments a candidate stands, shown as a JSON pointer (RFC 6901).
#[derive(Debug)]
pub(crate) enum Pointer<'a> {
    Arguments,
    Member(&'a Pointer<'a>, &'a str),
    Item(&'a Pointer<'a>, usize),
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => Ok(()),
            Self::Member(parent, key) => write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Shows every candidate among the arguments to `visit`, until it breaks.
pub(crate) fn in_arguments<T>(
    arguments: &Value,
    visit: &mut dyn FnMut(Candidate<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    value(arguments, &Pointer::Arguments, Speaks::Otherwise, MAX_EMBEDDED, visit)
}

fn value<T>(
    found: &Value,
    place: &Pointer<'_>,
    name: Speaks,
    embedded: usize,
    visit: &mut dyn FnMut(Candidate<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    match found {
        Value::Object(members) => {
            for (key, member) in members {
                let place = Pointer::Member(place, key);
                visit(Candidate { text: key, kind: Kind::Path, place: &place })?;
                match Speaks::of(key) {
                    Speaks::OfExclusion if holds_only_strings(member) => {}
                    name => value(member, &place, name, embedded, visit)?,
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                value(item, &Pointer::Item(place, index), name, embedded, visit)?;
            }
        }
        Value::String(text) => string(text, place, name, embedded, visit)?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    ControlFlow::Continue(())
}

fn holds_only_strings(member: &Value) -> bool {
    match member {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(Value::is_string),
        _ => false,
    }
}

fn string<T>(
    text: &str,
    place: &Pointer<'_>,
    name: Speaks,
    embedded: usize,
    visit: &mut dyn FnMut(Candidate<'_>) -> ControlFlow<T>,
) -> ControlFlow<T> {
    if name == Speaks::OfText {
        return match is_sentence(text) {
            true => ControlFlow::Continue(()),
            false => visit(Candidate { text, kind: Kind::Prose, place }),
        };
    }
    visit(Candidate { text, kind: Kind::Path, place })?;
    let trimmed = text.trim();
    let mut name = name;
    if embedded > 0 && trimmed.starts_with(['{', '[']) && trimmed.ends_with(['}', ']']) {
        match strict::parse(trimmed) {
            Ok(inner) => return value(&inner, place, name, embedded - 1, visit),
            // With a member written twice, say: the tool may see the one that a parser drops. Every word counts.
            Err(_) if serde_json::from_str::<IgnoredAny>(trimmed).is_ok() => name = Speaks::OfCommands,
            Err(_) => {}
        }
    }
    let words: fn(char) -> bool = match name {
        Speaks::OfCommands => |c| c.is_whitespace() || ends_word(c),
        Speaks::OfPaths => |c| matches!(c, '\n' | '\r' | '\t') || ends_word(c),
        _ if is_list(trimmed) => |c| c.is_whitespace() || ends_word(c),
        _ => return ControlFlow::Continue(()),
    };
    for word in trimmed.split(words).map(str::trim).filter(|word| !word.is_empty()) {
        // Web addresses are kept whole, so that the parts of their query are not taken for files.
        if web_address(word) == Some(0) {
            visit(Candidate { text: word, kind: Kind::Path, place })?;
            continue;
        }
        for part in word.split(['=', ':', '&']).filter(|part| !part.is_empty() && *part != text) {
            visit(Candidate { text: part, kind: Kind::Path, place })?;
        }
    }
    ControlFlow::Continue(())
}

fn ends_word(c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '\'' | '`')
}

/// Whether the value of an argument that holds text is text indeed: several lines, or several words that do not begin
/// like a path.
fn is_sentence(text: &str) -> bool {
    let trimmed = text.trim();
    let drive = matches!(trimmed.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let anchored = drive || trimmed.starts_with(['/', '\\', '~', '.', '$', '%']);
    text.contains(['\n', '\r']) || (!anchored && trimmed.contains(char::is_whitespace))
}

/// Whether the text is a list of words rather than a sentence: no part of it contains white space.
fn is_list(text: &str) -> bool {
    text.split([',', ';', '|', '\n', '\r', '\t']).all(|part| !part.trim().contains(char::is_whitespace))
}

/// What the name of an argument says about its value. Items of an array go by the name of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    OfPaths,
    OfCommands,
    OfText,
    OfExclusion,
    Otherwise,
}

impl Speaks {
    fn of(key: &str) -> Self {
        let words = words_of(key);
        let any = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        let all = words.concat();
        if EXCLUSION.contains(&all.as_str()) {
            Self::OfExclusion
        } else if TEXT.contains(&all.as_str()) {
            Self::OfText
        } else if any(COMMANDS) || any(PATH_LISTS) {
            Self::OfCommands
        } else if any(PATHS) {
            Self::OfPaths
        } else {
            Self::Otherwise
        }
    }
}

const EXCLUSION: &[&str] = &[
    "exclude",
    "excludes",
    "excluded",
    "excludeglob",
    "excludeglobs",
    "excludepath",
    "excludepaths",
    "excludepattern",
    "excludepatterns",
    "ignore",
    "ignores",
    "ignored",
    "ignoreglob",
    "ignoreglobs",
    "ignorepath",
    "ignorepaths",
    "ignorepattern",
    "ignorepatterns",
];

const TEXT: &[&str] = &[
    "answer",
    "body",
    "code",
    "comment",
    "comments",
    "content",
    "contents",
    "data",
    "description",
    "diff",
    "filetext",
    "html",
    "inserttext",
    "instructions",
    "markdown",
    "message",
    "newstr",
    "newstring",
    "newtext",
    "note",
    "notes",
    "oldstr",
    "oldstring",
    "oldtext",
    "patch",
    "prompt",
    "q",
    "query",
    "question",
    "reason",
    "search",
    "summary",
    "text",
    "thought",
    "title",
];

const COMMANDS: &[&str] = &[
    "arg",
    "args",
    "arguments",
    "argv",
    "cmd",
    "cmdline",
    "command",
    "commandline",
    "commands",
    "exec",
    "flags",
    "run",
    "script",
    "shell",
];

const PATHS: &[&str] = &[
    "cwd",
    "dest",
    "destination",
    "dir",
    "directory",
    "dirname",
    "dst",
    "file",
    "filename",
    "filepath",
    "folder",
    "glob",
    "include",
    "input",
    "location",
    "output",
    "path",
    "pathname",
    "root",
    "source",
    "src",
    "target",
    "uri",
    "url",
    "workdir",
];

/// Plural names hold several paths in one string, which may be separated by spaces.
const PATH_LISTS: &[&str] = &[
    "destinations",
    "directories",
    "dirs",
    "filenames",
    "filepaths",
    "files",
    "folders",
    "globs",
    "includes",
    "inputs",
    "locations",
    "outputs",
    "paths",
    "roots",
    "sources",
    "targets",
    "uris",
    "urls",
];

/// The words of a name in snake, kebab, camel or Pascal case, in lower case.
fn words_of(key: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut previous_lower = false;
    for c in key.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            previous_lower = false;
            continue;
        }
        if words.is_empty() || (c.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        previous_lower = c.is_lowercase() || c.is_numeric();
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
