//! The right edge of the tree: everything an append needs.

use chio_json::MerkleHash;

use super::{MAX_SIZE, MerkleFault, empty_root, node_hash};

/// A complete subtree: the leaves from `index << level` to `(index + 1) << level`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Height above the leaves; a leaf has level 0.
    pub level: u8,
    /// Position within the level, from 0.
    pub index: u64,
}

/// The peaks of a growing tree: one complete subtree for each bit set in the size, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<MerkleHash>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// Takes up a stored tree.
    ///
    /// # Errors
    ///
    /// [`MerkleFault::PeakCount`] when the number of peaks does not fit the size, [`MerkleFault::Full`] when
    /// no tree may have that size.
    pub fn from_peaks(size: u64, peaks: Vec<MerkleHash>) -> Result<Frontier, MerkleFault> {
        if size > MAX_SIZE {
            return Err(MerkleFault::Full { size });
        }
        let expected = size.count_ones();
        if u32::try_from(peaks.len()) != Ok(expected) {
            return Err(MerkleFault::PeakCount { size, expected, found: peaks.len() });
        }
        Ok(Frontier { size, peaks })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, the largest subtree first: what a store keeps to go on later.
    #[must_use]
    pub fn peaks(&self) -> &[MerkleHash] {
        &self.peaks
    }

    /// Adds one leaf hash and returns its index. `keep` is told every subtree that became complete, the leaf
    /// first: exactly the nodes from which proofs are made later.
    ///
    /// # Errors
    ///
    /// [`MerkleFault::Full`]; the tree is then unchanged.
    pub fn append(
        &mut self,
        leaf: MerkleHash,
        mut keep: impl FnMut(NodeId, MerkleHash),
    ) -> Result<u64, MerkleFault> {
        if self.size >= MAX_SIZE {
            return Err(MerkleFault::Full { size: self.size });
        }
        let index = self.size;
        let mut node = NodeId { level: 0, index };
        let mut hash = leaf;
        keep(node, hash);
        while node.index & 1 == 1 {
            // An odd index has its left sibling as the smallest peak.
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            node = NodeId { level: node.level + 1, index: node.index >> 1 };
            keep(node, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
        Ok(index)
    }

    /// The root over all leaves (RFC 6962 2.1).
    #[must_use]
    pub fn root(&self) -> MerkleHash {
        let mut smallest_first = self.peaks.iter().rev();
        let Some(last) = smallest_first.next() else { return empty_root() };
        smallest_first.fold(*last, |right, left| node_hash(left, &right))
    }
}
