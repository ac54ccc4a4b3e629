//! What can be read back: receipts, proofs, checkpoints, revocations, stops and counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use chio_json::MerkleHash;

use crate::call::Outcome;

/// Which receipts to return. Every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Receipts with this verdict.
    pub outcome: Option<Outcome>,
    /// Receipts that name this tool.
    pub tool: Option<String>,
    /// Receipts that name this tool server.
    pub server: Option<String>,
    /// Receipts that name this capability.
    pub capability_id: Option<String>,
    /// Receipts made at this time or later, Unix seconds.
    pub since: Option<u64>,
    /// Receipts behind this number in the log.
    pub after_seq: Option<u64>,
    /// At most so many: the newest ones. They still come oldest first.
    pub newest: Option<usize>,
}

/// A receipt as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Its number, counted from 1.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// Exactly the text that was appended.
    pub text: String,
}

/// The size and the root hash of the log (RFC 6962 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of receipts.
    pub size: u64,
    /// The Merkle tree hash over all of them; the hash of the empty string when there are none.
    pub root: MerkleHash,
}

/// The tree an inclusion proof leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofAt {
    /// The log as it is now.
    Head,
    /// The tree of the checkpoint with this number.
    Checkpoint(u64),
}

/// An audit path from one receipt to one root (RFC 6962 section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The receipt's leaf, counted from 0.
    pub leaf_index: u64,
    /// The hash of that leaf.
    pub leaf_hash: MerkleHash,
    /// The size of the tree the path leads to.
    pub tree_size: u64,
    /// The root of that tree.
    pub root: MerkleHash,
    /// The siblings, bottom-up.
    pub audit_path: Vec<MerkleHash>,
}

/// What a checkpoint has to say. The signer turns it into text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointInput {
    /// The number of the checkpoint, counted from 1.
    pub seq: u64,
    /// The first receipt it adds, counted from 1.
    pub batch_start_seq: u64,
    /// The last receipt it adds.
    pub batch_end_seq: u64,
    /// The number of receipts it covers.
    pub tree_size: u64,
    /// The root over them.
    pub root: MerkleHash,
    /// The signed text of the checkpoint before, whose hash the new one names.
    pub previous: Option<Arc<str>>,
}

/// Signs a checkpoint: returns the text to be stored, or the reason why there is none.
pub type CheckpointSigner = Box<dyn FnOnce(CheckpointInput) -> Result<String, String> + Send>;

/// Judges a stored checkpoint by itself and against the one before it; returns what is wrong with it.
pub type CheckpointVerifier =
    Box<dyn Fn(&StoredCheckpoint, Option<&StoredCheckpoint>) -> Result<(), String> + Send>;

/// A checkpoint as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Its number, counted from 1.
    pub seq: u64,
    /// The number of receipts it covers.
    pub tree_size: u64,
    /// The root over them.
    pub root: MerkleHash,
    /// The signed text.
    pub text: Arc<str>,
}

/// A revoked capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The revoked id. Its descendants fall with it.
    pub capability_id: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// When, Unix seconds.
    pub revoked_at: u64,
}

/// The emergency stops in force, with the time each was set, Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Set when everything is stopped.
    pub everything: Option<u64>,
    /// The agents that are stopped.
    pub agents: BTreeMap<String, u64>,
}

impl Stops {
    /// True when this agent's calls must not run.
    #[must_use]
    pub fn covers(&self, agent: &str) -> bool {
        self.everything.is_some() || self.agents.contains_key(agent)
    }
}

/// What a grant has been charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetUsage {
    /// Invocations that ended.
    pub settled: u64,
    /// Invocations that are running, or whose process died before they ended.
    pub reserved: u64,
}

/// What a complete examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Receipts read and hashed.
    pub receipts: u64,
    /// Tree nodes recomputed.
    pub nodes: u64,
    /// Checkpoints verified.
    pub checkpoints: u64,
    /// Intents that are open.
    pub open_intents: u64,
    /// Revocations on record.
    pub revocations: u64,
    /// The root the receipts lead to.
    pub root: Option<MerkleHash>,
    /// Everything that is wrong, in full sentences. Empty when the store is clean.
    pub problems: Vec<String>,
}

impl FsckReport {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}
