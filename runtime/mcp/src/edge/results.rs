//! How decisions look in MCP.
//!
//! Every result of `tools/call` names its receipt and the decision in `_meta`; the rest of the server's
//! result is copied as it is. A denial is a result too, with `isError`, so that the model reads why. All
//! other methods have no such form: their denials are JSON-RPC errors with the registry's entry.

use chio_json::Json;
use chio_kernel::Outcome;
use chio_spec::{Decision, ErrorCode, ToolCallError, ToolCallResult};
use serde_json::{Value, json};

use crate::edge::params::RELATED_TASK;
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

/// The answer to a `tools/call`. `unavailable` is why there was no server to call, and `task` the id of the task that
/// the call was.
pub(super) fn tool_result(
    outcome: &Outcome,
    unavailable: Option<&ErrorObject>,
    task: Option<&str>,
) -> ToolAnswer {
    match &outcome.result {
        ToolCallResult::Ok(ok) => with_receipt(&ok.value, outcome, task).map_err(|error| {
            // The kernel took the result for JSON that reads one way only, so this cannot be the server's fault.
            ErrorObject::new(INTERNAL_ERROR, format!("the result could not be annotated: {error}"))
        }),
        _ => Ok(denied_result(outcome, unavailable, task)),
    }
}

/// Why there was no server to call, with the receipt that says the call failed.
pub(super) fn unavailable_error(unavailable: &ErrorObject, outcome: &Outcome) -> ErrorObject {
    let Some(id) = receipt_id(outcome) else { return unavailable.clone() };
    let data = unavailable.data.as_ref().and_then(|data| data.to_value().ok());
    let mut data = data.filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.insert("receiptId".to_owned(), id.into());
    }
    ErrorObject::new(unavailable.code, format!("{} (receipt {id})", unavailable.message))
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
        McpError::Refused(refusal) => refusal,
        error => chio_error(error.code(), Some(&error.to_string()), None),
    }
}

/// The server's own error, as it was, with the receipt beside its data where that is possible.
pub(super) fn refusal_with_receipt(refusal: &ErrorObject, outcome: &Outcome) -> ErrorObject {
    let Some(id) = receipt_id(outcome) else { return refusal.clone() };
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
    ErrorObject { data: data.or_else(|| refusal.data.clone()), ..refusal.clone() }
}

fn with_receipt(result: &Json, outcome: &Outcome, task: Option<&str>) -> Result<Json, String> {
    let mut members = Members::parse(result.get()).map_err(|error| error.to_string())?;
    let meta = members.get("_meta").unwrap_or("{}").to_owned();
    // A server whose `_meta` is no object breaks MCP; ours takes its place.
    let mut meta = Members::parse(&meta).unwrap_or_default();
    // Whatever a server claims under our names is not ours, and its tasks are none of the client's.
    meta.retain(|key| !key.starts_with("chio.dev/") && key != RELATED_TASK);
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

fn denied_result(outcome: &Outcome, unavailable: Option<&ErrorObject>, task: Option<&str>) -> Json {
    let reason = unavailable.map_or_else(|| reason(outcome), |error| error.message.clone());
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
        if let Some(error) = unavailable.and_then(registered).or_else(|| outcome.error.map(entry)) {
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
