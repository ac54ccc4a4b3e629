//! Checkpoints: signed statements about the log at one size, each chained to the one before.
//!
//! A checkpoint pins the whole log: whoever keeps one can later demand a proof that the log only grew since.
//! The chain (each names the hash of its predecessor's body) makes a dropped or exchanged checkpoint visible
//! even where nobody asks for that proof.

use std::borrow::Cow;

use chio_json::{JsonError, MerkleHash, Sha256Hex, canonical};
use chio_spec::{CheckpointBody, CheckpointSchema, ErrorCode, KernelCheckpoint};

use crate::hash::sha256;
use crate::keys::{KeyFault, PublicKey, SigningKey};
use crate::merkle::{MerkleFault, verify_consistency};

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// The log has not grown, so there is nothing to state.
    #[error(
        "the log has {tree_size} receipts and the last checkpoint covers {covered}, so there is nothing to state"
    )]
    NoNews {
        /// Leaves of the tree.
        tree_size: u64,
        /// Leaves that the previous checkpoint covers.
        covered: u64,
    },
    /// The key in the checkpoint is unusable.
    #[error("the kernel key of checkpoint {seq} cannot be used: {fault}")]
    Key {
        /// Number of the checkpoint.
        seq: u64,
        /// What is wrong with the key.
        fault: KeyFault,
    },
    /// The kernel did not sign this body.
    #[error("the signature of checkpoint {seq} does not verify")]
    Signature {
        /// Number of the checkpoint.
        seq: u64,
    },
    /// The numbers of the checkpoint contradict each other.
    #[error("checkpoint {seq} contradicts itself in `{field}`")]
    Inconsistent {
        /// Number of the checkpoint.
        seq: u64,
        /// The field that does not fit.
        field: &'static str,
    },
    /// The checkpoint does not follow the other one.
    #[error(
        "checkpoint {seq} does not follow checkpoint {previous}: `{field}` differs; the log may have been forked or rolled back"
    )]
    NotSuccessor {
        /// Number of the checkpoint.
        seq: u64,
        /// Number of the one before.
        previous: u64,
        /// The field that does not fit.
        field: &'static str,
    },
    /// The newer tree does not contain the older one.
    #[error("checkpoint {seq} does not extend the log of checkpoint {previous}: {fault}")]
    NotExtension {
        /// Number of the checkpoint.
        seq: u64,
        /// Number of the one before.
        previous: u64,
        /// What the consistency proof shows.
        fault: MerkleFault,
    },
    /// The body cannot be written.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl CheckpointFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            CheckpointFault::NoNews { .. } | CheckpointFault::Json(_) => ErrorCode::InternalError,
            CheckpointFault::Key { .. }
            | CheckpointFault::Signature { .. }
            | CheckpointFault::Inconsistent { .. }
            | CheckpointFault::NotSuccessor { .. }
            | CheckpointFault::NotExtension { .. } => ErrorCode::StoreIntegrityViolated,
        }
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            CheckpointFault::NoNews { .. } => "log has not grown",
            CheckpointFault::Json(_) => "checkpoint cannot be written",
            CheckpointFault::NotSuccessor { .. } | CheckpointFault::NotExtension { .. } => {
                "log does not extend what was stated before"
            }
            CheckpointFault::Key { .. }
            | CheckpointFault::Signature { .. }
            | CheckpointFault::Inconsistent { .. } => "checkpoint does not verify",
        })
    }
}

/// States the log at `tree_size` leaves with root `merkle_root`. `issued_at` is in Unix seconds.
///
/// Receipts are numbered from 1, so the last receipt covered has the number `tree_size`.
///
/// # Errors
///
/// [`CheckpointFault::NoNews`] when the log has not grown since `previous`.
pub fn build(
    kernel: &SigningKey,
    previous: Option<&KernelCheckpoint>,
    tree_size: u64,
    merkle_root: MerkleHash,
    issued_at: u64,
) -> Result<KernelCheckpoint, CheckpointFault> {
    let covered = previous.map_or(0, |checkpoint| checkpoint.body.tree_size);
    if tree_size <= covered {
        return Err(CheckpointFault::NoNews { tree_size, covered });
    }
    let seq = previous.map_or(0, |checkpoint| checkpoint.body.checkpoint_seq);
    let mut body = CheckpointBody::new(
        tree_size,
        covered.saturating_add(1),
        seq.saturating_add(1),
        issued_at,
        kernel.public().hex(),
        merkle_root,
        CheckpointSchema::ChioCheckpointStatementV1,
        tree_size,
    );
    if let Some(previous) = previous {
        body = body.with_previous_checkpoint_sha256(body_hash(&previous.body)?);
    }
    let signature = kernel.sign(canonical::to_string(&body)?.as_bytes());
    Ok(KernelCheckpoint::new(body, signature))
}

/// SHA-256 of the canonical JSON of a body: how the next checkpoint refers to it.
///
/// # Errors
///
/// A number above 2^53 − 1, which the wire cannot carry.
pub fn body_hash(body: &CheckpointBody) -> Result<Sha256Hex, JsonError> {
    Ok(sha256(canonical::to_string(body)?.as_bytes()))
}

/// Checks a checkpoint by itself: its signature and that its numbers fit together. Whether its `kernel_key`
/// is a trusted one is for the caller to say.
///
/// # Errors
///
/// The first thing that is wrong, see [`CheckpointFault`].
pub fn verify(checkpoint: &KernelCheckpoint) -> Result<(), CheckpointFault> {
    let body = &checkpoint.body;
    let seq = body.checkpoint_seq;
    let kernel = PublicKey::try_from(body.kernel_key).map_err(|fault| CheckpointFault::Key { seq, fault })?;
    if !kernel.verify(canonical::to_string(body)?.as_bytes(), &checkpoint.signature) {
        return Err(CheckpointFault::Signature { seq });
    }
    let fits =
        |field, fits: bool| if fits { Ok(()) } else { Err(CheckpointFault::Inconsistent { seq, field }) };
    fits("checkpoint_seq", seq >= 1)?;
    fits("batch_end_seq", body.batch_end_seq == body.tree_size)?;
    fits("batch_start_seq", (1..=body.batch_end_seq).contains(&body.batch_start_seq))?;
    fits("previous_checkpoint_sha256", body.previous_checkpoint_sha256.is_none() == (seq == 1))?;
    fits("batch_start_seq", (body.batch_start_seq == 1) == (seq == 1))
}

/// Checks that `next` directly follows `previous` and that its log only grew: both verify by themselves, the
/// numbers and the hash chain them, and `consistency` proves that the newer tree starts with the older one.
///
/// # Errors
///
/// The first thing that is wrong, see [`CheckpointFault`].
pub fn verify_successor(
    previous: &KernelCheckpoint,
    next: &KernelCheckpoint,
    consistency: &[MerkleHash],
) -> Result<(), CheckpointFault> {
    verify(previous)?;
    verify(next)?;
    let (old, new) = (&previous.body, &next.body);
    let (seq, before) = (new.checkpoint_seq, old.checkpoint_seq);
    let follows = |field, follows: bool| {
        if follows { Ok(()) } else { Err(CheckpointFault::NotSuccessor { seq, previous: before, field }) }
    };
    follows("checkpoint_seq", before.checked_add(1) == Some(seq))?;
    follows("batch_start_seq", old.batch_end_seq.checked_add(1) == Some(new.batch_start_seq))?;
    follows("previous_checkpoint_sha256", new.previous_checkpoint_sha256 == Some(body_hash(old)?))?;
    verify_consistency(old.tree_size, new.tree_size, &old.merkle_root, &new.merkle_root, consistency)
        .map_err(|fault| CheckpointFault::NotExtension { seq, previous: before, fault })
}
