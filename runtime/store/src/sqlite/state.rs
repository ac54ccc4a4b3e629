//! The one row that says how far the store has come. It is read again at the start of every transaction, because
//! another process may have moved it.

use chio_core::merkle::Frontier;
use chio_json::MerkleHash;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::head::HeadRecord;
use super::nodes;
use crate::error::StoreError;

/// The row, together with the right edge of the log.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) row: StateRow,
    pub(super) tree: Frontier,
}

/// The row as it stands in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    /// Tells one store from another.
    pub(super) store: Uuid,
    /// Grows by one with every transaction that changes anything.
    pub(super) generation: u64,
    pub(super) size: u64,
    pub(super) root: MerkleHash,
    pub(super) next_intent: u64,
    pub(super) nonces: u64,
    pub(super) revocations: u64,
    /// Grows with every change of a revocation or a stop.
    pub(super) control: u64,
}

impl StateRow {
    pub(super) fn read(connection: &Connection) -> Result<Self, StoreError> {
        let mut statement = connection.prepare_cached(
            "SELECT store, generation, size, root, next_intent, nonces, revocations, control FROM state",
        )?;
        Ok(statement.query_row([], Self::from_row)?)
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            store: Uuid::from_bytes(row.get(0)?),
            generation: row.get(1)?,
            size: row.get(2)?,
            root: MerkleHash::from_bytes(row.get(3)?),
            next_intent: row.get(4)?,
            nonces: row.get(5)?,
            revocations: row.get(6)?,
            control: row.get(7)?,
        })
    }

    pub(super) fn head(&self) -> HeadRecord {
        HeadRecord { store: self.store, generation: self.generation, size: self.size, root: self.root }
    }
}

impl State {
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreError> {
        let row = StateRow::read(connection)?;
        Ok(Self { row, tree: nodes::frontier(connection, row.size)? })
    }

    /// Loads again when somebody else changed the store since.
    pub(super) fn refresh(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let row = StateRow::read(connection)?;
        if row != self.row {
            *self = Self { row, tree: nodes::frontier(connection, row.size)? };
        }
        Ok(())
    }

    /// Writes the row for the next generation.
    pub(super) fn save(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let row = &mut self.row;
        row.generation += 1;
        if row.size != self.tree.size() {
            row.size = self.tree.size();
            row.root = self.tree.root();
        }
        connection
            .prepare_cached(
                "UPDATE state SET generation = ?1, size = ?2, root = ?3, next_intent = ?4, nonces = ?5,
                 revocations = ?6, control = ?7",
            )?
            .execute((
                row.generation,
                row.size,
                row.root.as_bytes(),
                row.next_intent,
                row.nonces,
                row.revocations,
                row.control,
            ))?;
        Ok(())
    }
}
