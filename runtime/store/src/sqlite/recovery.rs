//! What a start demands of the database before anybody may use it.
//!
//! Everything behind the last checkpoint is computed again from the receipts; what lies before is held by that
//! checkpoint's root. Then the database must continue from what was recorded outside it: the anchor (the last
//! checkpoint) and the head (the last commit). Both are read *before* the database, which other processes may be
//! moving forward meanwhile.

use std::path::Path;

use chio_core::merkle::{Frontier, NodeId, leaf_hash};
use chio_json::MerkleHash;
use rusqlite::Connection;

use super::anchor::Anchor;
use super::head::HeadRecord;
use super::state::StateRow;
use super::{nodes, reads};
use crate::error::StoreError;
use crate::log::StoredCheckpoint;

/// Refuses a database that contradicts itself behind the last checkpoint, or lags behind or departs from its witnesses.
pub(super) fn verify(
    connection: &Connection,
    dir: &Path,
    head: &HeadRecord,
    anchor: &Anchor,
) -> Result<(), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let row = StateRow::read(&snapshot)?;
    let latest = reads::latest_checkpoint(&snapshot)?;
    continues_from_head(&snapshot, dir, &row, head)?;
    continues_from_anchor(&snapshot, dir, &row, latest.as_ref(), anchor)?;
    tail_is_sound(&snapshot, dir, &row, latest.as_ref())
}

fn continues_from_head(
    connection: &Connection,
    dir: &Path,
    row: &StateRow,
    head: &HeadRecord,
) -> Result<(), StoreError> {
    if row.store != head.store {
        return Err(forked(dir, "the head file belongs to another store"));
    }
    at_least(dir, "head", "changes", head.generation, row.generation)?;
    at_least(dir, "head", "receipts", head.size, row.size)?;
    if root_at(connection, dir, row, head.size)? != head.root {
        return Err(forked(
            dir,
            &format!("the first {} receipts are not those the head file recorded", head.size),
        ));
    }
    Ok(())
}

fn continues_from_anchor(
    connection: &Connection,
    dir: &Path,
    row: &StateRow,
    latest: Option<&StoredCheckpoint>,
    anchor: &Anchor,
) -> Result<(), StoreError> {
    if row.store != anchor.store {
        return Err(forked(dir, "the anchor file belongs to another store"));
    }
    let StoredCheckpoint { seq, tree_size, root, .. } = anchor.checkpoint;
    at_least(dir, "anchor", "checkpoints", seq, latest.map_or(0, |latest| latest.seq))?;
    at_least(dir, "anchor", "receipts", tree_size, row.size)?;
    if seq > 0 && reads::checkpoint(connection, seq)?.as_ref() != Some(&anchor.checkpoint) {
        return Err(forked(dir, &format!("checkpoint {seq} is not the one the anchor file holds")));
    }
    if root_at(connection, dir, row, tree_size)? != root {
        return Err(forked(
            dir,
            &format!("the first {tree_size} receipts are not those the anchor file covers"),
        ));
    }
    Ok(())
}

fn at_least(
    dir: &Path,
    witness: &'static str,
    unit: &'static str,
    expected: u64,
    found: u64,
) -> Result<(), StoreError> {
    if found >= expected {
        return Ok(());
    }
    Err(StoreError::RolledBack { path: dir.to_owned(), witness, unit, expected, found })
}

/// Computes every leaf and node behind the last checkpoint again, from the receipts themselves.
fn tail_is_sound(
    connection: &Connection,
    dir: &Path,
    row: &StateRow,
    latest: Option<&StoredCheckpoint>,
) -> Result<(), StoreError> {
    let covered = latest.map_or(0, |latest| latest.tree_size);
    if covered > row.size {
        return Err(damaged(
            dir,
            format!("a checkpoint covers {covered} receipts, the log holds {}", row.size),
        ));
    }
    let mut tree = frontier_at(connection, dir, covered)?;
    if let Some(latest) = latest
        && tree.root() != latest.root
    {
        return Err(damaged(dir, format!("the tree does not lead to the root of checkpoint {}", latest.seq)));
    }
    let mut statement =
        connection.prepare("SELECT leaf, text FROM receipts WHERE leaf >= ?1 ORDER BY leaf")?;
    let mut rows = statement.query([covered])?;
    while let Some(receipt) = rows.next()? {
        let leaf: u64 = receipt.get(0)?;
        if leaf != tree.size() {
            return Err(damaged(dir, format!("receipt {} is missing", tree.size() + 1)));
        }
        for (id, hash) in append(&mut tree, receipt.get_ref(1)?.as_bytes().unwrap_or_default())? {
            if nodes::node(connection, id).ok() != Some(hash) {
                return Err(damaged(
                    dir,
                    format!(
                        "receipt {} does not lead to the stored node {} at level {}",
                        leaf + 1,
                        id.index,
                        id.level
                    ),
                ));
            }
        }
    }
    if tree.size() != row.size {
        return Err(damaged(dir, format!("{} receipts are stored, {} are counted", tree.size(), row.size)));
    }
    if tree.root() != row.root {
        return Err(damaged(dir, "the receipts do not lead to the stored root".to_owned()));
    }
    Ok(())
}

/// Refuses a database whose tables have lost rows: what results when SQLite replays the log of a newer database into
/// an older one that somebody put beside it. Counts the whole log, so it is done only when such a log was found.
pub(super) fn nothing_is_missing(connection: &Connection, dir: &Path) -> Result<(), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let row = StateRow::read(&snapshot)?;
    let count = |table: &str| -> Result<u64, StoreError> {
        Ok(snapshot.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    };
    let checkpoints = reads::latest_checkpoint(&snapshot)?.map_or(0, |latest| latest.seq);
    for (table, expected) in [
        ("receipts", row.size),
        ("nodes", nodes::count(row.size)),
        ("revocations", row.revocations),
        ("nonces", row.nonces),
        ("checkpoints", checkpoints),
    ] {
        let found = count(table)?;
        if found != expected {
            return Err(damaged(dir, format!("{expected} {table} are counted, {found} are stored")));
        }
    }
    Ok(())
}

/// Appends one receipt and returns the nodes it completes.
pub(super) fn append(tree: &mut Frontier, receipt: &[u8]) -> Result<Vec<(NodeId, MerkleHash)>, StoreError> {
    let mut complete = Vec::new();
    tree.append(leaf_hash(receipt), |node, hash| complete.push((node, hash)))?;
    Ok(complete)
}

fn root_at(connection: &Connection, dir: &Path, row: &StateRow, size: u64) -> Result<MerkleHash, StoreError> {
    if size == row.size { Ok(row.root) } else { frontier_at(connection, dir, size).map(|tree| tree.root()) }
}

fn frontier_at(connection: &Connection, dir: &Path, size: u64) -> Result<Frontier, StoreError> {
    nodes::frontier(connection, size).map_err(|error| match error {
        StoreError::NoProof { detail } => damaged(dir, detail),
        other => other,
    })
}

fn damaged(dir: &Path, detail: String) -> StoreError {
    StoreError::Damaged { path: dir.to_owned(), detail }
}

fn forked(dir: &Path, detail: &str) -> StoreError {
    StoreError::Forked { path: dir.to_owned(), detail: detail.to_owned() }
}
