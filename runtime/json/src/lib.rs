//! JSON as a signing protocol needs it: one canonical text per value, one reading per text.
//!
//! Everything Chio signs, hashes or caches is JSON text, so two questions decide whether a signature
//! means anything: does a value have exactly one text, and does a text have exactly one meaning? This
//! crate answers both and holds the few types that every generated wire type stands on.
//!
//! * [`canonical`] is the one text per value (RFC 8785, with whole 64-bit integers kept exact): a writer,
//!   and a scan that tells without allocating whether a text is canonical already.
//! * [`strict`] is the one meaning per text: duplicate keys, absurd nesting and lone surrogates are
//!   refused instead of being resolved in silence.
//! * [`Json`] keeps an opaque value as the text it arrived in; [`Signed`] does the same for an object that
//!   somebody else signed and parses it only when asked.
//! * [`Sha256Hex`], [`MerkleHash`], [`PublicKeyHex`] and [`SignatureHex`] are bytes in memory and strict
//!   lower-case hexadecimal on the wire.
//!
//! Nothing here panics on input, whatever its bytes: every refusal is a [`JsonError`] or a
//! [`canonical::NotCanonical`] that says where and why.
//!
//! ```
//! use chio_json::{canonical, strict};
//!
//! assert_eq!(canonical::from_text(r#"{ "b": 1.0, "a": "\u0041" }"#)?, r#"{"a":"A","b":1}"#);
//! assert!(canonical::scan(br#"{"a":"A","b":1}"#).is_ok());
//! assert!(strict::parse(r#"{"role":"user","role":"admin"}"#).is_err());
//! # Ok::<(), chio_json::JsonError>(())
//! ```

pub mod canonical;
pub mod strict;
#[doc(hidden)]
pub mod wire;

mod error;
mod hex;
mod json;
mod signed;

pub use error::{HexFault, JsonError};
pub use hex::{MerkleHash, PublicKeyHex, Sha256Hex, SignatureHex};
pub use json::Json;
pub use signed::Signed;

/// How many objects and arrays may be open at once in canonical or strictly read text.
///
/// `[[1]]` has depth 2 and a bare number depth 0. Real messages stay below 20; the limit keeps recursion
/// far from the end of any stack, here and in every other implementation that reads what we emit.
pub const MAX_DEPTH: usize = 64;
