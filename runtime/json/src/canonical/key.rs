//! The order of keys: by UTF-16 code units (RFC 8785 §3.2.3), compared on UTF-8 bytes.
//!
//! UTF-8 sorts by code point, and code point order differs from UTF-16 order in one place only: a
//! character beyond U+FFFF is written with surrogates (0xD800–0xDFFF) and therefore sorts *before*
//! U+E000–U+FFFF. In UTF-8 those two groups are told apart by their first byte alone (0xF0–0xF4 against
//! 0xEE and 0xEF), so lifting these two bytes above all others turns one order into the other. Nothing
//! has to be decoded or allocated.

use std::cmp::Ordering;

/// Compares two decoded keys.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let pairs = left.bytes().zip(right.bytes());
    match pairs.into_iter().find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => left.len().cmp(&right.len()),
    }
}

/// Compares two keys as they stand between their quotes in canonical text, escapes and all.
pub(super) fn compare_escaped(left: &str, right: &str) -> Ordering {
    Unescaped(left.bytes()).map(rank).cmp(Unescaped(right.bytes()).map(rank))
}

/// Where a UTF-8 byte stands in UTF-16 order.
fn rank(byte: u8) -> u8 {
    match byte {
        0xee | 0xef => byte + 0x10,
        _ => byte,
    }
}

/// The bytes of a canonically escaped string. Every canonical escape stands for one ASCII character.
struct Unescaped<'a>(std::str::Bytes<'a>);

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self.0.next()? {
            b'\\' => match self.0.next()? {
                b'b' => Some(0x08),
                b't' => Some(b'\t'),
                b'n' => Some(b'\n'),
                b'f' => Some(0x0c),
                b'r' => Some(b'\r'),
                // `u001f`: only the last two digits carry anything.
                b'u' => {
                    let high = self.0.nth(2)?;
                    let low = self.0.next()?;
                    Some((digit(high) << 4) | digit(low))
                }
                quote_or_backslash => Some(quote_or_backslash),
            },
            byte => Some(byte),
        }
    }
}

/// The value of a lower-case hexadecimal digit that the scan has already accepted.
fn digit(byte: u8) -> u8 {
    match byte {
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte & 0x0f,
    }
}
