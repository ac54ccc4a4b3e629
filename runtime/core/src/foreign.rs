//! Reading single members of JSON objects that others made, with a sentence instead of an error.
//!
//! Verification reports tell what holds and what does not; they never stop at the first malformed member as
//! reading a whole typed object would.

use chio_json::PublicKeyHex;
use serde_json::{Map, Value};

use crate::keys::PublicKey;

/// A signed object may name its algorithm, outside the signed bytes; the only one here is Ed25519.
pub(crate) fn known_algorithm(object: &Map<String, Value>) -> Result<(), String> {
    match object.get("algorithm") {
        None => Ok(()),
        Some(Value::String(name)) if name == "ed25519" => Ok(()),
        Some(other) => Err(format!("the signature algorithm {other} is not supported")),
    }
}

/// A member that holds a usable public key.
pub(crate) fn key(object: &Map<String, Value>, name: &str) -> Result<PublicKey, String> {
    let hex: PublicKeyHex = member(object, name)?;
    PublicKey::try_from(hex).map_err(|fault| format!("`{name}`: {fault}"))
}

/// A member whose text has the form of `T`.
pub(crate) fn member<T>(object: &Map<String, Value>, name: &str) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match object.get(name) {
        Some(Value::String(text)) => text.parse().map_err(|error| format!("`{name}`: {error}")),
        Some(_) => Err(format!("`{name}` is not a string")),
        None => Err(format!("`{name}` is missing")),
    }
}

/// A member that holds a point in time.
pub(crate) fn seconds(object: &Map<String, Value>, name: &str) -> Result<u64, String> {
    object
        .get(name)
        .and_then(Value::as_u64)
        .ok_or_else(|| format!("`{name}` is missing or no whole number of seconds"))
}
