//! The arguments of one call, read once for all constraints.

use chio_json::{Json, JsonError};
use serde_json::Value;

/// Parsed arguments and their size. Made once per call, however many constraints look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgumentView {
    value: Value,
    size: usize,
}

impl ArgumentView {
    /// Reads the arguments strictly.
    ///
    /// # Errors
    ///
    /// The arguments have no canonical text, for example because of a duplicate key.
    pub fn new(arguments: &Json) -> Result<ArgumentView, JsonError> {
        Ok(ArgumentView { value: arguments.to_value()?, size: arguments.canonical()?.len() })
    }

    /// The arguments.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Bytes of the arguments in canonical JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Shows every string leaf to `visit`, with the key of the object member it belongs to (items of an array
    /// belong to the array's key). Stops at the first error.
    pub(super) fn every_string<E>(
        &self,
        visit: &mut impl FnMut(Option<&str>, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        strings(None, &self.value, visit)
    }

    /// Shows every member of every object to `visit`. Stops at the first error.
    pub(super) fn every_member<E>(
        &self,
        visit: &mut impl FnMut(&str, &Value) -> Result<(), E>,
    ) -> Result<(), E> {
        members(&self.value, visit)
    }
}

// Recursion is bounded: the strict reader refuses nesting deeper than `chio_json::MAX_DEPTH`.

fn strings<E>(
    key: Option<&str>,
    value: &Value,
    visit: &mut impl FnMut(Option<&str>, &str) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::String(text) => visit(key, text),
        Value::Array(items) => items.iter().try_for_each(|item| strings(key, item, visit)),
        Value::Object(object) => object.iter().try_for_each(|(key, value)| strings(Some(key), value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn members<E>(value: &Value, visit: &mut impl FnMut(&str, &Value) -> Result<(), E>) -> Result<(), E> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| members(item, visit)),
        Value::Object(object) => object.iter().try_for_each(|(key, value)| {
            visit(key, value)?;
            members(value, visit)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
