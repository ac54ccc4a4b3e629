//! Making proofs from stored subtree hashes (RFC 6962 2.1.1 and 2.1.2).
//!
//! The lookup reports its own error type, so that a database failure reaches the caller as what it is.

use chio_json::MerkleHash;

use super::{MerkleFault, NodeId, node_hash, split};

/// The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf upwards.
///
/// `lookup` returns the hash of a complete subtree within the first `size` leaves; it is called at most
/// O(log² size) times.
///
/// # Errors
///
/// [`MerkleFault::OutOfRange`], or whatever the lookup reports.
pub fn inclusion_proof<E, L>(size: u64, index: u64, mut lookup: L) -> Result<Vec<MerkleHash>, E>
where
    E: From<MerkleFault>,
    L: FnMut(NodeId) -> Result<MerkleHash, E>,
{
    if index >= size {
        return Err(MerkleFault::OutOfRange { index, size }.into());
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_root(middle, end, &mut lookup)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, &mut lookup)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of the first `new` leaves starts with the tree of the first `old` leaves. Equal
/// sizes give the empty proof.
///
/// # Errors
///
/// [`MerkleFault::Sizes`] when `old` is 0 or above `new`, or whatever the lookup reports.
pub fn consistency_proof<E, L>(old: u64, new: u64, mut lookup: L) -> Result<Vec<MerkleHash>, E>
where
    E: From<MerkleFault>,
    L: FnMut(NodeId) -> Result<MerkleHash, E>,
{
    if old == 0 || old > new {
        return Err(MerkleFault::Sizes { old, new }.into());
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(middle, end, &mut lookup)?);
            end = middle;
        } else {
            path.push(range_root(start, middle, &mut lookup)?);
            start = middle;
        }
    }
    // The verifier knows the old root. When that root is one subtree of the new tree it need not be told
    // again.
    if start != 0 {
        path.push(range_root(start, end, &mut lookup)?);
    }
    path.reverse();
    Ok(path)
}

/// The root over the leaves `start..end`, where `start` is a multiple of the largest power of two within the
/// range.
fn range_root<E, L>(start: u64, end: u64, lookup: &mut L) -> Result<MerkleHash, E>
where
    L: FnMut(NodeId) -> Result<MerkleHash, E>,
{
    let mut subtrees = Vec::new();
    let mut from = start;
    while from < end {
        let level = (end - from).ilog2();
        // `ilog2` of a u64 is at most 63.
        subtrees
            .push(lookup(NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: from >> level })?);
        from += 1 << level;
    }
    let mut smallest_first = subtrees.into_iter().rev();
    let last = smallest_first.next().unwrap_or_else(super::empty_root);
    Ok(smallest_first.fold(last, |right, left| node_hash(&left, &right)))
}
