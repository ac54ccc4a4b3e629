//! Canonical JSON (RFC 8785): the one text of a value.
//!
//! UTF-8 without white space, keys in the order of their UTF-16 code units, the shortest escapes, floats
//! as ECMAScript prints them. One decision departs from RFC 8785: a number that `serde_json` holds as
//! `i64` or `u64` prints all its digits, also beyond 2^53, because a hashed identifier must not be
//! rounded. Texts without such integers are byte for byte those of RFC 8785; U+007F to U+009F stay raw.
//!
//! The central law, held by property tests: [`scan`] accepts a text exactly when [`from_text`] would
//! return it unchanged.

use serde::Serialize;
use serde_json::Value;

use crate::{JsonError, strict};

mod key;
mod number;
mod plain;
mod scan;
mod serialize;
mod write;

pub(crate) use scan::scan_object_without;
pub use scan::{Fault, NotCanonical, scan};

/// The canonical text of anything that serialises.
///
/// The value is written once and scanned; only a text that is not canonical yet (unsorted fields, an
/// opaque value with spaces) is parsed strictly and rewritten. Generated wire types write their
/// fields in canonical order, so for them the scan is the whole cost.
///
/// # Errors
/// [`JsonError::Unwritable`] when the value has no JSON form (a non-finite number, a map key that is not
/// a string); [`JsonError::DuplicateKey`], [`JsonError::TooDeep`] or [`JsonError::Syntax`] when its JSON
/// form would not be read strictly, for example a raw value inside that holds a key twice.
///
/// ```
/// use chio_json::canonical;
///
/// assert_eq!(canonical::to_string(&("é", u64::MAX, 1e21))?, r#"["é",18446744073709551615,1e+21]"#);
/// assert!(canonical::to_string(&f64::NAN).is_err());
/// # Ok::<(), chio_json::JsonError>(())
/// ```
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    let text = serialize::to_string(value)?;
    match scan(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => from_text(&text),
    }
}

/// The canonical text of a JSON text.
///
/// # Errors
/// Whatever [`strict::parse`] refuses.
pub fn from_text(text: &str) -> Result<String, JsonError> {
    Ok(from_value(&strict::parse(text)?))
}

/// The canonical text of a parsed value.
///
/// Nesting is not checked here: a value deeper than [`MAX_DEPTH`](crate::MAX_DEPTH) is written and will
/// be refused by whoever reads it.
#[must_use]
pub fn from_value(value: &Value) -> String {
    let mut out = String::new();
    write::value(&mut out, value);
    out
}
