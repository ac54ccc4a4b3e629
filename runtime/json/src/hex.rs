//! Bytes that travel as hexadecimal text.
//!
//! One spelling per value: lower case, exact length, the prefix exactly as the type has it. Accepting
//! `ABCD` for `abcd` would give one key two texts, and so one signed object two hashes.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{HexFault, JsonError};

macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, bytes: $bytes:literal, prefix: $prefix:literal, form: $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $bytes;

            /// Wraps the bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = JsonError;

            #[doc = concat!("Reads ", $form, "; anything else is [`JsonError::Hex`].")]
            fn from_str(text: &str) -> Result<Self, JsonError> {
                decode($prefix, text)
                    .map(Self)
                    .map_err(|fault| JsonError::Hex { type_name: stringify!($name), form: $form, fault })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $prefix.len() + 2 * $bytes];
                formatter.pad(encode($prefix, &self.0, &mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; $prefix.len() + 2 * $bytes];
                serializer.serialize_str(encode($prefix, &self.0, &mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FromText;

                impl Visitor<'_> for FromText {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str($form)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }

                deserializer.deserialize_str(FromText)
            }
        }
    };
}

hex_type! {
    /// A SHA-256 digest as receipts, manifests and bindings write it: 64 lower-case hexadecimal digits.
    Sha256Hex, bytes: 32, prefix: "", form: "64 lower-case hexadecimal digits"
}

hex_type! {
    /// A node of a Merkle tree (RFC 6962): `0x` and 64 lower-case hexadecimal digits.
    MerkleHash, bytes: 32, prefix: "0x", form: "`0x` and 64 lower-case hexadecimal digits"
}

hex_type! {
    /// The 32 bytes of an Ed25519 public key: 64 lower-case hexadecimal digits. Whether they are a point
    /// of the curve, and a safe one, is for the verifier to say.
    PublicKeyHex, bytes: 32, prefix: "", form: "64 lower-case hexadecimal digits"
}

hex_type! {
    /// The 64 bytes of an Ed25519 signature: 128 lower-case hexadecimal digits.
    SignatureHex, bytes: 64, prefix: "", form: "128 lower-case hexadecimal digits"
}

fn decode<const N: usize>(prefix: &str, text: &str) -> Result<[u8; N], HexFault> {
    let digits = text.strip_prefix(prefix).ok_or(HexFault::Prefix)?.as_bytes();
    let (pairs, odd) = digits.as_chunks::<2>();
    if pairs.len() != N || !odd.is_empty() {
        return Err(HexFault::Length { found: digits.len() });
    }
    let mut bytes = [0; N];
    for (index, (byte, &[high, low])) in bytes.iter_mut().zip(pairs).enumerate() {
        let offset = prefix.len() + 2 * index;
        let high = nibble(high).ok_or(HexFault::Digit { offset })?;
        let low = nibble(low).ok_or(HexFault::Digit { offset: offset + 1 })?;
        *byte = (high << 4) | low;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Writes prefix and digits into a buffer of exactly their length.
fn encode<'b>(prefix: &str, bytes: &[u8], buffer: &'b mut [u8]) -> &'b str {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let digits = nibbles.map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    for (place, character) in buffer.iter_mut().zip(prefix.bytes().chain(digits)) {
        *place = character;
    }
    // Only ASCII was written.
    std::str::from_utf8(buffer).unwrap_or_default()
}
