//! Stored checkpoints as the signed statements they are.

use chio_core::checkpoint;
use chio_json::PublicKeyHex;
use chio_spec::KernelCheckpoint;

use crate::log::StoredCheckpoint;

/// Checks one stored checkpoint: its signature, that its key is one of `trusted`, that it says what the log says, and
/// that it names the one before. Whether the receipts lead to its root is what the examination itself computes.
///
/// # Errors
/// What is wrong, in words.
pub fn verify_checkpoint(
    stored: &StoredCheckpoint,
    previous: Option<&StoredCheckpoint>,
    trusted: &[PublicKeyHex],
) -> Result<(), String> {
    let signed = parse(stored)?;
    checkpoint::verify(&signed).map_err(|fault| fault.to_string())?;
    let body = &signed.body;
    if !trusted.contains(&body.kernel_key) {
        return Err(format!("it is signed by {}, which is not a trusted key", body.kernel_key));
    }
    if (body.checkpoint_seq, body.tree_size, body.merkle_root) != (stored.seq, stored.tree_size, stored.root)
    {
        return Err("it speaks about another number, size or root than it is stored for".to_owned());
    }
    let named = match previous {
        Some(previous) => {
            Some(checkpoint::body_hash(&parse(previous)?.body).map_err(|error| error.to_string())?)
        }
        None => None,
    };
    if body.previous_checkpoint_sha256 != named {
        return Err("it does not name the checkpoint before it".to_owned());
    }
    Ok(())
}

fn parse(stored: &StoredCheckpoint) -> Result<KernelCheckpoint, String> {
    serde_json::from_str(&stored.text).map_err(|error| format!("its text cannot be read: {error}"))
}
