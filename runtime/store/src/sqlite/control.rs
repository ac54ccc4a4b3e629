//! What an operator orders: revocations, stops and checkpoints.

use std::sync::Arc;

use super::batch::{Batch, Fault, Request};
use super::{limits, reads};
use crate::error::StoreError;
use crate::log::{CheckpointInput, CheckpointSigner, Revocation, Stops, StoredCheckpoint};

impl Request for Revocation {
    type Answer = bool;

    fn apply(self, batch: &mut Batch<'_>) -> Result<bool, Fault> {
        if batch.is_revoked(&self.capability_id) {
            return Ok(false);
        }
        batch.state.row.revocations += 1;
        batch
            .connection
            .prepare_cached(
                "INSERT INTO revocations (seq, capability_id, reason, revoked_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((batch.state.row.revocations, &self.capability_id, &self.reason, self.revoked_at))?;
        batch.state.row.control += 1;
        batch.changes.dirty = true;
        batch.changes.revoked.push(self);
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.capability_id.len() + self.reason.len()
    }

    fn check(&self) -> Result<(), StoreError> {
        limits::text("capability id", &self.capability_id)?;
        limits::text("reason", &self.reason)?;
        limits::integer("time of the revocation", self.revoked_at)
    }
}

/// Sets a stop (`since` is when) or lifts it (`since` is `None`).
pub(super) struct SetStop {
    pub(super) agent: Option<String>,
    pub(super) since: Option<u64>,
}

impl Request for SetStop {
    type Answer = bool;

    fn apply(self, batch: &mut Batch<'_>) -> Result<bool, Fault> {
        let mut stops = Stops::clone(&batch.stops());
        let standing = match &self.agent {
            Some(agent) => stops.agents.contains_key(agent),
            None => stops.everything.is_some(),
        };
        if standing == self.since.is_some() {
            return Ok(false);
        }
        match self.since {
            Some(since) => batch
                .connection
                .prepare_cached("INSERT INTO stops (agent, stopped_at) VALUES (?1, ?2)")?
                .execute((&self.agent, since))?,
            None => batch
                .connection
                .prepare_cached("DELETE FROM stops WHERE agent IS ?1")?
                .execute([&self.agent])?,
        };
        match (self.agent, self.since) {
            (None, since) => stops.everything = since,
            (Some(agent), Some(since)) => drop(stops.agents.insert(agent, since)),
            (Some(agent), None) => drop(stops.agents.remove(&agent)),
        }
        batch.state.row.control += 1;
        batch.changes.stops = Some(Arc::new(stops));
        batch.changes.dirty = true;
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.agent.as_ref().map_or(0, String::len)
    }

    fn check(&self) -> Result<(), StoreError> {
        limits::text("agent", self.agent.as_deref().unwrap_or_default())?;
        limits::integer("time of the stop", self.since.unwrap_or_default())
    }
}

/// Signs the log as it stands in this transaction.
pub(super) struct Checkpoint(pub(super) CheckpointSigner);

impl Request for Checkpoint {
    type Answer = Option<StoredCheckpoint>;

    fn apply(self, batch: &mut Batch<'_>) -> Result<Option<StoredCheckpoint>, Fault> {
        let previous = match batch.changes.checkpoint.clone() {
            Some(pending) => Some(pending),
            None => reads::latest_checkpoint(batch.connection)?,
        };
        let (seq, covered) = previous.as_ref().map_or((0, 0), |previous| (previous.seq, previous.tree_size));
        let tree_size = batch.state.tree.size();
        if tree_size == covered {
            return Ok(None);
        }
        let root = batch.state.tree.root();
        let input = CheckpointInput {
            seq: seq + 1,
            batch_start_seq: covered + 1,
            batch_end_seq: tree_size,
            tree_size,
            root,
            previous: previous.map(|previous| previous.text),
        };
        let text = (self.0)(input).map_err(|reason| Fault::Request(StoreError::Signer { reason }))?;
        let checkpoint = StoredCheckpoint { seq: seq + 1, tree_size, root, text: text.into() };
        batch
            .connection
            .prepare_cached("INSERT INTO checkpoints (seq, size, root, text) VALUES (?1, ?2, ?3, ?4)")?
            .execute((checkpoint.seq, tree_size, root.as_bytes(), &checkpoint.text))?;
        batch.changes.dirty = true;
        batch.changes.checkpoint = Some(checkpoint.clone());
        Ok(Some(checkpoint))
    }

    fn bytes(&self) -> usize {
        0
    }

    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
