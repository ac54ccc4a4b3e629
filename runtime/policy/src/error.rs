//! Why a policy was not accepted.

use std::io;
use std::path::PathBuf;

use chio_config::{ConfigError, Place};
use chio_json::JsonError;
use chio_spec::ErrorCode;

/// Why a policy was not accepted. Nothing of it is in force; the operator must edit the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file is not a policy file.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A pattern of the forbidden-path guard is not a glob.
    #[error("{place}: {pattern:?} is not a pattern: {problem}")]
    Pattern {
        /// Where the pattern stands.
        place: Place,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A grant holds what a capability cannot.
    #[error("{place}: {problem}")]
    Grant {
        /// Where the faulty part stands; without a line when only the file is known.
        place: Place,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder cannot be protected, because where it lies is not known or because every path lies in it.
    #[error("the folder {} cannot be kept from tools: {problem}; name another folder", folder.display())]
    Protected {
        /// The folder as it was named.
        folder: PathBuf,
        /// What is wrong with it.
        problem: io::Error,
    },
    /// The policy has no canonical text, so it cannot be identified by a hash.
    #[error("the policy cannot be hashed: {0}")]
    Hash(#[from] JsonError),
}

impl PolicyError {
    /// The registry entry. A policy is read before anything is served, so no caller ever sees it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InternalError
    }
}
