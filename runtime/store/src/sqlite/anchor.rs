//! The anchor: the last checkpoint, kept and synced outside the database.
//!
//! A restored old database restores its own checkpoints with it; this file does not follow. It never goes backwards,
//! and every start demands that the database continues from it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chio_core::hash::sha256;
use chio_core::merkle::empty_root;
use uuid::Uuid;

use super::files;
use super::head::HeadFile;
use crate::error::StoreError;
use crate::log::StoredCheckpoint;

const MAGIC: &str = "chio-anchor/1";

/// The checkpoint a store may never fall behind. Number 0 stands for "none yet".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) store: Uuid,
    pub(super) checkpoint: StoredCheckpoint,
}

impl Anchor {
    /// The anchor of a store without checkpoints.
    pub(super) fn origin(store: Uuid) -> Self {
        Self {
            store,
            checkpoint: StoredCheckpoint { seq: 0, tree_size: 0, root: empty_root(), text: Arc::from("") },
        }
    }

    /// Reads the file when it exists.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(super::ANCHOR);
        let damaged =
            |detail: &str| StoreError::AnchorDamaged { path: path.clone(), detail: detail.to_owned() };
        match std::fs::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
                Self::decode(&text)
                    .map(Some)
                    .ok_or_else(|| damaged("its checksum does not match its content"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("reading", &path, &error)),
        }
    }

    /// Moves the file to this checkpoint unless it stands there or further already.
    pub(super) fn advance(&self, dir: &Path, head: &HeadFile) -> Result<(), StoreError> {
        head.exclusively(|| match Self::read(dir)? {
            Some(current) if current.checkpoint.seq >= self.checkpoint.seq => Ok(()),
            _ => self.write(dir),
        })
    }

    /// Replaces the file, whatever it says. Durable when it returns.
    pub(super) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(super::ANCHOR);
        let draft: PathBuf = dir.join(format!("{}.new", super::ANCHOR));
        let written = files::private().create(true).truncate(true).open(&draft).and_then(|mut file| {
            file.write_all(self.encode().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)
        });
        written.map_err(|error| StoreError::io("writing", &path, &error))?;
        files::sync_dir(dir)
    }

    /// One line with a checksum over everything else, then the checkpoint's text.
    fn encode(&self) -> String {
        let content = self.content();
        format!("{MAGIC} {} {content}", sha256(content.as_bytes()))
    }

    fn content(&self) -> String {
        let StoredCheckpoint { seq, tree_size, root, text } = &self.checkpoint;
        format!("{} {seq} {tree_size} {root}\n{text}", self.store)
    }

    fn decode(text: &str) -> Option<Self> {
        let (checksum, content) = text.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once(' ')?;
        if checksum != sha256(content.as_bytes()).to_string() {
            return None;
        }
        let (line, text) = content.split_once('\n')?;
        let mut fields = line.split(' ');
        let store = Uuid::parse_str(fields.next()?).ok()?;
        let seq = fields.next()?.parse().ok()?;
        let tree_size = fields.next()?.parse().ok()?;
        let root = fields.next()?.parse().ok()?;
        fields.next().is_none().then(|| Self {
            store,
            checkpoint: StoredCheckpoint { seq, tree_size, root, text: Arc::from(text) },
        })
    }
}
