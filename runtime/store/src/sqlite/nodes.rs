//! Where the complete subtrees of the log stand in the database.
//!
//! Numbering subtrees in the order in which they become complete (a leaf, then the parents it completes) makes the
//! position computable from level and index, gives each node one short integer key, and lets every append land at
//! the end of the table. A tree of n leaves fills the positions 0 to 2n − popcount(n) − 1 without a gap.

use chio_core::merkle::{Frontier, MerkleFault, NodeId};
use chio_json::MerkleHash;
use rusqlite::{Connection, OptionalExtension};

use crate::error::StoreError;

/// The number of complete subtrees in a log of `size` receipts.
pub(super) fn count(size: u64) -> u64 {
    2 * size - u64::from(size.count_ones())
}

/// The row of one subtree: all that were complete before its last leaf came, then one per level below it.
pub(super) fn position(node: NodeId) -> u64 {
    let last_leaf = ((node.index + 1) << node.level) - 1;
    count(last_leaf) + u64::from(node.level)
}

/// The hash of one complete subtree.
pub(super) fn node(connection: &Connection, node: NodeId) -> Result<MerkleHash, StoreError> {
    let hash: Option<[u8; 32]> = connection
        .prepare_cached("SELECT hash FROM nodes WHERE position = ?1")?
        .query_row([position(node)], |row| row.get(0))
        .optional()?;
    hash.map(MerkleHash::from_bytes)
        .ok_or_else(|| MerkleFault::MissingNode { level: node.level, index: node.index }.into())
}

/// The right edge of the log when it had `size` receipts.
pub(super) fn frontier(connection: &Connection, size: u64) -> Result<Frontier, StoreError> {
    let mut peaks = Vec::new();
    let mut from = 0;
    for level in (0..u64::BITS).rev() {
        if size & (1 << level) != 0 {
            // `level` is below 64.
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            peaks.push(node(connection, NodeId { level, index: from >> level })?);
            from += 1 << level;
        }
    }
    Ok(Frontier::from_peaks(size, peaks)?)
}
