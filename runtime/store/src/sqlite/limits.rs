//! What the database can hold, checked before anything waits for it, and the one value it keeps as JSON.

use crate::error::StoreError;

/// The longest text in bytes. A frame of the native transport is no longer.
const TEXT: usize = 16 * 1024 * 1024;

/// SQLite's integers are signed.
pub(super) fn integer(field: &'static str, value: u64) -> Result<(), StoreError> {
    if i64::try_from(value).is_ok() {
        return Ok(());
    }
    Err(StoreError::Invalid { field, detail: format!("{value} is above 2^63 - 1") })
}

pub(super) fn text(field: &'static str, value: &str) -> Result<(), StoreError> {
    if value.len() <= TEXT {
        return Ok(());
    }
    Err(StoreError::Invalid { field, detail: format!("{} bytes are more than {TEXT}", value.len()) })
}

pub(super) fn charges_to_text(charges: &[(String, u32)]) -> String {
    serde_json::Value::from(
        charges.iter().map(|(id, index)| serde_json::json!([id, index])).collect::<Vec<serde_json::Value>>(),
    )
    .to_string()
}

pub(super) fn charges_from_text(text: &str) -> Result<Vec<(String, u32)>, serde_json::Error> {
    serde_json::from_str(text)
}
