//! How decisions look in MCP.
//!
//! Every result of `tools/call` names its receipt and the decision in `_meta`; the rest of the server's
//! result is copied as it is, except that nobody but us speaks under our names. A denial is a result too, with `isError`, so that the model reads why. All
//! other methods have no such form: their denials are JSON-RPC errors with the registry's entry.

use std::borrow::Cow;

use chio_json::Json;
use chio_kernel::Outcome;
use chio_spec::{Decision, ErrorCode, ToolCallError, ToolCallResult};
use serde_json::{Value, json};

use crate::edge::params::{OURS, RELATED_TASK};
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, INTERNAL_ERROR, Members, quote};
use crate::registry::{chio_error, entry, receipt_id};

/// The member of a result's `_meta` that holds the id of the receipt.
pub const RECEIPT_ID_KEY: &str = "chio.dev/receiptId";
/// The member of a result's `_meta` that holds the decision: `allow`, `deny`, `cancelled` or `incomplete`.
pub const DECISION_KEY: &str = "chio.dev/decision";
/// The member of a result's `_meta` that holds the registry's entry, for calls that did not complete.
pub const ERROR_KEY: &str = "chio.dev/error";

/// What answers a `tools/call`, or the `tasks/result` of one.
pub(super) type ToolAnswer = Result<Json, ErrorObject>;

/// The answer to a `tools/call`. `instead` is what is said in place of the server's words, and `task` the id of the task that
/// the call was.
pub(super) fn tool_result(
    outcome: &Outcome,
    instead: Option<&ErrorObject>,
    task: Option<&str>,
) -> ToolAnswer {
    match &outcome.result {
        ToolCallResult::Ok(ok) => annotated(&ok.value, outcome, task),
        _ => Ok(denied_result(outcome, instead, task)),
    }
}

/// A server's result with the receipt that its call left.
pub(super) fn annotated(result: &Json, outcome: &Outcome, task: Option<&str>) -> ToolAnswer {
    with_receipt(result, outcome, task).map_err(|error| {
        // The kernel took the result for JSON that reads one way only, so this cannot be the server's fault.
        ErrorObject::new(INTERNAL_ERROR, format!("the result could not be annotated: {error}"))
    })
}

/// What is said instead of a server's words, with the receipt that says the call failed.
pub(super) fn instead_with_receipt(instead: &ErrorObject, outcome: &Outcome) -> ErrorObject {
    let Some(id) = receipt_id(outcome) else { return instead.clone() };
    let data = instead.data.as_ref().and_then(|data| data.to_value().ok());
    let mut data = data.filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.insert("receiptId".to_owned(), id.into());
    }
    ErrorObject::new(instead.code, format!("{} (receipt {id})", instead.message))
        .with_data(Json::from_value(&data))
}

/// The error that answers any other method whose call did not complete.
pub(super) fn method_error(outcome: &Outcome) -> ErrorObject {
    let code = outcome.error.unwrap_or(ErrorCode::InternalError);
    chio_error(code, Some(&reason(outcome)), receipt_id(outcome))
}

/// A failed exchange with the server, for methods that leave no receipt.
pub(super) fn upstream_error(error: McpError) -> ErrorObject {
    match error {
        McpError::Refused(refusal) => own_refusal(&refusal),
        error => chio_error(error.code(), Some(&error.to_string()), None),
    }
}

/// The server's own error, as it was, with the receipt beside its data where that is possible.
pub(super) fn refusal_with_receipt(refusal: &ErrorObject, outcome: &Outcome) -> ErrorObject {
    let refusal = own_refusal(refusal);
    let Some(id) = receipt_id(outcome) else { return refusal };
    let receipt = [(RECEIPT_ID_KEY, quote(id))];
    let data = match &refusal.data {
        None => Some(Members::default()),
        Some(data) => Members::parse(data.get()).ok(),
    };
    let data = data.and_then(|mut data| {
        for (key, value) in receipt {
            data.set(key, value);
        }
        data.to_json().ok()
    });
    ErrorObject { data: data.or_else(|| refusal.data.clone()), ..refusal }
}

/// A server's error without what only we may say in its data.
pub(super) fn own_refusal(refusal: &ErrorObject) -> ErrorObject {
    let data = refusal.data.as_ref().map(|data| {
        let Ok(mut members) = Members::parse(data.get()) else { return data.clone() };
        members.retain(|key| !key.starts_with(OURS) && !matches!(key, "chioError" | "receiptId"));
        strip_meta(&mut members);
        members.to_json().unwrap_or_else(|_| crate::upstream::empty_object())
    });
    ErrorObject { data, ..refusal.clone() }
}

/// An object of a server's without what only we may say in its `_meta`.
pub(super) fn without_ours(object: &str) -> Cow<'_, str> {
    // An escape may hide a name.
    if !object.contains(OURS) && !object.contains('\\') {
        return Cow::Borrowed(object);
    }
    let Ok(mut members) = Members::parse(object) else { return Cow::Borrowed(object) };
    strip_meta(&mut members);
    Cow::Owned(members.to_text())
}

/// Takes out of an object's `_meta` what only we may say.
pub(super) fn strip_meta(members: &mut Members<'_>) {
    let Some(meta) = members.get("_meta").map(without_our_keys) else { return };
    members.set("_meta", meta);
}

/// A `_meta` without our names. One that is no object breaks MCP and says nothing.
pub(super) fn without_our_keys(meta: &str) -> String {
    let mut meta = Members::parse(meta).unwrap_or_default();
    meta.retain(|key| !key.starts_with(OURS));
    meta.to_text()
}

fn with_receipt(result: &Json, outcome: &Outcome, task: Option<&str>) -> Result<Json, String> {
    let mut members = Members::parse(result.get()).map_err(|error| error.to_string())?;
    let meta = members.get("_meta").unwrap_or("{}").to_owned();
    // A server whose `_meta` is no object breaks MCP; ours takes its place.
    let mut meta = Members::parse(&meta).unwrap_or_default();
    // Whatever a server claims under our names is not ours, and its tasks are none of the client's.
    meta.retain(|key| !key.starts_with(OURS) && key != RELATED_TASK);
    if let Some(task) = task {
        meta.set(RELATED_TASK, format!(r#"{{"taskId":{}}}"#, quote(task)));
    }
    if let Some(id) = receipt_id(outcome) {
        meta.set(RECEIPT_ID_KEY, quote(id));
    }
    meta.set(DECISION_KEY, quote(decision(&outcome.decision)));
    members.set("_meta", meta.to_text());
    members.to_json().map_err(|error| error.to_string())
}

fn denied_result(outcome: &Outcome, instead: Option<&ErrorObject>, task: Option<&str>) -> Json {
    let reason = instead.map_or_else(|| reason(outcome), |error| error.message.clone());
    let receipt_id = receipt_id(outcome);
    let text = match receipt_id {
        Some(id) => format!("{reason} (receipt {id})"),
        None => reason,
    };
    let mut meta = json!({DECISION_KEY: decision(&outcome.decision)});
    if let Some(meta) = meta.as_object_mut() {
        if let Some(id) = receipt_id {
            meta.insert(RECEIPT_ID_KEY.to_owned(), id.into());
        }
        if let Some(error) = instead.and_then(registered).or_else(|| outcome.error.map(entry)) {
            meta.insert(ERROR_KEY.to_owned(), error);
        }
        if let Some(task) = task {
            meta.insert(RELATED_TASK.to_owned(), json!({"taskId": task}));
        }
    }
    Json::from_value(&json!({
        "_meta": meta,
        "content": [{"type": "text", "text": text}],
        "isError": true,
    }))
}

/// The registry's entry that an error carries.
fn registered(error: &ErrorObject) -> Option<Value> {
    error.data.as_ref()?.to_value().ok()?.get("chioError").cloned()
}

fn decision(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny(_) => "deny",
        Decision::Cancelled(_) => "cancelled",
        Decision::Incomplete(_) => "incomplete",
    }
}

/// What the agent is told: short, stable and without the rule.
pub(super) fn reason(outcome: &Outcome) -> String {
    match &outcome.result {
        ToolCallResult::Err(result) => match &result.error {
            ToolCallError::CapabilityDenied(detail)
            | ToolCallError::ToolServerError(detail)
            | ToolCallError::InternalError(detail) => detail.clone(),
            ToolCallError::PolicyDenied(denial) => denial.reason.clone(),
            ToolCallError::CapabilityExpired => ErrorCode::CapabilityExpired.summary().to_owned(),
            ToolCallError::CapabilityRevoked => ErrorCode::CapabilityRevoked.summary().to_owned(),
        },
        ToolCallResult::Cancelled(result) => result.reason.clone(),
        ToolCallResult::Incomplete(result) => result.reason.clone(),
        ToolCallResult::Ok(_) | ToolCallResult::StreamComplete(_) => {
            "the call completed in a form that MCP cannot carry".to_owned()
        }
    }
}
