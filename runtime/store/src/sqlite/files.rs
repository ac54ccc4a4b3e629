//! Files and directories that only their owner may read: receipts hold arguments, and arguments hold anything.

use std::fs::{DirBuilder, File, OpenOptions};
use std::path::Path;

use crate::error::StoreError;

/// Creates a directory and its parents with mode 0700. One that exists keeps its mode.
pub(super) fn create_dir(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| StoreError::io("creating the directory", path, &error))
}

/// How to open a file that is created with mode 0600.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates an empty file. One that exists is not even opened: closing any descriptor of a database would drop the locks
/// that SQLite holds on it in this process.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    match private().create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::io("creating", path, &error)),
    }
}

/// Tells one file from another that stands in its place later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity([u64; 2]);

impl Identity {
    /// Looks without opening; `None` when there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let numbers = {
            use std::os::unix::fs::MetadataExt as _;
            [metadata.dev(), metadata.ino()]
        };
        // Elsewhere an open file can be neither removed nor replaced.
        #[cfg(not(unix))]
        let numbers = [u64::from(metadata.is_file()), 0];
        Some(Self(numbers))
    }
}

/// Makes created, renamed and removed entries of a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| StoreError::io("syncing the directory", path, &error))
}

/// A lock on a file, held until dropped. It is released by the operating system when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let file = private()
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| StoreError::io("opening", path, &error))?;
        file.lock().map_err(|error| StoreError::io("locking", path, &error))?;
        Ok(Self { _file: file })
    }
}
