//! What can go wrong between the kernel and its disk.
//!
//! Every refusal here means "the call must not run" or "the receipt is not acknowledged": the kernel maps all of
//! them to the native `internal_error` and never dispatches. The texts are for the operator, so each says what
//! happened, to what, and what to do next. The type is `Clone` because one failed commit answers every caller
//! that waited for it.

use std::path::PathBuf;

use chio_core::merkle::MerkleFault;
use chio_spec::ErrorCode;

/// Why the store refused or could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Too much work is waiting already. Nothing was written; try again after a pause.
    #[error("the store is busy: {reason}; nothing was written, try again after a short pause")]
    Busy {
        /// Which limit was reached.
        reason: String,
    },
    /// The disk or the database cannot be used: read-only, full, missing rights, an I/O error.
    #[error("the store cannot be used: {reason}; {hint}")]
    Unavailable {
        /// What the operating system or SQLite reported.
        reason: String,
        /// What the operator can do.
        hint: &'static str,
    },
    /// The writer stopped after an internal fault. Every later call fails until the process is restarted.
    #[error("the store has shut itself down: {reason}; restart the process, it recovers from the log")]
    Poisoned {
        /// The fault that stopped it.
        reason: String,
    },
    /// The bytes on disk contradict each other.
    #[error("the store at {path} is damaged: {detail}; restore a good copy, or inspect it with fsck")]
    Damaged {
        /// The directory of the store.
        path: PathBuf,
        /// What contradicts what.
        detail: String,
    },
    /// The database is older than what was recorded beside it.
    #[error(
        "the store at {path} was rolled back: its {witness} file recorded {unit} {expected}, the database holds {found}; \
         put the newest chio.db and chio.db-wal back, or accept the loss by anchoring the store again"
    )]
    RolledBack {
        /// The directory of the store.
        path: PathBuf,
        /// The file outside the database that remembers more.
        witness: &'static str,
        /// What is counted.
        unit: &'static str,
        /// The value the witness recorded.
        expected: u64,
        /// The value the database holds.
        found: u64,
    },
    /// The database is not a continuation of the log that was recorded beside it.
    #[error(
        "the store at {path} is a fork: {detail}; put the database back that belongs to this directory, \
         or accept this one by anchoring the store again"
    )]
    Forked {
        /// The directory of the store.
        path: PathBuf,
        /// Where the two histories differ.
        detail: String,
    },
    /// The files that guard against a rollback are gone although the database is not empty.
    #[error(
        "{path} is missing although the database beside it is not empty, so a rollback could not be noticed; \
         put the file back, or accept the database as it is by anchoring the store again"
    )]
    AnchorMissing {
        /// The missing file.
        path: PathBuf,
    },
    /// The files that guard against a rollback cannot be read.
    #[error("{path} cannot be trusted: {detail}; put the file back, or anchor the store again")]
    AnchorDamaged {
        /// The unreadable file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The database was written by another version of this program.
    #[error(
        "the store at {path} has format {found}, this program reads format {supported}; use the matching release"
    )]
    UnknownFormat {
        /// The directory of the store.
        path: PathBuf,
        /// The format number in the database.
        found: u32,
        /// The format number this program knows.
        supported: u32,
    },
    /// A receipt with this id is in the log already. Nothing was written.
    #[error("a receipt with the id {id} is in the log already; nothing was written")]
    DuplicateReceipt {
        /// The id in question.
        id: String,
    },
    /// The intent was closed before, by this process or by one that took it for dead. Nothing was written.
    #[error(
        "the intent of this call was closed before; nothing was written, the log holds the receipt that closed it"
    )]
    IntentClosed,
    /// No receipt has this id.
    #[error("no receipt with the id {id} is in the log")]
    UnknownReceipt {
        /// The id in question.
        id: String,
    },
    /// No checkpoint has this number.
    #[error("no checkpoint with the number {seq} is in the log")]
    UnknownCheckpoint {
        /// The number in question.
        seq: u64,
    },
    /// A proof was asked for a tree that does not contain what it should prove.
    #[error("no proof exists: {detail}")]
    NoProof {
        /// Which sizes or indices do not fit.
        detail: String,
    },
    /// The value cannot be stored. Nothing was written.
    #[error("the {field} cannot be stored: {detail}; nothing was written")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// The limit it exceeds.
        detail: String,
    },
    /// The checkpoint could not be signed. Nothing was written.
    #[error("the checkpoint could not be signed: {reason}; nothing was written")]
    Signer {
        /// What the signer reported.
        reason: String,
    },
}

impl StoreError {
    /// True when the same request may succeed after a pause: nothing was written and nothing is broken.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// The registry entry of this error.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Busy { .. } => ErrorCode::KernelBusy,
            Self::Unavailable { .. } | Self::Poisoned { .. } => ErrorCode::StoreUnavailable,
            Self::Damaged { .. }
            | Self::RolledBack { .. }
            | Self::Forked { .. }
            | Self::AnchorMissing { .. }
            | Self::AnchorDamaged { .. }
            | Self::UnknownFormat { .. } => ErrorCode::StoreIntegrityViolated,
            Self::DuplicateReceipt { .. }
            | Self::IntentClosed
            | Self::UnknownReceipt { .. }
            | Self::UnknownCheckpoint { .. }
            | Self::NoProof { .. }
            | Self::Invalid { .. }
            | Self::Signer { .. } => ErrorCode::InternalError,
        }
    }

    pub(crate) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Unavailable {
            reason: format!("{what} {} failed: {error}", path.display()),
            hint: hint_for(error.kind()),
        }
    }
}

fn hint_for(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "free some space on this disk",
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            "give this user write access to the directory, or set CHIO_HOME to one it may write"
        }
        _ => "check the disk and the path",
    }
}

impl From<MerkleFault> for StoreError {
    fn from(fault: MerkleFault) -> Self {
        Self::NoProof { detail: fault.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sqlite;
        let hint = match error.sqlite_error_code() {
            Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => {
                return Self::Busy { reason: format!("another process holds the database ({error})") };
            }
            Some(
                Sqlite::ReadOnly
                | Sqlite::PermissionDenied
                | Sqlite::CannotOpen
                | Sqlite::AuthorizationForStatementDenied,
            ) => "give this user write access to the directory, or set CHIO_HOME to one it may write",
            Some(Sqlite::DiskFull) => "free some space on this disk",
            Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => {
                "the database file is damaged: restore a good copy"
            }
            _ => "check the disk and the path",
        };
        Self::Unavailable { reason: format!("SQLite reported: {error}"), hint }
    }
}
