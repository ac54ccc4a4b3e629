//! SHA-256 as the protocol uses it: over raw bytes, and over the canonical text of a JSON value.
//!
//! Every identity in Chio (parameters, content, policy, token) is a hash of canonical JSON, so that two
//! parties who agree on the value agree on the hash whatever white space or key order travelled between them.

use chio_json::{Json, JsonError, Sha256Hex};
use sha2::{Digest, Sha256};

/// The content hash of a call without output: SHA-256 of the four bytes `null`.
pub const NULL_CONTENT_HASH: Sha256Hex = Sha256Hex::from_bytes([
    0x74, 0x23, 0x4e, 0x98, 0xaf, 0xe7, 0x49, 0x8f, 0xb5, 0xda, 0xf1, 0xf3, 0x6a, 0xc2, 0xd7, 0x8a, 0xcc,
    0x33, 0x94, 0x64, 0xf9, 0x50, 0x70, 0x3b, 0x8c, 0x01, 0x98, 0x92, 0xf9, 0x82, 0xb9, 0x0b,
]);

/// SHA-256 of `bytes`, as they are.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256Hex {
    Sha256Hex::from_bytes(Sha256::digest(bytes).into())
}

/// SHA-256 of the canonical text of `value`.
///
/// # Errors
///
/// The value has no canonical text: a duplicate key, a lone surrogate, a number that is not finite, or
/// nesting deeper than [`chio_json::MAX_DEPTH`].
pub fn hash_json(value: &Json) -> Result<Sha256Hex, JsonError> {
    Ok(sha256(value.canonical()?.as_bytes()))
}
