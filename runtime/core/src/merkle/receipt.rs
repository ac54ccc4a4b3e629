//! Receipts as leaves of the log.

use chio_json::{MerkleHash, Signed, canonical};
use chio_spec::{CheckpointBody, MerkleProof, Receipt, ReceiptInclusionProof};

use super::{MerkleFault, NodeId, inclusion_proof, leaf_hash, verify_inclusion};

/// The leaf hash of a receipt: its leaf is the canonical text of the whole signed receipt, signature
/// included.
///
/// # Errors
///
/// [`MerkleFault::Leaf`] when the receipt has no canonical text.
pub fn receipt_leaf(receipt: &Signed<Receipt>) -> Result<MerkleHash, MerkleFault> {
    let text = receipt.text();
    if canonical::scan(text.as_bytes()).is_ok() {
        return Ok(leaf_hash(text.as_bytes()));
    }
    let text = canonical::from_text(text).map_err(|error| MerkleFault::Leaf(error.to_string()))?;
    Ok(leaf_hash(text.as_bytes()))
}

/// The proof that receipt number `receipt_seq` (from 1) is in the log that `checkpoint` states.
///
/// # Errors
///
/// [`MerkleFault::OutOfRange`] when the checkpoint does not reach that far, or whatever the lookup reports.
pub fn prove_receipt<E, L>(
    checkpoint: &CheckpointBody,
    receipt_seq: u64,
    lookup: L,
) -> Result<ReceiptInclusionProof, E>
where
    E: From<MerkleFault>,
    L: FnMut(NodeId) -> Result<MerkleHash, E>,
{
    let size = checkpoint.tree_size;
    let leaf_index = receipt_seq.checked_sub(1).ok_or(MerkleFault::OutOfRange { index: u64::MAX, size })?;
    let audit_path = inclusion_proof(size, leaf_index, lookup)?;
    Ok(ReceiptInclusionProof::new(
        checkpoint.checkpoint_seq,
        leaf_index,
        checkpoint.merkle_root,
        MerkleProof::new(audit_path, leaf_index, size),
        receipt_seq,
    ))
}

/// Checks that `receipt` is in the log that `checkpoint` states. Whether the checkpoint is signed, and by
/// whom, is asked by [`crate::checkpoint::verify`].
///
/// # Errors
///
/// The first thing that does not fit, see [`MerkleFault`].
pub fn verify_receipt(
    receipt: &Signed<Receipt>,
    proof: &ReceiptInclusionProof,
    checkpoint: &CheckpointBody,
) -> Result<(), MerkleFault> {
    let agrees = |field, agrees: bool| if agrees { Ok(()) } else { Err(MerkleFault::Mismatch { field }) };
    agrees("checkpoint_seq", proof.checkpoint_seq == checkpoint.checkpoint_seq)?;
    agrees("merkle_root", proof.merkle_root == checkpoint.merkle_root)?;
    agrees("tree_size", proof.proof.tree_size == checkpoint.tree_size)?;
    agrees("leaf_index", proof.proof.leaf_index == proof.leaf_index)?;
    agrees("receipt_seq", proof.receipt_seq.checked_sub(1) == Some(proof.leaf_index))?;
    verify_inclusion(
        &receipt_leaf(receipt)?,
        proof.leaf_index,
        proof.proof.tree_size,
        &proof.proof.audit_path,
        &checkpoint.merkle_root,
    )
}
