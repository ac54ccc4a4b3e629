//! Checking proofs, from nothing but the proof and the roots.

use chio_json::MerkleHash;

use super::{MerkleFault, node_hash};

/// Checks that `leaf` is number `index` (from 0) of the tree with `size` leaves and the root `root`.
///
/// # Errors
///
/// The reason why the proof is refused: [`MerkleFault::OutOfRange`], [`MerkleFault::Length`] or
/// [`MerkleFault::Root`].
pub fn verify_inclusion(
    leaf: &MerkleHash,
    index: u64,
    size: u64,
    path: &[MerkleHash],
    root: &MerkleHash,
) -> Result<(), MerkleFault> {
    if index >= size {
        return Err(MerkleFault::OutOfRange { index, size });
    }
    let shape = Shape::of(index, size);
    if path.len() != shape.inner + shape.border {
        return Err(MerkleFault::Length { expected: shape.inner + shape.border, found: path.len() });
    }
    let (inner, border) = path.split_at(shape.inner);
    let computed = chain_border(chain_inner(*leaf, inner, index), border);
    compare(root, computed)
}

/// Checks that the tree of `new` leaves with root `new_root` starts with the tree of `old` leaves with root
/// `old_root`. A proof from size 0 is refused, because it would prove nothing.
///
/// # Errors
///
/// The reason why the proof is refused: [`MerkleFault::Sizes`], [`MerkleFault::Length`] or
/// [`MerkleFault::Root`].
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &MerkleHash,
    new_root: &MerkleHash,
    path: &[MerkleHash],
) -> Result<(), MerkleFault> {
    if old == 0 || old > new {
        return Err(MerkleFault::Sizes { old, new });
    }
    if old == new {
        if !path.is_empty() {
            return Err(MerkleFault::Length { expected: 0, found: path.len() });
        }
        return compare(new_root, *old_root);
    }

    let shape = Shape::of(old - 1, new);
    let level = old.trailing_zeros();
    // The old tree's smallest complete subtree, of 2^level leaves, is where both roots start. When the old
    // tree is that subtree alone, its root is known and not part of the proof.
    let (seed, rest) = if old == 1 << level {
        (*old_root, path)
    } else {
        match path.split_first() {
            Some((seed, rest)) => (*seed, rest),
            None => return Err(MerkleFault::Length { expected: 1, found: 0 }),
        }
    };
    let skipped = usize::try_from(level).unwrap_or(usize::MAX);
    let inner_length = shape.inner.saturating_sub(skipped);
    if rest.len() != inner_length + shape.border {
        let given_seed = path.len() - rest.len();
        return Err(MerkleFault::Length {
            expected: inner_length + shape.border + given_seed,
            found: path.len(),
        });
    }
    let (inner, border) = rest.split_at(inner_length);
    let position = (old - 1) >> level;

    let computed_old = chain_border(chain_inner_left(seed, inner, position), border);
    compare(old_root, computed_old)?;
    let computed_new = chain_border(chain_inner(seed, inner, position), border);
    compare(new_root, computed_new)
}

fn compare(expected: &MerkleHash, computed: MerkleHash) -> Result<(), MerkleFault> {
    if *expected == computed { Ok(()) } else { Err(MerkleFault::Root { expected: *expected, computed }) }
}

/// The two parts of the path from a leaf to the root: `inner` levels at which the leaf's side is complete and
/// each has a sibling, then the `border` along the right edge, where only left siblings exist.
struct Shape {
    inner: usize,
    border: usize,
}

impl Shape {
    fn of(index: u64, size: u64) -> Shape {
        let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or(0).count_ones();
        // Both are at most 64.
        Shape {
            inner: usize::try_from(inner).unwrap_or(usize::MAX),
            border: usize::try_from(border).unwrap_or(usize::MAX),
        }
    }
}

fn chain_inner(seed: MerkleHash, path: &[MerkleHash], index: u64) -> MerkleHash {
    path.iter().enumerate().fold(seed, |hash, (level, sibling)| {
        if (index >> level) & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
    })
}

/// Like [`chain_inner`], but leaves out the siblings on the right: they came after the old tree.
fn chain_inner_left(seed: MerkleHash, path: &[MerkleHash], index: u64) -> MerkleHash {
    path.iter().enumerate().fold(seed, |hash, (level, sibling)| {
        if (index >> level) & 1 == 1 { node_hash(sibling, &hash) } else { hash }
    })
}

fn chain_border(seed: MerkleHash, path: &[MerkleHash]) -> MerkleHash {
    path.iter().fold(seed, |hash, left| node_hash(left, &hash))
}
