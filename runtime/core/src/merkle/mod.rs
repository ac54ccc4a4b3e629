//! The receipt log as an RFC 6962 tree: append in constant memory, prove that a receipt is in it, prove that
//! it only grew.
//!
//! The tree is never held whole. A log keeps the hash of every *complete* subtree under its [`NodeId`] (about
//! two per leaf) and the [`Frontier`] of the moment; proofs are assembled from those stored nodes, and a
//! verifier needs nothing but the proof. An odd node is carried up unchanged, so the tree over n leaves is
//! the one of RFC 6962 section 2.1.

mod frontier;
mod proof;
mod receipt;
mod verify;

pub use frontier::{Frontier, NodeId};
pub use proof::{consistency_proof, inclusion_proof};
pub use receipt::{prove_receipt, receipt_leaf, verify_receipt};
pub use verify::{verify_consistency, verify_inclusion};

use std::borrow::Cow;

use chio_json::MerkleHash;
use chio_spec::ErrorCode;
use sha2::{Digest, Sha256};

/// Why a tree operation or a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleFault {
    /// The tree reached the largest size that the protocol can write (2^53 − 1 leaves).
    #[error("the tree has {size} leaves and cannot grow beyond 2^53 - 1")]
    Full {
        /// Leaves in the tree.
        size: u64,
    },
    /// The peaks do not belong to a tree of this size.
    #[error(
        "a tree of {size} leaves has {expected} peaks, but {found} were given; the stored head is damaged"
    )]
    PeakCount {
        /// Leaves in the tree.
        size: u64,
        /// One peak for each bit that is set in the size.
        expected: u32,
        /// Peaks given.
        found: usize,
    },
    /// The leaf lies outside the tree.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    OutOfRange {
        /// Position of the leaf, from 0.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The two sizes cannot be compared. From size 0 everything is consistent, so such a proof would prove
    /// nothing.
    #[error(
        "no consistency proof exists from size {old} to size {new}; the old size must be at least 1 and not above the new one"
    )]
    Sizes {
        /// Leaves in the older tree.
        old: u64,
        /// Leaves in the newer tree.
        new: u64,
    },
    /// A stored subtree hash is missing.
    #[error("the hash of subtree {index} at level {level} is missing from the store")]
    MissingNode {
        /// Height above the leaves.
        level: u8,
        /// Position within the level, from 0.
        index: u64,
    },
    /// The proof has the wrong number of hashes for these sizes.
    #[error("the proof holds {found} hashes where {expected} are needed")]
    Length {
        /// Hashes that the sizes call for.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to the root {computed}, not to {expected}")]
    Root {
        /// The root that was promised.
        expected: MerkleHash,
        /// The root that the proof gives.
        computed: MerkleHash,
    },
    /// The proof speaks about another leaf, tree or root than it was asked to prove.
    #[error("the proof contradicts itself or the checkpoint in `{field}`")]
    Mismatch {
        /// The field that differs.
        field: &'static str,
    },
    /// The receipt has no canonical text, so it has no leaf.
    #[error("the receipt has no canonical text and cannot be a leaf: {0}")]
    Leaf(String),
}

impl MerkleFault {
    /// The registry entry of this fault: where the kernel meets one, its own log is at fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::StoreIntegrityViolated
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed("log proof does not hold")
    }
}

/// The largest tree: integers on the wire end at 2^53 − 1.
pub const MAX_SIZE: u64 = (1 << 53) - 1;

/// The hash of one leaf: SHA-256 of 0x00 and the leaf's bytes (RFC 6962 2.1).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> MerkleHash {
    MerkleHash::from_bytes(Sha256::new_with_prefix([0x00]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node: SHA-256 of 0x01, the left and the right hash (RFC 6962 2.1).
#[must_use]
pub fn node_hash(left: &MerkleHash, right: &MerkleHash) -> MerkleHash {
    let hasher = Sha256::new_with_prefix([0x01]);
    MerkleHash::from_bytes(
        hasher.chain_update(left.as_bytes()).chain_update(right.as_bytes()).finalize().into(),
    )
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 2.1).
#[must_use]
pub fn empty_root() -> MerkleHash {
    MerkleHash::from_bytes(Sha256::digest([]).into())
}

/// The largest power of two below `size`, where RFC 6962 splits a tree of `size` ≥ 2 leaves.
fn split(size: u64) -> u64 {
    debug_assert!(size >= 2, "a tree of one leaf is not split");
    1 << (size.saturating_sub(1).max(1).ilog2())
}
