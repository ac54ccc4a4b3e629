//! Checkpoints and the proofs that lead to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod fixture;

use std::collections::HashMap;

use chio_core::checkpoint::{CheckpointFault, body_hash, build, verify, verify_successor};
use chio_core::hash::sha256;
use chio_core::keys::SigningKey;
use chio_core::merkle::{
    Frontier, MerkleFault, NodeId, consistency_proof, leaf_hash, prove_receipt, receipt_leaf, verify_receipt,
};
use chio_core::receipt::{ReceiptDraft, action, content_hash};
use chio_json::{Json, MerkleHash, Signed, canonical};
use chio_spec::{
    Decision, ErrorCode, KernelCheckpoint, Receipt, ReceiptId, ReceiptMetadata, ServerId, ToolName,
};
use fixture::*;

fn kernel() -> SigningKey {
    SigningKey::from_seed([0x17; 32])
}

#[derive(Default)]
struct Log {
    receipts: Vec<Signed<Receipt>>,
    frontier: Frontier,
    nodes: HashMap<NodeId, MerkleHash>,
}

impl Log {
    fn grow(&mut self, count: usize) -> (u64, MerkleHash) {
        for _ in 0..count {
            let receipt = ReceiptDraft {
                id: ReceiptId::new(format!("rcpt-{}", self.receipts.len() + 1)).unwrap(),
                timestamp: START,
                capability_id: id("cap-1"),
                tool_server: ServerId::new("files").unwrap(),
                tool_name: ToolName::new("read").unwrap(),
                action: action(&Json::null(), 1_000).unwrap(),
                decision: Decision::Allow,
                content_hash: content_hash(None).unwrap(),
                policy_hash: sha256(b"policy"),
                evidence: Vec::new(),
                metadata: ReceiptMetadata::new(),
            };
            let receipt = receipt.sign(&kernel()).unwrap();
            let nodes = &mut self.nodes;
            self.frontier
                .append(receipt_leaf(&receipt).unwrap(), |id, hash| {
                    nodes.insert(id, hash);
                })
                .unwrap();
            self.receipts.push(receipt);
        }
        (self.frontier.size(), self.frontier.root())
    }

    fn lookup(&self, id: NodeId) -> Result<MerkleHash, MerkleFault> {
        let NodeId { level, index } = id;
        self.nodes.get(&id).copied().ok_or(MerkleFault::MissingNode { level, index })
    }
}

/// Two checkpoints, at 5 and at 12 receipts, and the proof between them.
fn two() -> (Log, KernelCheckpoint, KernelCheckpoint, Vec<MerkleHash>) {
    let mut log = Log::default();
    let (size, root) = log.grow(5);
    let first = build(&kernel(), None, size, root, START).unwrap();
    let (size, root) = log.grow(7);
    let second = build(&kernel(), Some(&first), size, root, START + 10).unwrap();
    let path = consistency_proof::<MerkleFault, _>(5, 12, |id| log.lookup(id)).unwrap();
    (log, first, second, path)
}

/// Signs a changed body again: what a kernel that lies could publish.
fn resigned(
    checkpoint: &KernelCheckpoint,
    change: impl FnOnce(&mut chio_spec::CheckpointBody),
) -> KernelCheckpoint {
    let mut body = checkpoint.body.clone();
    change(&mut body);
    let signature = kernel().sign(canonical::to_string(&body).unwrap().as_bytes());
    KernelCheckpoint::new(body, signature)
}

#[test]
fn checkpoints_chain_and_their_logs_only_grow() {
    let (_, first, second, path) = two();
    assert_eq!(verify(&first), Ok(()));
    assert_eq!(verify_successor(&first, &second, &path), Ok(()));
    let body = &second.body;
    assert_eq!(
        (body.checkpoint_seq, body.batch_start_seq, body.batch_end_seq, body.tree_size),
        (2, 6, 12, 12)
    );
    assert_eq!(body.previous_checkpoint_sha256, Some(body_hash(&first.body).unwrap()));
    assert_eq!(first.body.previous_checkpoint_sha256, None);
    let text = serde_json::to_string(&first.body).unwrap();
    assert!(text.contains(r#""schema":"chio.checkpoint_statement.v1""#), "{text}");
    assert_eq!(canonical::scan(text.as_bytes()).unwrap(), text);
}

#[test]
fn a_checkpoint_without_news_is_refused() {
    let (log, first, ..) = two();
    for size in [0, 4, 5] {
        let fault = build(&kernel(), Some(&first), size, log.frontier.root(), START).unwrap_err();
        assert!(matches!(fault, CheckpointFault::NoNews { covered: 5, .. }));
    }
    assert!(build(&kernel(), None, 0, log.frontier.root(), START).is_err());
}

#[test]
fn a_changed_checkpoint_does_not_verify() {
    let (_, first, ..) = two();
    let mut changed = first.clone();
    changed.body.issued_at += 1;
    let fault = verify(&changed).unwrap_err();
    assert_eq!(fault, CheckpointFault::Signature { seq: 1 });
    assert_eq!(fault.code(), ErrorCode::StoreIntegrityViolated);
    let mut changed = first;
    changed.body.kernel_key = hex(&authority());
    assert_eq!(verify(&changed), Err(CheckpointFault::Signature { seq: 1 }));
    changed.body.kernel_key = chio_json::PublicKeyHex::from_bytes([0; 32]);
    assert!(matches!(verify(&changed), Err(CheckpointFault::Key { .. })));
}

#[test]
fn a_signed_checkpoint_must_not_contradict_itself() {
    let (_, first, second, _) = two();
    let contradictions: [(&str, KernelCheckpoint); 6] = [
        ("checkpoint_seq", resigned(&first, |body| body.checkpoint_seq = 0)),
        ("batch_end_seq", resigned(&first, |body| body.tree_size = 6)),
        ("batch_start_seq", resigned(&first, |body| body.batch_start_seq = 6)),
        ("batch_start_seq", resigned(&second, |body| body.batch_start_seq = 1)),
        ("previous_checkpoint_sha256", resigned(&second, |body| body.previous_checkpoint_sha256 = None)),
        ("previous_checkpoint_sha256", resigned(&second, |body| body.checkpoint_seq = 1)),
    ];
    for (field, checkpoint) in contradictions {
        let seq = checkpoint.body.checkpoint_seq;
        assert_eq!(verify(&checkpoint), Err(CheckpointFault::Inconsistent { seq, field }));
    }
}

#[test]
fn a_fork_or_rollback_is_refused() {
    let (log, first, second, path) = two();
    // The same numbers over another history.
    let mut other = Log::default();
    other.grow(4);
    let leaf = leaf_hash(b"other");
    other.frontier.append(leaf, |_, _| ()).unwrap();
    let forked = build(&kernel(), None, 5, other.frontier.root(), START).unwrap();
    assert!(matches!(
        verify_successor(&forked, &second, &path),
        Err(CheckpointFault::NotSuccessor { field: "previous_checkpoint_sha256", .. })
    ));
    // A successor whose tree does not contain the older one.
    let rewritten = resigned(&second, |body| body.merkle_root = leaf_hash(b"rewritten"));
    assert!(matches!(verify_successor(&first, &rewritten, &path), Err(CheckpointFault::NotExtension { .. })));
    assert!(matches!(
        verify_successor(&first, &second, &path[1..]),
        Err(CheckpointFault::NotExtension { .. })
    ));
    // Gaps.
    let gap = resigned(&second, |body| body.checkpoint_seq = 3);
    assert!(matches!(
        verify_successor(&first, &gap, &path),
        Err(CheckpointFault::NotSuccessor { field: "checkpoint_seq", .. })
    ));
    let gap = resigned(&second, |body| body.batch_start_seq = 7);
    assert!(matches!(
        verify_successor(&first, &gap, &path),
        Err(CheckpointFault::NotSuccessor { field: "batch_start_seq", .. })
    ));
    // Backwards.
    assert!(verify_successor(&second, &first, &path).is_err());
    assert!(verify_successor(&first, &first, &[]).is_err());
    assert_eq!(log.receipts.len(), 12);
}

#[test]
fn a_receipt_is_proven_to_be_in_the_log() {
    let (log, first, second, _) = two();
    for checkpoint in [&first, &second] {
        for seq in 1..=checkpoint.body.tree_size {
            let proof = prove_receipt::<MerkleFault, _>(&checkpoint.body, seq, |id| log.lookup(id)).unwrap();
            let receipt = &log.receipts[seq as usize - 1];
            verify_receipt(receipt, &proof, &checkpoint.body).unwrap();
            // Not another receipt, and not under another checkpoint.
            let neighbour = &log.receipts[seq as usize % 5];
            if neighbour != receipt {
                assert!(verify_receipt(neighbour, &proof, &checkpoint.body).is_err());
            }
            let other = if checkpoint == &first { &second } else { &first };
            assert!(verify_receipt(receipt, &proof, &other.body).is_err());
        }
    }
    assert!(prove_receipt::<MerkleFault, _>(&first.body, 0, |id| log.lookup(id)).is_err());
    assert!(prove_receipt::<MerkleFault, _>(&first.body, 6, |id| log.lookup(id)).is_err());
}

#[test]
fn an_inclusion_proof_that_contradicts_itself_is_refused() {
    let (log, first, ..) = two();
    let proof = prove_receipt::<MerkleFault, _>(&first.body, 3, |id| log.lookup(id)).unwrap();
    let receipt = &log.receipts[2];
    let refused = |field: &'static str, change: &dyn Fn(&mut chio_spec::ReceiptInclusionProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_eq!(verify_receipt(receipt, &changed, &first.body), Err(MerkleFault::Mismatch { field }));
    };
    refused("checkpoint_seq", &|proof| proof.checkpoint_seq = 2);
    refused("merkle_root", &|proof| proof.merkle_root = leaf_hash(b"x"));
    refused("tree_size", &|proof| proof.proof.tree_size = 6);
    refused("leaf_index", &|proof| proof.proof.leaf_index = 1);
    refused("receipt_seq", &|proof| proof.receipt_seq = 0);
}

/// The leaf is the canonical text of the whole signed receipt, however the receipt was written down.
#[test]
fn a_receipts_leaf_does_not_depend_on_its_white_space() {
    let (log, ..) = two();
    let receipt = &log.receipts[0];
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(receipt.text()).unwrap());
    let pretty = Signed::from_text(pretty.unwrap()).unwrap();
    assert_eq!(receipt_leaf(&pretty), receipt_leaf(receipt));
    assert_eq!(receipt_leaf(receipt).unwrap(), leaf_hash(receipt.text().as_bytes()));
    assert!(receipt_leaf(&Signed::from_text(r#"{"a":1,"a":2}"#.to_owned()).unwrap()).is_err());
}
