//! What can be wrong with a file an operator wrote, and where.

use std::fmt;

use crate::Located;

/// A place in a file: `policy.yaml:14:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name under which the file was opened.
    pub file: String,
    /// The line, counted from 1; 0 when it is not known.
    pub line: u32,
    /// The column in characters, counted from 1; 0 when it is not known.
    pub column: u32,
}

impl Place {
    /// The place of a value that was read from `file`.
    pub fn of<T>(file: &str, value: &Located<T>) -> Self {
        Self { file: file.to_owned(), line: value.line().unwrap_or(0), column: value.column().unwrap_or(0) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// Why a policy or configuration file was refused. The operator must edit the file; nothing was loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not one well-formed YAML document.
    #[error("{place}: the YAML cannot be read: {problem}")]
    Syntax {
        /// Where reading stopped.
        place: Place,
        /// What the YAML reader found.
        problem: String,
    },
    /// A key that this format does not have.
    #[error("{place}: unknown key `{key}`{}", Hint(hint))]
    UnknownKey {
        /// Where the key stands.
        place: Place,
        /// The key.
        key: String,
        /// The key that was probably meant, or the keys that are possible.
        hint: Option<String>,
    },
    /// A key of the public format that this version does not implement. It is refused because ignoring it
    /// would let through what it was written to stop.
    #[error("{place}: {what} is not available in this version{}", Hint(hint))]
    Unavailable {
        /// Where the key stands.
        place: Place,
        /// What was asked for, for example ``guard `shell_command` ``.
        what: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A value that the key does not take.
    #[error("{place}: {problem}{}", Hint(hint))]
    Invalid {
        /// Where the value stands.
        place: Place,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A policy that cannot be written as YAML.
    #[error("the policy cannot be written as YAML: {problem}")]
    Unwritable {
        /// What the YAML writer says.
        problem: String,
    },
}

impl ConfigError {
    /// The place of the fault, if it is in a file.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::Unavailable { place, .. }
            | Self::Invalid { place, .. } => Some(place),
            Self::Unwritable { .. } => None,
        }
    }
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}
