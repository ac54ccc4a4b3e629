//! The head file: what the database held after the last commit, kept outside the database.
//!
//! It is what notices that an older `chio.db` was put back, even one copied between two checkpoints, and even when the
//! log did not grow in between: `generation` counts every change of the store, a revocation as well as a receipt. The
//! file is overwritten in place after each commit and not synced, which costs microseconds and survives the death of
//! the process; after a power cut it may be older than the database, which is harmless. Two slots take turns, so that a
//! torn write leaves the other one. Its lock also orders the writers of the anchor.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chio_core::hash::sha256;
use chio_json::MerkleHash;
use uuid::Uuid;

use super::files;
use crate::error::StoreError;

const MAGIC: [u8; 8] = *b"chiohd01";
const BODY: usize = 8 + 16 + 8 + 8 + 32;
const RECORD: usize = BODY + 8;
/// Each slot has a disk sector of its own.
const SLOT: usize = 512;

/// What the store held after one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadRecord {
    pub(super) store: Uuid,
    pub(super) generation: u64,
    pub(super) size: u64,
    pub(super) root: MerkleHash,
}

impl HeadRecord {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SLOT);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(self.store.as_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(self.root.as_bytes());
        let checksum = sha256(&bytes);
        bytes.extend(checksum.as_bytes().iter().take(RECORD - BODY));
        bytes.resize(SLOT, 0);
        bytes
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let (body, rest) = slot.split_at_checked(BODY)?;
        if rest.get(..RECORD - BODY)? != sha256(body).as_bytes().get(..RECORD - BODY)? {
            return None;
        }
        let (magic, body) = body.split_first_chunk::<8>()?;
        let (store, body) = body.split_first_chunk::<16>()?;
        let (generation, body) = body.split_first_chunk::<8>()?;
        let (size, body) = body.split_first_chunk::<8>()?;
        let (root, _) = body.split_first_chunk::<32>()?;
        (*magic == MAGIC).then(|| Self {
            store: Uuid::from_bytes(*store),
            generation: u64::from_be_bytes(*generation),
            size: u64::from_be_bytes(*size),
            root: MerkleHash::from_bytes(*root),
        })
    }
}

/// The open head file.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
}

impl HeadFile {
    /// Opens the file when it exists.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(super::HEAD);
        match files::private().open(&path) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("opening", &path, &error)),
        }
    }

    /// Writes the file anew with `record` in both slots, and makes it durable.
    pub(super) fn create(dir: &Path, record: &HeadRecord) -> Result<Self, StoreError> {
        let path = dir.join(super::HEAD);
        let written = files::private().create(true).truncate(true).open(&path).and_then(|mut file| {
            file.write_all(&record.encode())?;
            file.write_all(&record.encode())?;
            file.sync_all()?;
            Ok(file)
        });
        let file = written.map_err(|error| StoreError::io("writing", &path, &error))?;
        files::sync_dir(dir)?;
        Ok(Self { file, path })
    }

    /// The newest readable record.
    pub(super) fn read(&self) -> Result<HeadRecord, StoreError> {
        let [first, second] = self.locked(Self::slots)?;
        newest(first, second).ok_or_else(|| StoreError::AnchorDamaged {
            path: self.path.clone(),
            detail: "neither of its two records has a valid checksum".to_owned(),
        })
    }

    /// Records `record` unless something newer stands there already. With `sync`, waits until the disk has it.
    pub(super) fn advance(&self, record: &HeadRecord, sync: bool) -> Result<(), StoreError> {
        self.locked(|head| {
            let [first, second] = head.slots()?;
            let newest = newest(first, second);
            if newest.is_some_and(|newest| newest.generation >= record.generation) {
                return Ok(());
            }
            let offset = if newest == first { SLOT as u64 } else { 0 };
            let mut file = &head.file;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(&record.encode())?;
            if sync { file.sync_data() } else { Ok(()) }
        })
    }

    /// Runs `work` while no other process does the same.
    pub(super) fn exclusively<T>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.locked(|_| Ok(work()))?
    }

    fn slots(&self) -> io::Result<[Option<HeadRecord>; 2]> {
        let mut bytes = Vec::with_capacity(2 * SLOT);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.take(2 * SLOT as u64).read_to_end(&mut bytes)?;
        let (first, second) = bytes.split_at(SLOT.min(bytes.len()));
        Ok([HeadRecord::decode(first), HeadRecord::decode(second)])
    }

    fn locked<T>(&self, work: impl FnOnce(&Self) -> io::Result<T>) -> Result<T, StoreError> {
        let done = self.file.lock().and_then(|()| {
            let done = work(self);
            self.file.unlock().and(done)
        });
        done.map_err(|error| StoreError::io("using", &self.path, &error))
    }
}

fn newest(first: Option<HeadRecord>, second: Option<HeadRecord>) -> Option<HeadRecord> {
    match (first, second) {
        (Some(first), Some(second)) if second.generation > first.generation => Some(second),
        (None, second) => second,
        (first, _) => first,
    }
}
