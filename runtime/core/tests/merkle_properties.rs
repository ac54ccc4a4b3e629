//! The incremental tree against a naive one, and proofs against every way of getting them wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::collections::HashMap;

use chio_core::merkle::{
    Frontier, MAX_SIZE, MerkleFault, NodeId, consistency_proof, empty_root, inclusion_proof, leaf_hash,
    node_hash, verify_consistency, verify_inclusion,
};
use chio_json::MerkleHash;
use proptest::prelude::*;

/// RFC 6962 section 2.1, word for word.
fn naive_root(leaves: &[MerkleHash]) -> MerkleHash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

struct Log {
    leaves: Vec<MerkleHash>,
    nodes: HashMap<NodeId, MerkleHash>,
    frontier: Frontier,
}

impl Log {
    fn of(size: usize) -> Log {
        let mut log = Log { leaves: Vec::new(), nodes: HashMap::new(), frontier: Frontier::new() };
        for number in 0..size {
            let leaf = leaf_hash(&number.to_be_bytes());
            log.leaves.push(leaf);
            let nodes = &mut log.nodes;
            let index =
                log.frontier.append(leaf, |id, hash| assert_eq!(nodes.insert(id, hash), None)).unwrap();
            assert_eq!(index, number as u64);
        }
        log
    }

    fn lookup(&self, id: NodeId) -> Result<MerkleHash, MerkleFault> {
        let NodeId { level, index } = id;
        self.nodes.get(&id).copied().ok_or(MerkleFault::MissingNode { level, index })
    }

    fn root(&self, size: usize) -> MerkleHash {
        naive_root(&self.leaves[..size])
    }
}

#[test]
fn the_frontier_is_the_naive_tree_at_every_size() {
    let mut frontier = Frontier::new();
    let mut leaves = Vec::new();
    assert_eq!(frontier.root(), naive_root(&leaves));
    for number in 0..300_u64 {
        leaves.push(leaf_hash(&number.to_be_bytes()));
        frontier.append(leaves[leaves.len() - 1], |_, _| ()).unwrap();
        assert_eq!(frontier.root(), naive_root(&leaves), "{} leaves", leaves.len());
        let taken_up = Frontier::from_peaks(frontier.size(), frontier.peaks().to_vec()).unwrap();
        assert_eq!(taken_up, frontier);
    }
}

#[test]
fn every_complete_subtree_is_kept_once_and_is_right() {
    let log = Log::of(100);
    for (NodeId { level, index }, hash) in &log.nodes {
        let (from, to) = (index << level, (index + 1) << level);
        assert_eq!(*hash, naive_root(&log.leaves[from as usize..to as usize]));
    }
    // One node for each leaf and, for each leaf, one less than the bits that carry: 2n - popcount(n).
    assert_eq!(log.nodes.len(), 2 * 100 - 100_usize.count_ones() as usize);
}

#[test]
fn every_proof_of_every_size_up_to_70_verifies() {
    let log = Log::of(70);
    let (mut inclusion, mut consistency) = (0, 0);
    for size in 1..=70_u64 {
        let root = log.root(size as usize);
        for index in 0..size {
            let path = inclusion_proof::<MerkleFault, _>(size, index, |id| {
                assert!((id.index + 1) << id.level <= size, "a lookup beyond the tree");
                log.lookup(id)
            })
            .unwrap();
            verify_inclusion(&log.leaves[index as usize], index, size, &path, &root).unwrap();
            inclusion += 1;
        }
        for old in 1..=size {
            let path = consistency_proof::<MerkleFault, _>(old, size, |id| log.lookup(id)).unwrap();
            verify_consistency(old, size, &log.root(old as usize), &root, &path).unwrap();
            consistency += 1;
        }
    }
    println!("{inclusion} inclusion proofs, {consistency} consistency proofs");
}

#[test]
fn a_consistency_proof_from_size_0_is_refused() {
    let log = Log::of(3);
    let root = log.root(3);
    let refused = MerkleFault::Sizes { old: 0, new: 3 };
    assert_eq!(consistency_proof::<MerkleFault, _>(0, 3, |id| log.lookup(id)), Err(refused.clone()));
    assert_eq!(verify_consistency(0, 3, &empty_root(), &root, &[]), Err(refused));
    assert!(verify_consistency(0, 0, &empty_root(), &empty_root(), &[]).is_err());
    assert!(verify_consistency(4, 3, &root, &root, &[]).is_err());
}

#[test]
fn sizes_and_indexes_out_of_range_are_refused() {
    let log = Log::of(3);
    assert!(inclusion_proof::<MerkleFault, _>(3, 3, |id| log.lookup(id)).is_err());
    assert!(inclusion_proof::<MerkleFault, _>(0, 0, |id| log.lookup(id)).is_err());
    assert!(verify_inclusion(&log.leaves[0], 0, 0, &[], &empty_root()).is_err());
    let hash = log.leaves[0];
    for (index, size) in [(u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX), (0, u64::MAX), (1 << 63, u64::MAX)]
    {
        for length in [0, 1, 63, 64, 65, 200] {
            assert!(verify_inclusion(&hash, index, size, &vec![hash; length], &hash).is_err());
            assert!(
                verify_consistency(index.max(1), size, &hash, &hash, &vec![hash; length]).is_err()
                    || index == size
            );
        }
    }
}

#[test]
fn a_damaged_frontier_is_refused() {
    let hash = leaf_hash(b"leaf");
    let fault = MerkleFault::PeakCount { size: 5, expected: 2, found: 1 };
    assert_eq!(Frontier::from_peaks(5, vec![hash]), Err(fault));
    assert!(Frontier::from_peaks(0, vec![hash]).is_err());
    assert!(Frontier::from_peaks(MAX_SIZE + 1, vec![hash]).is_err());
    let mut full = Frontier::from_peaks(MAX_SIZE, vec![hash; 53]).unwrap();
    assert_eq!(
        full.append(hash, |_, _| panic!("nothing is kept")),
        Err(MerkleFault::Full { size: MAX_SIZE })
    );
    assert_eq!(full.size(), MAX_SIZE);
}

#[test]
fn a_missing_node_is_named() {
    let log = Log::of(8);
    let missing = inclusion_proof(8, 0, |id| {
        if id.level == 2 {
            Err(MerkleFault::MissingNode { level: 2, index: id.index })
        } else {
            log.lookup(id)
        }
    });
    assert_eq!(missing, Err(MerkleFault::MissingNode { level: 2, index: 1 }));
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, usize),
    Drop(usize),
    Insert(usize),
    Swap(usize, usize),
    Position,
    Size,
    Root,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 0..256_usize).prop_map(|(node, bit)| Mutation::Flip(node, bit)),
        any::<usize>().prop_map(Mutation::Drop),
        any::<usize>().prop_map(Mutation::Insert),
        (any::<usize>(), any::<usize>()).prop_map(|(left, right)| Mutation::Swap(left, right)),
        Just(Mutation::Position),
        Just(Mutation::Size),
        Just(Mutation::Root),
    ]
}

fn flip(hash: &MerkleHash, bit: usize) -> MerkleHash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    MerkleHash::from_bytes(bytes)
}

/// Applies the mutation to a path; `false` when it would change nothing.
fn mutate(path: &mut Vec<MerkleHash>, mutation: &Mutation) -> bool {
    match *mutation {
        Mutation::Flip(node, bit) if !path.is_empty() => {
            let node = node % path.len();
            path[node] = flip(&path[node], bit);
        }
        Mutation::Drop(node) if !path.is_empty() => {
            path.remove(node % path.len());
        }
        Mutation::Insert(node) => path.insert(node % (path.len() + 1), leaf_hash(b"foreign")),
        Mutation::Swap(left, right) if path.len() > 1 => {
            let (left, right) = (left % path.len(), right % path.len());
            path.swap(left, right);
            return left != right;
        }
        _ => return false,
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_mutated_inclusion_proof_fails(size in 1..200_usize, leaf in any::<prop::sample::Index>(), change in mutation()) {
        let log = Log::of(size);
        let index = leaf.index(size) as u64;
        let mut path = inclusion_proof::<MerkleFault, _>(size as u64, index, |id| log.lookup(id)).unwrap();
        let (mut position, mut tree_size, mut root) = (index, size as u64, log.root(size));
        let changed = match change {
            Mutation::Position => { position = (index + 1) % size as u64; size > 1 }
            Mutation::Size => { tree_size += 1; false }
            Mutation::Root => { root = flip(&root, 0); true }
            ref other => mutate(&mut path, other),
        };
        let verdict = verify_inclusion(&log.leaves[index as usize], position, tree_size, &path, &root);
        prop_assert!(verdict.is_err() || !changed);
        prop_assert!(verify_inclusion(&leaf_hash(b"foreign"), index, size as u64, &path, &root).is_err());
    }

    #[test]
    fn a_mutated_consistency_proof_fails(new in 1..200_usize, old in any::<prop::sample::Index>(), change in mutation()) {
        let log = Log::of(new);
        let old = old.index(new) + 1;
        let mut path = consistency_proof::<MerkleFault, _>(old as u64, new as u64, |id| log.lookup(id)).unwrap();
        let (old_root, mut new_root) = (log.root(old), log.root(new));
        let changed = match change {
            Mutation::Position | Mutation::Size => false,
            Mutation::Root => { new_root = flip(&new_root, 9); true }
            ref other => mutate(&mut path, other),
        };
        let verdict = verify_consistency(old as u64, new as u64, &old_root, &new_root, &path);
        prop_assert_eq!(verdict.is_err(), changed);
        let forged = verify_consistency(old as u64, new as u64, &leaf_hash(b"foreign"), &new_root, &path);
        prop_assert!(forged.is_err());
    }
}
