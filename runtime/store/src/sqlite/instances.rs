//! Which processes are alive, told by locks that die with their holder.
//!
//! Each open store holds a lock on a file of its own, named by a fresh id. An intent carries that id, so an intent
//! whose file can be locked, or is gone, belongs to a process that will never close it. Ids are never reused: who is
//! dead stays dead. Files are made and judged under the directory lock, so that nobody meets one between its creation
//! and its lock.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::files::{self, Lock};
use crate::error::StoreError;

/// This store's own entry. The file is locked until the value is dropped.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: Uuid,
    path: PathBuf,
    _file: File,
}

impl Instance {
    /// Announces this instance. The caller holds the directory lock.
    pub(super) fn announce(dir: &Path, _directory: &Lock) -> Result<Self, StoreError> {
        let id = Uuid::now_v7();
        let path = file_of(dir, id);
        let opened = files::private().create_new(true).open(&path);
        let mut file = opened.map_err(|error| StoreError::io("creating", &path, &error))?;
        let announced = file.lock().and_then(|()| writeln!(file, "{}", std::process::id()));
        announced.map_err(|error| StoreError::io("locking", &path, &error))?;
        Ok(Self { id, path, _file: file })
    }

    /// Removes the entry: nobody will ever ask for it, because no intent names it.
    pub(super) fn retire(self) {
        // A file that stays behind costs nothing but the next start's look at it.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the instance file could not be removed");
        }
    }
}

/// True when the process behind this id is gone. The caller holds the directory lock.
pub(super) fn is_dead(dir: &Path, id: Uuid, _directory: &Lock) -> Result<bool, StoreError> {
    let path = file_of(dir, id);
    let file = match files::private().open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(StoreError::io("opening", &path, &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(StoreError::io("locking", &path, &error)),
    }
}

/// Removes the files of dead instances that no intent names any more. The caller holds the directory lock.
pub(super) fn sweep(dir: &Path, named: &BTreeSet<Uuid>, directory: &Lock) -> Result<(), StoreError> {
    let instances = dir.join(super::INSTANCES);
    let entries =
        std::fs::read_dir(&instances).map_err(|error| StoreError::io("reading", &instances, &error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| Uuid::parse_str(stem).ok());
        let Some(id) = id else { continue };
        if named.contains(&id) || !is_dead(dir, id, directory)? {
            continue;
        }
        match std::fs::remove_file(&path) {
            // A process that ends in order removes its own file, without the directory lock.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io("removing", &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn file_of(dir: &Path, id: Uuid) -> PathBuf {
    dir.join(super::INSTANCES).join(format!("{id}.lock"))
}
