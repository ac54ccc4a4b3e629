//! Signatures that lie inside the object they sign.
//!
//! A token, a delegation link and a receipt carry their signature as one member among the others, and the
//! signed bytes are the canonical text without it. So an object is serialised once, with a placeholder:
//! taking the member out gives the bytes to sign, and writing the digits over the placeholder gives the text
//! to send.

use chio_json::{JsonError, SignatureHex, canonical};
use serde::Serialize;

use crate::keys::SigningKey;

/// What stands in the `signature` member until the object is signed.
pub(crate) const UNSIGNED: SignatureHex = SignatureHex::from_bytes([0; 64]);

/// Signs `object`, whose `signature` is [`UNSIGNED`]. Returns its canonical text with the signature in place.
pub(crate) fn seal<T: Serialize>(object: &T, key: &SigningKey) -> Result<(String, SignatureHex), JsonError> {
    let mut text = canonical::to_string(object)?;
    let member = member(&UNSIGNED);
    let (input, at) = without(&text, &member);
    let signature = key.sign(input.as_bytes());
    text.replace_range(at..at + member.len(), &self::member(&signature));
    Ok((text, signature))
}

/// The bytes that `signature`, a member of `object`, signs.
pub(crate) fn signing_input<T: Serialize>(object: &T, signature: &SignatureHex) -> Result<String, JsonError> {
    Ok(without(&canonical::to_string(object)?, &member(signature)).0)
}

fn member(signature: &SignatureHex) -> String {
    format!(r#""signature":"{signature}","#)
}

/// Takes `member` out of `text` and tells where it was.
///
/// The last occurrence is the right one. In each object signed this way only strings and numbers follow the
/// signature (`subject`; `tenant_id`, `timestamp`, `tool_name`, `tool_server`, `trust_level`), and within a
/// JSON string the member's quotes would be escaped. Something follows always, so the member ends with its
/// comma.
fn without(text: &str, member: &str) -> (String, usize) {
    match text.rsplit_once(member) {
        Some((head, tail)) => ([head, tail].concat(), head.len()),
        None => unreachable_member(text),
    }
}

/// Every caller's type has a `signature` member; if one had not, the whole text would be signed, which no
/// verifier of this protocol accepts.
fn unreachable_member(text: &str) -> (String, usize) {
    debug_assert!(false, "the object has no signature member followed by another");
    (text.to_owned(), text.len())
}
