//! The second durable batch of a call: settle, close, append.

use chio_core::merkle::leaf_hash;
use chio_json::MerkleHash;

use super::batch::{Batch, Fault, Request};
use super::{limits, nodes};
use crate::call::{Committed, Completion, NewReceipt, Settlement, Ticket};
use crate::error::StoreError;

/// A receipt with its leaf, hashed where there are many threads and not where there is one.
pub(super) struct Append {
    receipt: NewReceipt,
    leaf: MerkleHash,
    ends: Option<(Ticket, Settlement)>,
}

impl From<NewReceipt> for Append {
    fn from(receipt: NewReceipt) -> Self {
        Self { leaf: leaf_hash(receipt.text.as_bytes()), receipt, ends: None }
    }
}

impl From<Completion> for Append {
    fn from(completion: Completion) -> Self {
        let Completion { ticket, settlement, receipt } = completion;
        Self { ends: Some((ticket, settlement)), ..Self::from(receipt) }
    }
}

impl Request for Append {
    type Answer = Committed;

    fn apply(self, batch: &mut Batch<'_>) -> Result<Committed, Fault> {
        let index = batch.state.tree.size();
        batch.insert_receipt(index, &self.receipt)?;
        if let Some((ticket, settlement)) = self.ends {
            if let Some(intent) = ticket.intent
                && !batch.close_intent(intent)?
            {
                batch.remove_receipt(index)?;
                return Err(Fault::Request(StoreError::IntentClosed));
            }
            for (capability_id, grant_index) in &ticket.charges {
                batch.settle(capability_id, *grant_index, settlement)?;
            }
        }
        batch.append_leaf(self.leaf)?;
        batch.changes.dirty = true;
        Ok(Committed { seq: index + 1, leaf_index: index, tree_size: index + 1 })
    }

    fn bytes(&self) -> usize {
        self.receipt.text.len()
    }

    fn check(&self) -> Result<(), StoreError> {
        limits::text("receipt id", &self.receipt.id)?;
        limits::text("receipt", &self.receipt.text)?;
        limits::integer("receipt's timestamp", self.receipt.timestamp)
    }
}

impl Batch<'_> {
    fn insert_receipt(&self, index: u64, receipt: &NewReceipt) -> Result<(), Fault> {
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO receipts (leaf, id, timestamp, outcome, capability_id, server, tool, text)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
            )?
            .execute((
                index,
                &receipt.id,
                receipt.timestamp,
                receipt.outcome.to_integer(),
                &receipt.capability_id,
                &receipt.server,
                &receipt.tool,
                &receipt.text,
            ))?;
        if inserted == 0 {
            return Err(Fault::Request(StoreError::DuplicateReceipt { id: receipt.id.clone() }));
        }
        Ok(())
    }

    /// Takes back a row of this transaction. Rare, so the usual case need not look before it inserts.
    fn remove_receipt(&self, index: u64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM receipts WHERE leaf = ?1")?.execute([index])?;
        Ok(())
    }

    fn close_intent(&self, intent: u64) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("DELETE FROM intents WHERE id = ?1")?.execute([intent])? == 1)
    }

    /// A reservation that is settled twice cannot go below zero; it is then counted as spent twice, never as free.
    fn settle(
        &self,
        capability_id: &str,
        grant_index: u32,
        settlement: Settlement,
    ) -> Result<(), StoreError> {
        let spent = match settlement {
            Settlement::Charge => 1,
            Settlement::Release => 0,
        };
        self.connection
            .prepare_cached(
                "UPDATE budgets SET reserved = max(reserved - 1, 0), settled = settled + ?3
                 WHERE capability_id = ?1 AND grant_index = ?2",
            )?
            .execute((capability_id, grant_index, spent))?;
        Ok(())
    }

    fn append_leaf(&mut self, leaf: MerkleHash) -> Result<(), StoreError> {
        let mut complete = Vec::with_capacity(4);
        self.state.tree.append(leaf, |node, hash| complete.push((node, hash)))?;
        let mut insert =
            self.connection.prepare_cached("INSERT INTO nodes (position, hash) VALUES (?1, ?2)")?;
        for (node, hash) in complete {
            insert.execute((nodes::position(node), hash.as_bytes()))?;
        }
        Ok(())
    }
}
