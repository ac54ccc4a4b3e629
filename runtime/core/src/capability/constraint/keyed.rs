//! Constraints on the values under certain keys, wherever in the arguments they stand.

use serde_json::Value;

use super::{ArgumentView, Verdict};

/// Keys that name who receives something.
pub(super) const AUDIENCE: &[&str] = &["recipient", "recipients", "audience", "to", "channel", "channels"];

/// Keys that name where something is remembered.
pub(super) const MEMORY_STORE: &[&str] = &["store", "memory_store", "collection", "namespace"];

/// Some object holds the key with the string.
pub(super) fn custom([key, expected]: &[String; 2], arguments: &ArgumentView) -> Verdict {
    let absent = arguments.every_member(&mut |name, value| {
        if name == key && value.as_str() == Some(expected) { Err(()) } else { Ok(()) }
    });
    match absent {
        Err(()) => Ok(()),
        Ok(()) => Err(format!("no object holds {key:?} with the value {expected:?}").into()),
    }
}

/// Every value under one of `keys` (in any case) is a listed string, or an array of them. Arguments without
/// such a key pass; a key with anything else under it does not, because nobody could say what it means.
pub(super) fn allowlist(keys: &[&str], allowed: &[String], arguments: &ArgumentView) -> Verdict {
    let listed = |value: &Value| value.as_str().is_some_and(|text| allowed.iter().any(|entry| entry == text));
    arguments.every_member(&mut |name, value| {
        if !keys.iter().any(|key| name.eq_ignore_ascii_case(key)) {
            return Ok(());
        }
        let passes = match value {
            Value::Array(items) => !items.is_empty() && items.iter().all(listed),
            single => listed(single),
        };
        if passes { Ok(()) } else { Err(format!("{name:?} holds something that is not on the list").into()) }
    })
}
