//! Durable receipts, intents, budgets, revocations and nonces.
//!
//! A kernel that decides about calls needs a memory that several processes share and that a crash cannot confuse. This
//! crate is that memory: the [`Store`] contract, and [`SqliteStore`], the embedded engine behind it.
//!
//! A call costs two durable batches. [`Store::admit`] looks again at everything that may have changed and takes what
//! the call consumes; [`Store::complete`] settles that, and appends the signed receipt as a leaf of an RFC 6962 tree.
//! Both return when the change is on disk. All that wait at the same moment share one transaction and one sync.

mod call;
mod chain;
mod error;
mod log;
mod memory;
mod sqlite;
mod store;

pub use call::{
    Admission, AdmissionOutcome, Charge, Committed, Completion, DeadIntent, NewReceipt, NonceClaim, Outcome,
    Refusal, Settlement, Ticket, Token,
};
pub use chain::verify_checkpoint;
pub use error::StoreError;
pub use log::{
    BudgetUsage, CheckpointInput, CheckpointSigner, CheckpointVerifier, FsckReport, Head, Inclusion, ProofAt,
    Query, Revocation, Stops, StoredCheckpoint, StoredReceipt,
};
pub use memory::MemoryStore;
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::Store;
