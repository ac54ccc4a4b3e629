//! How far a string can be copied or skipped without looking at single bytes.

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// The number of leading bytes that stand for themselves between quotes: neither `"`, nor `\`, nor a
/// control character below U+0020.
///
/// Eight bytes at a time: a subtraction that borrows sets the high bit of a byte below its bound. A
/// borrow can spill into the bytes after the first hit, never before it, so the first hit is exact.
pub(super) fn prefix_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let hits = special(u64::from_le_bytes(*word));
        if hits != 0 {
            return index * 8 + hits.trailing_zeros() as usize / 8;
        }
    }
    let plain_rest = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    words.len() * 8 + plain_rest.unwrap_or(rest.len())
}

/// The high bit of every byte that is `"`, `\` or below 0x20, exact for the first of them.
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH_BITS
}
