//! Everything that only looks. Nodes, receipts and checkpoints never change once written, so a proof needs O(log n)
//! rows and no lock that would hold up the writer.

use std::sync::Arc;

use chio_core::merkle::{consistency_proof, inclusion_proof, leaf_hash};
use chio_json::{MerkleHash, Sha256Hex};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row};

use super::nodes;
use super::state::StateRow;
use crate::call::Token;
use crate::error::StoreError;
use crate::log::{BudgetUsage, Head, Inclusion, ProofAt, Query, StoredCheckpoint, StoredReceipt};

pub(super) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let row = StateRow::read(connection)?;
    Ok(Head { size: row.size, root: row.root })
}

pub(super) fn receipt(connection: &Connection, id: &str) -> Result<Option<StoredReceipt>, StoreError> {
    let found = connection
        .prepare_cached("SELECT leaf, id, text FROM receipts WHERE id = ?1")?
        .query_row([id], receipt_from_row)
        .optional()?;
    Ok(found)
}

fn receipt_from_row(row: &Row<'_>) -> rusqlite::Result<StoredReceipt> {
    let leaf: u64 = row.get(0)?;
    Ok(StoredReceipt { seq: leaf + 1, id: row.get(1)?, text: row.get(2)? })
}

pub(super) fn receipts(connection: &Connection, query: &Query) -> Result<Vec<StoredReceipt>, StoreError> {
    let after = query.after_seq.map(clamp);
    let since = query.since.map(clamp);
    let outcome = query.outcome.map(crate::call::Outcome::to_integer);
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let mut demand = |condition, value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(after) = &after {
        // Receipt number n is leaf n - 1.
        demand("leaf >= ?", after);
    }
    if let Some(since) = &since {
        demand("timestamp >= ?", since);
    }
    if let Some(outcome) = &outcome {
        demand("outcome = ?", outcome);
    }
    if let Some(tool) = &query.tool {
        demand("tool = ?", tool);
    }
    if let Some(server) = &query.server {
        demand("server = ?", server);
    }
    if let Some(capability_id) = &query.capability_id {
        demand("capability_id = ?", capability_id);
    }
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let limit = query.newest.map_or(-1, |newest| i64::try_from(newest).unwrap_or(i64::MAX));
    values.push(&limit);
    let mut statement = connection
        .prepare(&format!("SELECT leaf, id, text FROM receipts {filter} ORDER BY leaf DESC LIMIT ?"))?;
    let rows = statement.query_map(values.as_slice(), receipt_from_row)?;
    let mut found = rows.collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    Ok(found)
}

/// SQLite's integers are signed; nothing stored is above the largest of them.
fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn inclusion(connection: &Connection, id: &str, at: ProofAt) -> Result<Inclusion, StoreError> {
    let receipt = receipt(connection, id)?.ok_or_else(|| StoreError::UnknownReceipt { id: id.to_owned() })?;
    let leaf_index = receipt.seq - 1;
    let (tree_size, root) = match at {
        ProofAt::Head => head(connection).map(|head| (head.size, head.root))?,
        ProofAt::Checkpoint(seq) => {
            let found = checkpoint(connection, seq)?.ok_or(StoreError::UnknownCheckpoint { seq })?;
            (found.tree_size, found.root)
        }
    };
    if leaf_index >= tree_size {
        return Err(StoreError::NoProof {
            detail: format!("receipt {} is newer than the checkpoint, which covers {tree_size}", receipt.seq),
        });
    }
    let audit_path =
        inclusion_proof::<StoreError, _>(tree_size, leaf_index, |node| nodes::node(connection, node))?;
    Ok(Inclusion { leaf_index, leaf_hash: leaf_hash(receipt.text.as_bytes()), tree_size, root, audit_path })
}

pub(super) fn consistency(
    connection: &Connection,
    old: u64,
    new: u64,
) -> Result<Vec<MerkleHash>, StoreError> {
    let size = head(connection)?.size;
    if new > size {
        return Err(StoreError::NoProof { detail: format!("the log has {size} receipts, not {new}") });
    }
    consistency_proof::<StoreError, _>(old, new, |node| nodes::node(connection, node))
}

pub(super) fn checkpoint(connection: &Connection, seq: u64) -> Result<Option<StoredCheckpoint>, StoreError> {
    let found = connection
        .prepare_cached("SELECT seq, size, root, text FROM checkpoints WHERE seq = ?1")?
        .query_row([clamp(seq)], checkpoint_from_row)
        .optional()?;
    Ok(found)
}

pub(super) fn latest_checkpoint(connection: &Connection) -> Result<Option<StoredCheckpoint>, StoreError> {
    let found = connection
        .prepare_cached("SELECT seq, size, root, text FROM checkpoints ORDER BY seq DESC LIMIT 1")?
        .query_row([], checkpoint_from_row)
        .optional()?;
    Ok(found)
}

pub(super) fn checkpoints(connection: &Connection) -> Result<Vec<StoredCheckpoint>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT seq, size, root, text FROM checkpoints ORDER BY seq")?;
    let rows = statement.query_map([], checkpoint_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn checkpoint_from_row(row: &Row<'_>) -> rusqlite::Result<StoredCheckpoint> {
    Ok(StoredCheckpoint {
        seq: row.get(0)?,
        tree_size: row.get(1)?,
        root: MerkleHash::from_bytes(row.get(2)?),
        text: row.get(3)?,
    })
}

pub(super) fn token(connection: &Connection, id: &str) -> Result<Option<Token>, StoreError> {
    let found = connection
        .prepare_cached("SELECT id, digest, text FROM tokens WHERE id = ?1")?
        .query_row([id], |row| {
            let text: Arc<str> = row.get(2)?;
            Ok(Token { id: row.get(0)?, digest: Sha256Hex::from_bytes(row.get(1)?), text })
        })
        .optional()?;
    Ok(found)
}

pub(super) fn budget(connection: &Connection, id: &str, grant_index: u32) -> Result<BudgetUsage, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT settled, reserved FROM budgets WHERE capability_id = ?1 AND grant_index = ?2",
        )?
        .query_row((id, grant_index), |row| Ok(BudgetUsage { settled: row.get(0)?, reserved: row.get(1)? }))
        .optional()?;
    Ok(found.unwrap_or_default())
}
