//! Finding paths among the arguments of any tool, and comparing them with patterns.
//!
//! A guard that knows the path arguments of some tools protects against those tools only: `read_text_file` and
//! `move_file` are on nobody's list. So every string of every call is a candidate, wherever it stands, and so is
//! every object key. What follows from that has to be decided between two errors, and this is the decision.
//!
//! **A candidate is matched whole, segment by segment, never as a substring.** It is read the ways a file system, a
//! shell of the server or a decoder might read it ([`reading`]): `.`, `..`, doubled and trailing slashes resolved,
//! backslashes, drive letters, `~` and `$HOME`, `file:` and other schemes, percent-encoding (repeated), full-width and
//! invisible characters, tabs and line breaks that URL parsers remove, trailing dots and spaces, alternate data streams, short names, `/proc/self/root`. One reading
//! that a pattern forbids and no exception allows is enough to deny.
//!
//! **Strings that hold several paths are taken apart only where that is likely to be meant** ([`candidates`]). The
//! name of the argument decides how far, and it never decides *whether* a string is looked at:
//!
//! - under a name that speaks of paths (`path`, `files`, `source`, …): lists separated by commas, semicolons, colons
//!   or line ends; plural names also by spaces;
//! - under a name that speaks of commands (`command`, `args`, `script`, …): every word. The shell can still hide a
//!   name from us (`cat .e*`); keeping such tools in check is the business of a shell guard, this is the cheap half;
//! - under a name that speaks of text (`content`, `message`, `query`, …): only the whole value, and only if it is
//!   a single line that is one word or begins like a path. Otherwise nobody could write a `.gitignore`, a README that
//!   mentions `.env`, or a message about it;
//! - under a name that says what to leave out (`excludePatterns`, `ignore`, …): not at all. `["node_modules", ".git"]`
//!   there is the opposite of an access;
//! - under any other name: the whole value, and its parts if it looks like a list rather than a sentence.
//!
//! **Known to pass** (false negatives): symbolic links and hard links, whose targets the arguments do not show; a
//! recursive operation on a directory above a forbidden file; globs that a tool expands itself (`.e*`); names put
//! together from several arguments; encodings other than percent-encoding. Web addresses (`http`, `https`, …) in
//! arguments are not files and are left to an egress guard, unless they contain `..`.
//!
//! **Known to be denied although harmless** (false positives): a single-line argument that *is* a forbidden name, such
//! as the search `query: ".env"` or the expression `map.key`; a relative path that would be a forbidden absolute one
//! from the root, such as `etc/passwd`; a forbidden name inside a list.

mod candidates;
mod decode;
mod pattern;
mod protected;
mod reading;

pub(crate) use candidates::{Candidate, Kind, Pointer, in_arguments};
pub(crate) use pattern::{PathPattern, PathRules};
pub(crate) use protected::Protected;
pub(crate) use reading::{Unreadable, forms};
