//! The embedded engine: one SQLite database in one directory, for one or several processes.
//!
//! | entry | what it is |
//! |---|---|
//! | `chio.db` (`-wal`, `-shm`) | everything durable |
//! | `anchor` | the last checkpoint, synced: the database may never fall behind it |
//! | `head` | the last commit, not synced: notices an older database also between checkpoints |
//! | `instances/` | one locked file per living process: tells whose intents are dead |
//! | `lock` | held while a store is opened or dead processes are looked for |
//!
//! Whoever can replace `chio.db`, `anchor` and `head` together can still present an older state as a whole; only a
//! witness elsewhere would notice.

mod admission;
mod anchor;
mod batch;
mod completion;
mod control;
mod files;
mod fsck;
mod head;
mod instances;
mod limits;
mod nodes;
mod open;
mod queue;
mod readers;
mod reads;
mod recovery;
mod rhythm;
mod schema;
mod state;
mod view;
mod watcher;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use chio_json::MerkleHash;
use rusqlite::Connection;
use tokio::sync::broadcast;
use uuid::Uuid;

use self::completion::Append;
use self::control::{Checkpoint, SetStop};
use self::files::Lock;
use self::queue::Queue;
use self::readers::Readers;
use self::view::View;
use self::watcher::Watcher;
use self::writer::Writer;
use crate::call::{
    Admission, AdmissionOutcome, Committed, Completion, DeadIntent, NewReceipt, Ticket, Token,
};
use crate::error::StoreError;
use crate::log::{
    BudgetUsage, CheckpointSigner, CheckpointVerifier, FsckReport, Head, Inclusion, ProofAt, Query,
    Revocation, Stops, StoredCheckpoint, StoredReceipt,
};
use crate::store::Store;

const DATABASE: &str = "chio.db";
const WAL: &str = "chio.db-wal";
const ANCHOR: &str = "anchor";
const HEAD: &str = "head";
const INSTANCES: &str = "instances";
const LOCK: &str = "lock";

/// How an embedded store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How many requests may wait for the writer; further admissions are answered `Busy`. 4,096 unless set.
    pub queue_capacity: usize,
    /// How many unexpired nonces are remembered at most; further ones are refused. 1,000,000 unless set.
    pub nonce_capacity: u64,
    /// How long a transaction waits for another process. 10 seconds unless set.
    pub busy_timeout: Duration,
    /// How often revocations and stops made by other processes are looked for. 200 milliseconds unless set.
    pub poll_interval: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            queue_capacity: 4_096,
            nonce_capacity: 1_000_000,
            busy_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(200),
        }
    }
}

/// What the threads of one store share.
struct Shared {
    view: View,
    poison: OnceLock<String>,
}

impl Shared {
    fn poison(&self, reason: &str) -> StoreError {
        tracing::error!(reason, "the store shuts itself down");
        // The first reason is the interesting one.
        let reason = self.poison.get_or_init(|| reason.to_owned());
        StoreError::Poisoned { reason: reason.clone() }
    }

    fn poisoned(&self) -> Option<StoreError> {
        self.poison.get().map(|reason| StoreError::Poisoned { reason: reason.clone() })
    }
}

/// A store in a directory. Dropping it waits until what was handed over is written, and ends its threads.
pub struct SqliteStore {
    dir: PathBuf,
    instance: Uuid,
    shared: Arc<Shared>,
    /// `None` only while being dropped.
    queue: Option<Queue>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    /// `None` only while being dropped.
    watcher: Option<Watcher>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteStore")
            .field("dir", &self.dir)
            .field("instance", &self.instance)
            .finish()
    }
}

impl SqliteStore {
    /// Opens the store in `dir`, creating the directory (mode 0700) and everything in it (mode 0600) when missing.
    /// Verifies the log behind the last checkpoint, and that the database continues from its anchor and head files.
    /// Blocks: call it before the async work starts, or from a blocking task.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`], [`StoreError::Forked`], [`StoreError::Damaged`], [`StoreError::AnchorMissing`],
    /// [`StoreError::AnchorDamaged`], [`StoreError::UnknownFormat`] when the state on disk cannot be trusted;
    /// [`StoreError::Unavailable`] when the directory cannot be used.
    pub fn open(dir: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        let opened = open::open(&dir, options)?;
        let instance = opened.instance.id;
        let shared = Arc::new(Shared { view: View::new(), poison: OnceLock::new() });
        shared.view.refresh(&opened.connection, &opened.state.row)?;
        let readers = Arc::new(Readers::new(dir.clone(), options.busy_timeout));
        let watcher = Watcher::start(Arc::clone(&shared), Arc::clone(&readers), options.poll_interval)?;
        let (queue, receiver) = Queue::new(options.queue_capacity, Arc::clone(&shared));
        let writer = Writer::new(opened, dir.clone(), options, Arc::clone(&shared)).start(receiver)?;
        Ok(Self {
            dir,
            instance,
            shared,
            queue: Some(queue),
            writer: Some(writer),
            readers,
            watcher: Some(watcher),
        })
    }

    /// Examines the store in `dir` from outside, also one that [`SqliteStore::open`] refuses. Blocks.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub fn examine(dir: impl AsRef<Path>, verify: &CheckpointVerifier) -> Result<FsckReport, StoreError> {
        open::fsck(dir.as_ref(), verify)
    }

    /// Accepts the database in `dir` as it is, whatever its anchor and head files say: the way out after a backup was
    /// restored on purpose. Everything that is missing since the backup stays missing: receipts, spent budgets, used
    /// nonces, revocations. Does so only when no process uses the store and the examination finds nothing wrong in the
    /// database itself; look at the report. Blocks.
    ///
    /// # Errors
    /// The store is in use, or cannot be read or written.
    pub fn re_anchor(dir: impl AsRef<Path>, verify: &CheckpointVerifier) -> Result<FsckReport, StoreError> {
        open::re_anchor(dir.as_ref(), verify)
    }

    /// The directory this store lives in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    async fn read<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if let Some(poisoned) = self.shared.poisoned() {
            return Err(poisoned);
        }
        self.readers.read(look).await
    }

    fn queue(&self) -> Result<&Queue, StoreError> {
        self.queue.as_ref().ok_or_else(|| StoreError::Poisoned { reason: "the store is closed".to_owned() })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Readers first: the connection that closes last moves the write-ahead log into the database, and one that only
        // reads cannot. Without that, everything new would stay in the log, and a copy of the database alone be empty.
        drop(self.watcher.take());
        self.readers.close_idle();
        // The writer ends when the last sender is gone.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // Its panics are caught and reported through `Shared`.
            drop(writer.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<AdmissionOutcome, StoreError> {
        self.queue()?.offer(admission).await
    }

    async fn complete(&self, completion: Completion) -> Result<Committed, StoreError> {
        self.queue()?.insist(Append::from(completion)).await
    }

    async fn append(&self, receipt: NewReceipt) -> Result<Committed, StoreError> {
        self.queue()?.offer(Append::from(receipt)).await
    }

    async fn dead_intents(&self) -> Result<Vec<DeadIntent>, StoreError> {
        let (dir, own) = (self.dir.clone(), self.instance);
        self.read(move |connection| dead_intents(connection, &dir, own)).await
    }

    async fn revoke(&self, revocation: Revocation) -> Result<bool, StoreError> {
        self.queue()?.insist(revocation).await
    }

    fn first_revoked<'a>(&self, ids: &[&'a str]) -> Option<&'a str> {
        ids.iter().copied().find(|id| self.shared.view.is_revoked(id))
    }

    fn watch_revocations(&self) -> broadcast::Receiver<Revocation> {
        self.shared.view.subscribe()
    }

    async fn stop(&self, agent: Option<String>, at: u64) -> Result<bool, StoreError> {
        self.queue()?.insist(SetStop { agent, since: Some(at) }).await
    }

    async fn resume(&self, agent: Option<String>) -> Result<bool, StoreError> {
        self.queue()?.insist(SetStop { agent, since: None }).await
    }

    fn stops(&self) -> Arc<Stops> {
        self.shared.view.stops()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read(reads::head).await
    }

    async fn receipt(&self, id: &str) -> Result<Option<StoredReceipt>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| reads::receipt(connection, &id)).await
    }

    async fn receipts(&self, query: Query) -> Result<Vec<StoredReceipt>, StoreError> {
        self.read(move |connection| reads::receipts(connection, &query)).await
    }

    async fn inclusion(&self, receipt_id: &str, at: ProofAt) -> Result<Inclusion, StoreError> {
        let id = receipt_id.to_owned();
        self.read(move |connection| reads::inclusion(connection, &id, at)).await
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<MerkleHash>, StoreError> {
        self.read(move |connection| reads::consistency(connection, old_size, new_size)).await
    }

    async fn checkpoint(&self, sign: CheckpointSigner) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.queue()?.insist(Checkpoint(sign)).await
    }

    async fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.read(reads::checkpoints).await
    }

    async fn latest_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.read(reads::latest_checkpoint).await
    }

    async fn token(&self, capability_id: &str) -> Result<Option<Token>, StoreError> {
        let id = capability_id.to_owned();
        self.read(move |connection| reads::token(connection, &id)).await
    }

    async fn budget(&self, capability_id: &str, grant_index: u32) -> Result<BudgetUsage, StoreError> {
        let id = capability_id.to_owned();
        self.read(move |connection| reads::budget(connection, &id, grant_index)).await
    }

    async fn fsck(&self, verify: CheckpointVerifier) -> Result<FsckReport, StoreError> {
        let dir = self.dir.clone();
        let examined = tokio::task::spawn_blocking(move || open::fsck(&dir, &verify)).await;
        examined
            .unwrap_or_else(|error| Err(StoreError::Poisoned { reason: format!("a reader failed: {error}") }))
    }
}

fn dead_intents(connection: &Connection, dir: &Path, own: Uuid) -> Result<Vec<DeadIntent>, StoreError> {
    let directory = Lock::acquire(&dir.join(LOCK))?;
    let mut dead = Vec::new();
    for instance in open::open_instances(connection)? {
        if instance == own || !instances::is_dead(dir, instance, &directory)? {
            continue;
        }
        let mut statement = connection.prepare_cached(
            "SELECT id, admitted_at, charges, context FROM intents WHERE instance = ?1 ORDER BY id",
        )?;
        let mut rows = statement.query([instance.as_bytes()])?;
        while let Some(row) = rows.next()? {
            let intent = row.get(0)?;
            let charges = limits::charges_from_text(&row.get::<_, String>(2)?).map_err(|error| {
                StoreError::Damaged { path: dir.to_owned(), detail: format!("intent {intent}: {error}") }
            })?;
            dead.push(DeadIntent {
                ticket: Ticket { intent: Some(intent), charges },
                admitted_at: row.get(1)?,
                context: row.get(3)?,
            });
        }
    }
    Ok(dead)
}
