//! Request ids, kept as the text they arrived in.
//!
//! MCP allows strings and integers. Both are compared and echoed by their JSON text: an id that was
//! sent as `"\u0061"` comes back as `"\u0061"`, and an integer too large for any machine word survives.

use std::fmt;

/// The id of a JSON-RPC request: a JSON string or a JSON integer, byte for byte as the peer wrote it.
///
/// MCP 2025-11-25, "Messages": an id is a string or integer and never `null`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Box<str>);

impl Id {
    /// Takes the JSON text of an id.
    ///
    /// # Errors
    /// [`InvalidId`] when the text is anything but a JSON string or integer (`null`, fractions and
    /// exponents included).
    pub fn from_json(text: &str) -> Result<Self, InvalidId> {
        let valid = match text.as_bytes() {
            [b'"', .., b'"'] => serde_json::from_str::<String>(text).is_ok(),
            [b'-', digits @ ..] | digits => is_integer(digits),
        };
        if valid { Ok(Self(text.into())) } else { Err(InvalidId) }
    }

    /// An id of our own making.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(number.to_string().into_boxed_str())
    }

    /// The JSON text of the id.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// The number, where the id is a non-negative integer of at most 64 bits, as all of our own are.
    #[must_use]
    pub fn as_number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not a JSON string or integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id must be a JSON string or integer")]
pub struct InvalidId;

fn is_integer(digits: &[u8]) -> bool {
    match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
