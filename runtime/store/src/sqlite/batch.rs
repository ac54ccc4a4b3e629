//! One transaction in the making: the work that waited, applied one after the other.
//!
//! Each piece of work checks everything before it writes anything, so a refusal leaves its neighbours alone and needs
//! no savepoint. An error of the database itself ends the whole transaction, and nothing of it is acknowledged.

use std::collections::HashMap;
use std::sync::Arc;

use chio_json::Sha256Hex;
use rusqlite::Connection;
use uuid::Uuid;

use super::state::State;
use super::view::View;
use crate::error::StoreError;
use crate::log::{Revocation, Stops, StoredCheckpoint};

/// What stays the same from one transaction to the next.
pub(super) struct Context<'a> {
    pub(super) instance: Uuid,
    pub(super) nonce_capacity: u64,
    pub(super) view: &'a View,
    /// Ids known to be bound. A binding is never undone, so the cache may be incomplete but never wrong.
    pub(super) bindings: &'a HashMap<String, Sha256Hex>,
}

/// The transaction and what it will have changed.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) context: Context<'a>,
    pub(super) state: State,
    pub(super) changes: Changes,
}

/// What must be known after the commit.
#[derive(Default)]
pub(super) struct Changes {
    /// Nothing is committed, and no sync paid for, while this is false.
    pub(super) dirty: bool,
    /// True once expired nonces have been swept in this transaction.
    pub(super) swept: bool,
    pub(super) bound: Vec<(String, Sha256Hex)>,
    pub(super) revoked: Vec<Revocation>,
    pub(super) stops: Option<Arc<Stops>>,
    pub(super) checkpoint: Option<StoredCheckpoint>,
}

/// Why a piece of work got no answer.
pub(super) enum Fault {
    /// The request is at fault. It wrote nothing; its neighbours go on.
    Request(StoreError),
    /// The database is at fault. The transaction must end here.
    Transaction(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Transaction(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Transaction(error.into())
    }
}

/// A piece of work for the writer.
pub(super) trait Request: Send + 'static {
    type Answer: Send + 'static;

    /// Does the work inside the transaction.
    fn apply(self, batch: &mut Batch<'_>) -> Result<Self::Answer, Fault>;

    /// Whether the work most likely changes nothing. Such work is done first, and answered without waiting for the
    /// others' commit where it changed nothing indeed.
    fn only_looks(&self) -> bool {
        false
    }

    /// Roughly how much memory it holds while it waits.
    fn bytes(&self) -> usize;

    /// Refuses what the database could not hold, before anything waits.
    fn check(&self) -> Result<(), StoreError>;
}

impl Batch<'_> {
    pub(super) fn is_revoked(&self, id: &str) -> bool {
        self.context.view.is_revoked(id)
            || self.changes.revoked.iter().any(|pending| pending.capability_id == id)
    }

    pub(super) fn stops(&self) -> Arc<Stops> {
        self.changes.stops.clone().unwrap_or_else(|| self.context.view.stops())
    }
}
