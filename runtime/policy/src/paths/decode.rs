//! Undoing what hides a path from a plain comparison: percent-encoding, look-alike characters, letter case.

use std::borrow::Cow;

/// One round of percent-decoding, or `None` when there is nothing to decode.
///
/// The overlong forms of `.`, `/` and `\` that old decoders accepted (`%c0%ae`, `%c0%af`, `%c1%9c`) are decoded too.
/// Bytes that are not UTF-8 become U+FFFD.
pub(super) fn percent(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [high, low, after @ ..] if first == b'%' => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high * 16 + low);
                    rest = after;
                }
                _ => {
                    decoded.push(first);
                    rest = tail;
                }
            },
            _ => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    if decoded.len() == bytes.len() {
        return None;
    }
    Some(String::from_utf8(decoded).unwrap_or_else(|error| overlong(error.as_bytes())))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn overlong(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, after) = match rest {
            [0xc0, 0xae, after @ ..] => (b'.', after),
            [0xc0, 0xaf, after @ ..] => (b'/', after),
            [0xc1, 0x9c, after @ ..] => (b'\\', after),
            _ => (first, tail),
        };
        plain.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The text with full-width and other look-alikes of ASCII replaced and with invisible characters removed.
///
/// Some servers normalise names to Unicode NFKC, and some file systems ignore code points that show nothing, so that
/// `．env` and `.e<zero width joiner>nv` open the same file as `.env`.
pub(super) fn look_alikes(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|c| !invisible(*c)).map(ascii_of).collect())
}

fn invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0x00ad
            | 0x034f
            | 0x061c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xe0000..=0xe0fff
    )
}

fn ascii_of(c: char) -> char {
    match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        0x2024 | 0xfe52 | 0x3002 | 0xff61 => '.',
        0x2044 | 0x2215 | 0x29f8 => '/',
        0x2216 | 0x29f5 | 0x29f9 | 0xfe68 => '\\',
        0x02d0 | 0xa789 | 0xfe13 | 0xfe55 | 0x2236 => ':',
        0x00a0 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => ' ',
        0xfe63 | 0x2010..=0x2012 | 0x2212 => '-',
        0xfe4d..=0xfe4f => '_',
        _ => c,
    }
}

/// The text in lower case, with the letters that some volumes hold equal (`ſ` and `s`, the Kelvin sign and `k`) made
/// one. Names are compared this way because many volumes do not distinguish case.
pub(super) fn caseless(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}
