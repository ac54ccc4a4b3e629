//! How a store is opened, created, examined from outside, and anchored again.
//!
//! All of it happens under the directory lock, so that two processes that start at once meet a finished store. The
//! witnesses (head and anchor) are durable before the first change can be committed: a store that has changed but lost
//! its witnesses is therefore always suspicious.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use uuid::Uuid;

use super::anchor::Anchor;
use super::files::{self, Lock};
use super::head::{HeadFile, HeadRecord};
use super::instances::{self, Instance};
use super::state::{State, StateRow};
use super::{SqliteOptions, fsck, reads, recovery, schema};
use crate::error::StoreError;
use crate::log::{CheckpointVerifier, FsckReport};

/// What stands beside the database.
pub(super) struct Witnesses {
    pub(super) head: Option<(HeadFile, HeadRecord)>,
    pub(super) anchor: Option<Anchor>,
}

/// A verified store, ready to be written.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) head: HeadFile,
    pub(super) instance: Instance,
    pub(super) state: State,
}

pub(super) fn open(dir: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    files::create_dir(dir)?;
    files::create_dir(&dir.join(super::INSTANCES))?;
    let directory = Lock::acquire(&dir.join(super::LOCK))?;
    let witnesses = read_witnesses(dir)?;
    let log_left_behind = std::fs::metadata(dir.join(super::WAL)).is_ok_and(|wal| wal.len() > 0);
    let connection = open_database(dir, &witnesses, options)?;
    let row = StateRow::read(&connection)?;

    let (head, record, anchor) = match (witnesses.head, witnesses.anchor) {
        (Some((head, record)), Some(anchor)) => (head, record, anchor),
        // Nothing was ever committed, so nothing can have been rolled back.
        _ if row.generation == 0 => found_witnesses(dir, &row)?,
        (None, _) => return Err(StoreError::AnchorMissing { path: dir.join(super::HEAD) }),
        (_, None) => return Err(StoreError::AnchorMissing { path: dir.join(super::ANCHOR) }),
    };
    recovery::verify(&connection, dir, &record, &anchor)?;
    if log_left_behind {
        recovery::nothing_is_missing(&connection, dir)?;
    }
    bring_forward(&connection, dir, &head, &anchor)?;

    schema::keep_log_on_close(&connection, false)?;
    let instance = Instance::announce(dir, &directory)?;
    let mut named = open_instances(&connection)?;
    named.insert(instance.id);
    instances::sweep(dir, &named, &directory)?;
    let state = State::load(&connection)?;
    Ok(Opened { connection, head, instance, state })
}

pub(super) fn read_witnesses(dir: &Path) -> Result<Witnesses, StoreError> {
    let head = match HeadFile::open(dir)? {
        Some(head) => Some((head.read()?, head)).map(|(record, head)| (head, record)),
        None => None,
    };
    Ok(Witnesses { head, anchor: Anchor::read(dir)? })
}

/// Opens the database, creating what is missing, unless the witnesses remember that there was more.
fn open_database(
    dir: &Path,
    witnesses: &Witnesses,
    options: &SqliteOptions,
) -> Result<Connection, StoreError> {
    let remembered = witnesses.head.as_ref().map_or(0, |(_, record)| record.generation);
    let gone = || StoreError::RolledBack {
        path: dir.to_owned(),
        witness: "head",
        unit: "changes",
        expected: remembered,
        found: 0,
    };
    let database = dir.join(super::DATABASE);
    let exists = database.try_exists().map_err(|error| StoreError::io("looking for", &database, &error))?;
    if !exists {
        if remembered > 0 {
            return Err(gone());
        }
        files::create(&database)?;
    }
    let (mut connection, format) = schema::open_for_writing(dir, options.busy_timeout)?;
    if format == 0 {
        if remembered > 0 {
            return Err(gone());
        }
        schema::create(&mut connection, dir)?;
    }
    Ok(connection)
}

fn found_witnesses(dir: &Path, row: &StateRow) -> Result<(HeadFile, HeadRecord, Anchor), StoreError> {
    let anchor = Anchor::origin(row.store);
    anchor.write(dir)?;
    let record = row.head();
    let head = HeadFile::create(dir, &record)?;
    Ok((head, record, anchor))
}

/// Catches up with commits whose process died before it could record them outside the database.
fn bring_forward(
    connection: &Connection,
    dir: &Path,
    head: &HeadFile,
    anchor: &Anchor,
) -> Result<(), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let row = StateRow::read(&snapshot)?;
    if let Some(checkpoint) = reads::latest_checkpoint(&snapshot)?
        && checkpoint.seq > anchor.checkpoint.seq
    {
        Anchor { store: row.store, checkpoint }.advance(dir, head)?;
    }
    head.advance(&row.head(), false)
}

/// The instances that have open intents.
pub(super) fn open_instances(connection: &Connection) -> Result<BTreeSet<Uuid>, StoreError> {
    let mut statement = connection.prepare("SELECT DISTINCT instance FROM intents")?;
    let rows = statement.query_map([], |row| Ok(Uuid::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Examines the store in a directory without opening it for work: also one that [`open`] refuses.
pub(super) fn fsck(dir: &Path, verify: &CheckpointVerifier) -> Result<FsckReport, StoreError> {
    let connection = schema::open_for_reading(dir, SqliteOptions::default().busy_timeout)?;
    if schema::format(&connection)? == 0 {
        return Ok(fsck::nothing_to_examine(dir));
    }
    // The witnesses first: the database may move on meanwhile, they must not be newer than what is examined.
    let mut outside = FsckReport::default();
    fsck::examine_witnesses(&connection, dir, &mut outside);
    let mut report = fsck::examine(&connection, verify)?;
    report.problems.splice(0..0, outside.problems);
    Ok(report)
}

/// Makes the database, whatever its witnesses remember, the truth again; see
/// [`SqliteStore::re_anchor`](super::SqliteStore::re_anchor).
pub(super) fn re_anchor(dir: &Path, verify: &CheckpointVerifier) -> Result<FsckReport, StoreError> {
    let directory = Lock::acquire(&dir.join(super::LOCK))?;
    let (connection, format) = schema::open_for_writing(dir, SqliteOptions::default().busy_timeout)?;
    if format == 0 {
        return Ok(fsck::nothing_to_examine(dir));
    }
    if let Some(id) = living_instance(dir, &directory)? {
        return Err(StoreError::Busy {
            reason: format!("another process (instance {id}) works on this store"),
        });
    }
    let report = fsck::examine(&connection, verify)?;
    if !report.is_clean() {
        return Ok(report);
    }
    let row = StateRow::read(&connection)?;
    let anchor = match reads::latest_checkpoint(&connection)? {
        Some(checkpoint) => Anchor { store: row.store, checkpoint },
        None => Anchor::origin(row.store),
    };
    anchor.write(dir)?;
    HeadFile::create(dir, &row.head())?;
    Ok(report)
}

fn living_instance(dir: &Path, directory: &Lock) -> Result<Option<Uuid>, StoreError> {
    let instances: PathBuf = dir.join(super::INSTANCES);
    let entries =
        std::fs::read_dir(&instances).map_err(|error| StoreError::io("reading", &instances, &error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| Uuid::parse_str(stem).ok());
        if let Some(id) = id
            && !instances::is_dead(dir, id, directory)?
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
