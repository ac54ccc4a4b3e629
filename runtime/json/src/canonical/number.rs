//! Numbers: whole 64-bit integers exactly, everything else as ECMAScript prints a double.

use serde_json::Number;

/// The longest print of a number, in bytes: `-0.0000012345678901234567`.
const MAX_LEN: usize = 25;

/// Appends the canonical print of a number.
pub(super) fn write(out: &mut String, number: &Number) {
    if let Some(integer) = number.as_u64() {
        out.push_str(itoa::Buffer::new().format(integer));
    } else if let Some(integer) = number.as_i64() {
        out.push_str(itoa::Buffer::new().format(integer));
    } else if let Some(double) = number.as_f64() {
        // A `Number` holds finite doubles only. -0 prints as 0.
        out.push_str(ryu_js::Buffer::new().format_finite(double));
    }
}

/// Whether a literal is the canonical print of the number that it reads as.
///
/// An integer literal reads as `u64` or `i64` when it fits, which prints all its digits again; every
/// other literal reads as a double and has to be the print of that double. So `100000000000000000000`
/// is canonical (ECMAScript writes 1e20 so), and so is `1e+21`, but `1e21`, `1.0`, `-0` and 2^64 with all
/// its digits are not. No canonical print is longer than [`MAX_LEN`], which also bounds the work.
pub(super) fn is_canonical(literal: &str) -> bool {
    if literal.len() > MAX_LEN {
        return false;
    }
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        match digits.as_bytes() {
            [] => return false,
            [b'0'] => return digits.len() == literal.len(),
            [b'0', ..] => return false,
            _ => {}
        }
        // Eighteen digits always fit.
        if digits.len() <= 18 || literal.parse::<u64>().is_ok() || literal.parse::<i64>().is_ok() {
            return true;
        }
    }
    match literal.parse::<f64>() {
        Ok(double) => double.is_finite() && ryu_js::Buffer::new().format_finite(double) == literal,
        Err(_) => false,
    }
}
