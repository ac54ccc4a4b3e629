//! The contract every engine keeps. `tests/contract.rs` states it as a suite that runs over `&dyn Store`.

use std::sync::Arc;

use async_trait::async_trait;
use chio_json::MerkleHash;
use tokio::sync::broadcast;

use crate::call::{Admission, AdmissionOutcome, Committed, Completion, DeadIntent, NewReceipt, Token};
use crate::error::StoreError;
use crate::log::{
    BudgetUsage, CheckpointSigner, CheckpointVerifier, FsckReport, Head, Inclusion, ProofAt, Query,
    Revocation, Stops, StoredCheckpoint, StoredReceipt,
};

/// Durable state of one or many kernels.
///
/// Every method that changes something returns only after the change is durable, and leaves everything as it was when
/// it returns an error. Nothing here reads a clock: the kernel passes its own.
#[async_trait]
pub trait Store: Send + Sync {
    /// Looks again at everything that may have changed since the kernel decided, and takes what the call needs:
    /// stop, revocation (the token and every ancestor), ids bound to tokens, nonce, budget, intent, in this order.
    /// All or nothing.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too much work waits; anything else when the store cannot answer. The call must not
    /// run then.
    async fn admit(&self, admission: Admission) -> Result<AdmissionOutcome, StoreError>;

    /// Settles the reservation, closes the intent and appends the receipt, all or nothing. Waits for room instead of
    /// answering `Busy` when the queue is full: the tool has run, its receipt must not be dropped. For the same reason
    /// run it in a task of its own when the caller may go away: a future dropped while it waits for room does nothing.
    ///
    /// # Errors
    /// [`StoreError::DuplicateReceipt`], [`StoreError::IntentClosed`], or the store cannot be used; nothing is
    /// acknowledged then.
    async fn complete(&self, completion: Completion) -> Result<Committed, StoreError>;

    /// Appends the receipt of a call that was never admitted.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too much work waits, [`StoreError::DuplicateReceipt`], or the store cannot be used.
    async fn append(&self, receipt: NewReceipt) -> Result<Committed, StoreError>;

    /// The intents whose processes are gone. Their budgets stay charged.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn dead_intents(&self) -> Result<Vec<DeadIntent>, StoreError>;

    /// Revokes a capability for good. Returns false when it was revoked already.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn revoke(&self, revocation: Revocation) -> Result<bool, StoreError>;

    /// The first of `ids` that is known to be revoked. Answers from memory: a revocation made by another process is
    /// seen a moment later, and in any case by [`Store::admit`].
    fn first_revoked<'a>(&self, ids: &[&'a str]) -> Option<&'a str>;

    /// Every revocation made from now on, by this process or another, once. A receiver that lags behind must ask
    /// [`Store::first_revoked`] again about what it holds.
    fn watch_revocations(&self) -> broadcast::Receiver<Revocation>;

    /// Stops one agent, or everything. Returns false when it was stopped already. `at` is Unix seconds.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn stop(&self, agent: Option<String>, at: u64) -> Result<bool, StoreError>;

    /// Lifts the stop of one agent, or the one over everything. Returns false when there was none.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn resume(&self, agent: Option<String>) -> Result<bool, StoreError>;

    /// The stops known to be in force. Answers from memory; [`Store::admit`] looks again.
    fn stops(&self) -> Arc<Stops>;

    /// The size and root of the log.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn head(&self) -> Result<Head, StoreError>;

    /// The receipt with this id.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn receipt(&self, id: &str) -> Result<Option<StoredReceipt>, StoreError>;

    /// The receipts that match, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn receipts(&self, query: Query) -> Result<Vec<StoredReceipt>, StoreError>;

    /// Proves that a receipt is in the log.
    ///
    /// # Errors
    /// [`StoreError::UnknownReceipt`], [`StoreError::UnknownCheckpoint`], [`StoreError::NoProof`] when the checkpoint
    /// is older than the receipt, or the store cannot be read.
    async fn inclusion(&self, receipt_id: &str, at: ProofAt) -> Result<Inclusion, StoreError>;

    /// Proves that the first `old_size` receipts of the first `new_size` are what they were (RFC 6962 section 2.1.2).
    ///
    /// # Errors
    /// [`StoreError::NoProof`] unless `0 < old_size <= new_size <=` the size of the log; or the store cannot be read.
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<MerkleHash>, StoreError>;

    /// Signs and stores a checkpoint over everything appended so far, and moves the anchor. `None` when nothing was
    /// appended since the last one. The signer runs inside the transaction, so that two processes never fork the
    /// chain; it must be quick and must not call the store.
    ///
    /// # Errors
    /// [`StoreError::Signer`], or the store cannot be written. A checkpoint that was committed is returned even when
    /// the anchor could not be moved at once; the store then refuses to change again before it is.
    async fn checkpoint(&self, sign: CheckpointSigner) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreError>;

    /// The newest checkpoint.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn latest_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// The token bound to this id, if it was ever admitted or was the ancestor of one that was.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn token(&self, capability_id: &str) -> Result<Option<Token>, StoreError>;

    /// What a grant has been charged.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn budget(&self, capability_id: &str, grant_index: u32) -> Result<BudgetUsage, StoreError>;

    /// Examines everything: every receipt, node, root, checkpoint, intent and counter.
    ///
    /// # Errors
    /// The store cannot be read at all. What is wrong with its contents stands in the report.
    async fn fsck(&self, verify: CheckpointVerifier) -> Result<FsckReport, StoreError>;
}
