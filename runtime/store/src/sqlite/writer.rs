//! The one thread that writes.
//!
//! It takes everything that waits, does it in one transaction, and answers when the one sync of that transaction has
//! returned: many callers share the price of one. Nothing is delayed on purpose; while one batch is being synced the
//! next one gathers by itself. After a commit the witnesses outside the database are moved before anybody is answered,
//! so whatever was acknowledged cannot be rolled back unnoticed. Only a call that takes nothing and leaves nothing is
//! answered as soon as it was looked at, for it has no part in the commit.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chio_json::Sha256Hex;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi};
use tokio::sync::mpsc;

use super::anchor::Anchor;
use super::batch::{Batch, Changes, Context};
use super::files::Identity;
use super::head::HeadFile;
use super::instances::Instance;
use super::open::Opened;
use super::queue::Queued;
use super::rhythm::Rhythm;
use super::state::State;
use super::{Shared, SqliteOptions};
use crate::error::StoreError;
use crate::log::StoredCheckpoint;

/// How many requests share one transaction at most, and how many bytes: what waits behind them is served sooner.
const BATCH: usize = 1_024;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long to wait before asking again for a database that another process is writing.
const BUSY_STEP: Duration = Duration::from_millis(1);
/// Ids whose binding is remembered. When there are more the cache starts over.
const BINDINGS: usize = 65_536;

pub(super) struct Writer {
    connection: Connection,
    dir: PathBuf,
    database: Option<Identity>,
    head: HeadFile,
    instance: Instance,
    nonce_capacity: u64,
    busy_timeout: Duration,
    shared: Arc<Shared>,
    state: State,
    bindings: HashMap<String, Sha256Hex>,
    /// The checkpoint the anchor must still move to.
    due: Option<StoredCheckpoint>,
    /// True while the witnesses lag behind what was committed.
    behind: bool,
}

impl Writer {
    pub(super) fn new(opened: Opened, dir: PathBuf, options: &SqliteOptions, shared: Arc<Shared>) -> Self {
        let Opened { connection, head, instance, state } = opened;
        Self {
            connection,
            database: Identity::of(&dir.join(super::DATABASE)),
            dir,
            head,
            instance,
            nonce_capacity: options.nonce_capacity,
            busy_timeout: options.busy_timeout,
            shared,
            state,
            bindings: HashMap::new(),
            due: None,
            behind: false,
        }
    }

    /// Starts the thread. It ends when every sender is gone.
    pub(super) fn start(self, queue: mpsc::Receiver<Queued>) -> Result<JoinHandle<()>, StoreError> {
        self.connection.busy_timeout(BUSY_STEP)?;
        std::thread::Builder::new()
            .name("chio-store-writer".to_owned())
            .spawn(move || self.run(queue))
            .map_err(|error| StoreError::Unavailable {
                reason: format!("the writer thread could not be started: {error}"),
                hint: "allow this user more threads",
            })
    }

    fn run(mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut waiting = Vec::new();
        let mut rhythm = Rhythm::new();
        while !waiting.is_empty() || queue.blocking_recv_many(&mut waiting, BATCH) > 0 {
            rhythm.wait(|| {
                while waiting.len() < BATCH
                    && let Ok(queued) = queue.try_recv()
                {
                    waiting.push(queued);
                }
                waiting.len()
            });
            let batch: Vec<Queued> = waiting.drain(..share(&waiting)).collect();
            let start = Instant::now();
            let answered = self.serve(batch);
            rhythm.note(answered, waiting.len() + queue.len(), start.elapsed());
            if self.shared.poisoned().is_some() {
                return;
            }
        }
        self.retire();
    }

    /// Does the work, and says how many waited for its commit.
    fn serve(&mut self, mut batch: Vec<Queued>) -> usize {
        let done = match self.shared.poisoned() {
            Some(poisoned) => Err(poisoned),
            None => self.transact_or_poison(&mut batch),
        };
        if let Err(error) = &done {
            tracing::error!(%error, requests = batch.len(), "a transaction failed; nothing of it was acknowledged");
        }
        let waiting = batch.iter().filter(|queued| queued.is_waiting()).count();
        for queued in batch {
            queued.answer(done.as_ref().err());
        }
        waiting
    }

    /// After a panic nobody knows what the memory of this thread is worth, so nothing is done with it any more. The
    /// unwinding has rolled the transaction back.
    fn transact_or_poison(&mut self, batch: &mut [Queued]) -> Result<(), StoreError> {
        let caught = catch_unwind(AssertUnwindSafe(|| self.transact(batch)));
        caught.unwrap_or_else(|_| Err(self.shared.poison("the writer thread panicked")))
    }

    fn transact(&mut self, batch: &mut [Queued]) -> Result<(), StoreError> {
        if self.behind {
            self.move_witnesses(false)?;
        }
        let transaction = begin(&self.connection, self.busy_timeout)?;
        let mut state = self.state.clone();
        state.refresh(&transaction)?;
        self.still_ours(&state)?;
        self.shared.view.refresh(&transaction, &state.row)?;
        let mut open = Batch {
            connection: &transaction,
            context: Context {
                instance: self.instance.id,
                nonce_capacity: self.nonce_capacity,
                view: &self.shared.view,
                bindings: &self.bindings,
            },
            state,
            changes: Changes::default(),
        };
        // All of them arrived at once, so any order is right.
        batch.sort_by_key(|queued| !queued.only_looks());
        for queued in batch.iter_mut() {
            queued.apply(&mut open)?;
        }
        let Batch { mut state, changes, .. } = open;
        if !changes.dirty {
            self.state = state;
            return Ok(());
        }
        state.save(&transaction)?;
        if let Err(error) = transaction.commit() {
            return Err(self.failed_commit(error));
        }
        self.state = state;
        self.committed(changes);
        Ok(())
    }

    /// SQLite goes on writing to a database that was removed or exchanged under it, and nobody would ever read that.
    fn still_ours(&self, state: &State) -> Result<(), StoreError> {
        if Identity::of(&self.dir.join(super::DATABASE)) != self.database {
            return Err(self.shared.poison("the database file was removed or replaced while it was in use"));
        }
        if state.row.generation < self.state.row.generation {
            return Err(self.shared.poison("the database went back to an older state while it was in use"));
        }
        Ok(())
    }

    /// Everything here concerns changes that are durable already, so it cannot fail the callers. What it could not do
    /// is done before the next transaction, which is refused if it still cannot be done.
    fn committed(&mut self, changes: Changes) {
        if self.bindings.len() + changes.bound.len() > BINDINGS {
            self.bindings.clear();
        }
        self.bindings.extend(changes.bound);
        let controls = !changes.revoked.is_empty() || changes.stops.is_some();
        if controls && let Err(error) = self.shared.view.refresh(&self.connection, &self.state.row) {
            tracing::warn!(%error, "a revocation is durable but was not announced yet");
        }
        self.due = changes.checkpoint.or_else(|| self.due.take());
        if let Err(error) = self.move_witnesses(controls) {
            tracing::error!(%error, "the commit is durable but could not be recorded outside the database");
        }
    }

    fn move_witnesses(&mut self, sync: bool) -> Result<(), StoreError> {
        self.behind = true;
        self.head.advance(&self.state.row.head(), sync)?;
        if let Some(checkpoint) = self.due.clone() {
            Anchor { store: self.state.row.store, checkpoint }.advance(&self.dir, &self.head)?;
            self.due = None;
        }
        self.behind = false;
        Ok(())
    }

    /// After a failed sync the operating system may have forgotten what it could not write, and a second try would
    /// succeed without having written it. Only a restart, which reads back what is there, can go on from that.
    fn failed_commit(&self, error: rusqlite::Error) -> StoreError {
        let sync_failed = error.sqlite_error().is_some_and(|sqlite| {
            matches!(sqlite.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
        });
        if sync_failed {
            return self.shared.poison(&format!("the disk refused to sync a commit ({error})"));
        }
        error.into()
    }

    fn retire(self) {
        let open = self
            .connection
            .prepare("SELECT 1 FROM intents WHERE instance = ?1")
            .and_then(|mut statement| statement.exists([self.instance.id.as_bytes()]));
        // An entry with open intents stays, unlocked: that is how the next process learns that they are dead.
        if matches!(open, Ok(false)) {
            self.instance.retire();
        }
    }
}

/// Starts a transaction that may write. Waits for other processes in small steps: SQLite's own waiting grows to a tenth
/// of a second, in which a busy neighbour commits many times over.
fn begin(connection: &Connection, timeout: Duration) -> Result<Transaction<'_>, StoreError> {
    let start = Instant::now();
    loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && start.elapsed() < timeout => {}
            begun => return Ok(begun?),
        }
    }
}

/// How many of those that wait fit into one transaction: at least one, however large.
fn share(waiting: &[Queued]) -> usize {
    let mut bytes = 0;
    let fitting = waiting.iter().take_while(|queued| {
        bytes += queued.bytes();
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}
