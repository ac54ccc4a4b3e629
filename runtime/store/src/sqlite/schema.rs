//! The database file: its tables, and how connections to it are opened.
//!
//! Two connections matter: one that writes, owned by the writer thread, and a few that only read. Durability is WAL
//! with `synchronous = FULL`, so that a commit returns after its one sync of the log. There is no index that a query
//! could live without: every index is paid for by every receipt.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use uuid::Uuid;

use crate::error::StoreError;

/// "chio" in ASCII: lets `file(1)` and us recognise the database.
const APPLICATION_ID: i32 = 0x6368_696f;
/// Counted up whenever a table changes its meaning.
pub(super) const FORMAT: u32 = 1;

/// Pages the WAL may hold before a commit copies them back. Each copy costs two more syncs, so more is faster, and
/// costs disk (32 MiB here) and a longer recovery after a crash.
const WAL_PAGES: i32 = 8_000;
/// An append touches the last pages of a few tables; this holds them many times over.
const CACHE_KIB: i32 = 8_192;

/// - `state` is one row: how often the store changed (`generation`), the log's size and root, and the counters that
///   must survive. `control` counts the changes of revocations and stops, so that other processes notice them.
/// - `revocations.seq` counts from 1, so that a process asks only for those it has not seen.
/// - `stops.agent` is null for the stop over everything.
/// - `receipts.leaf` is the leaf index. The large column comes last, so that filters do not read it.
/// - `nodes` holds the hash of every complete subtree once, in the order in which subtrees become complete; see
///   `nodes.rs`. Appending is therefore always at the end of the table.
/// - `intents.id` comes from `state.next_intent` and is never used twice.
const TABLES: &str = "
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    store BLOB NOT NULL,
    generation INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    next_intent INTEGER NOT NULL,
    nonces INTEGER NOT NULL,
    revocations INTEGER NOT NULL,
    control INTEGER NOT NULL
) STRICT;
CREATE TABLE receipts (
    leaf INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    timestamp INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    capability_id TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE nodes (
    position INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE checkpoints (
    seq INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    instance BLOB NOT NULL,
    admitted_at INTEGER NOT NULL,
    charges TEXT NOT NULL,
    context TEXT NOT NULL
) STRICT;
CREATE TABLE budgets (
    capability_id TEXT NOT NULL,
    grant_index INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (capability_id, grant_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE nonces (
    key BLOB NOT NULL,
    nonce TEXT NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (key, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_expiry ON nonces (keep_until);
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE revocations (
    seq INTEGER PRIMARY KEY,
    capability_id TEXT NOT NULL UNIQUE,
    reason TEXT NOT NULL,
    revoked_at INTEGER NOT NULL
) STRICT;
CREATE TABLE stops (
    agent TEXT UNIQUE,
    stopped_at INTEGER NOT NULL
) STRICT;
";

/// Opens the connection that writes. Returns it with the format number it found: 0 for a database without tables.
pub(super) fn open_for_writing(dir: &Path, busy_timeout: Duration) -> Result<(Connection, u32), StoreError> {
    let connection = Connection::open_with_flags(
        dir.join(super::DATABASE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(busy_timeout)?;
    // A database that is refused must be left as it was found, its log included.
    keep_log_on_close(&connection, true)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);

    let format = format(&connection)?;
    if format != FORMAT && format != 0 {
        return Err(StoreError::UnknownFormat { path: dir.to_owned(), found: format, supported: FORMAT });
    }
    Ok((connection, format))
}

/// The format number of a database, 0 for one without tables.
pub(super) fn format(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Creates the tables.
pub(super) fn create(connection: &mut Connection, dir: &Path) -> Result<(), StoreError> {
    let foreign: Option<String> =
        connection.query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0)).optional()?;
    if let Some(table) = foreign {
        return Err(StoreError::Damaged {
            path: dir.to_owned(),
            detail: format!("the database has a table {table} but no format number, so it is not ours"),
        });
    }
    // Outside a transaction, and before the first table exists. It stays with the file.
    connection.pragma_update(None, "journal_mode", "wal")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO state (id, store, generation, size, root, next_intent, nonces, revocations, control)
         VALUES (0, ?1, 0, 0, ?2, 1, 0, 0, 0)",
        (Uuid::now_v7().as_bytes(), chio_core::merkle::empty_root().as_bytes()),
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// Usually the last connection to close copies the log into the database and removes it.
pub(super) fn keep_log_on_close(connection: &Connection, keep: bool) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

/// Opens a connection that cannot write.
pub(super) fn open_for_reading(dir: &Path, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        dir.join(super::DATABASE),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
