//! `serde_json` writes a number that is not finite as `null`. A signature must not cover that lie.

use serde::Serialize;

use crate::JsonError;

pub(super) fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    serde_json::to_string(value).map_err(|error| JsonError::from_writing(&error))
}
