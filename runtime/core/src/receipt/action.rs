//! What a receipt says about the arguments of the call.
//!
//! Arguments above a limit are replaced by their digest: a stranger must not be able to fill the disk with
//! denied calls, and log entries must stay small enough to publish. The hash in the receipt covers whatever
//! stands in the receipt, so published clients verify both forms alike, and whoever kept the arguments can
//! still prove that they were these.

use chio_json::{Json, JsonError, Sha256Hex};
use chio_spec::ReceiptAction;
use serde::Serialize;

use crate::hash::sha256;

/// The `parameters` of a receipt whose arguments are too large.
#[derive(Serialize)]
struct Digested {
    chio_digest: Digest,
}

#[derive(Serialize)]
struct Digest {
    /// Length of the canonical JSON of the arguments.
    bytes: usize,
    /// SHA-256 of the canonical JSON of the arguments.
    sha256: Sha256Hex,
}

/// The action of a receipt. Arguments of up to `limit_bytes` in canonical JSON are kept whole; larger ones
/// become `{"chio_digest":{"bytes":…,"sha256":…}}`. A limit of 0 always gives the digest: the form for
/// callers that nobody authenticated.
///
/// # Errors
///
/// The arguments have no canonical text.
pub fn action(parameters: &Json, limit_bytes: usize) -> Result<ReceiptAction, JsonError> {
    let text = parameters.canonical()?;
    let hash = sha256(text.as_bytes());
    if text.len() <= limit_bytes {
        let kept = Json::from_text(text.into_owned())?;
        return Ok(ReceiptAction::new(hash, kept));
    }
    let digested = Json::of(&Digested { chio_digest: Digest { bytes: text.len(), sha256: hash } })?;
    Ok(ReceiptAction::new(sha256(digested.get().as_bytes()), digested))
}
