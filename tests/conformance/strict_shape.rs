//! The public protocol's own members, written down a second time.
//!
//! The schemas may grow by optional members; clients of the public protocol, which close their objects too, must never
//! be sent one that they did not ask for. So this list does not follow the schemas: it is what a stock client knows.

use serde_json::Value;

const RECEIPT: &[&str] = &[
    "action",
    "capability_id",
    "content_hash",
    "decision",
    "evidence",
    "id",
    "kernel_key",
    "metadata",
    "policy_hash",
    "signature",
    "timestamp",
    "tool_name",
    "tool_server",
];

/// The members of a kernel's message that a stock client does not know.
pub(crate) fn faults(message: &Value) -> Vec<String> {
    let tag = message["type"].as_str().unwrap_or_default();
    let known: &[&str] = match tag {
        "tool_call_chunk" => &["chunk_index", "data", "id", "type"],
        "tool_call_response" => &["id", "receipt", "result", "type"],
        "capability_list" => &["capabilities", "type"],
        "capability_revoked" => &["id", "type"],
        "heartbeat" => &["type"],
        _ => return vec![format!("stock clients know no message {tag:?}")],
    };
    let mut faults = unknown("message", message, known);
    if tag == "tool_call_response" {
        let receipt = &message["receipt"];
        faults.extend(unknown("receipt", receipt, RECEIPT));
        faults.extend(unknown("action", &receipt["action"], &["parameter_hash", "parameters"]));
        faults.extend(unknown("decision", &receipt["decision"], &["guard", "reason", "verdict"]));
        faults.extend(result(&message["result"]));
    }
    faults
}

fn result(result: &Value) -> Vec<String> {
    let known: &[&str] = match result["status"].as_str() {
        Some("ok") => &["status", "value"],
        Some("stream_complete") => &["status", "total_chunks"],
        Some("cancelled" | "incomplete") => &["chunks_received", "reason", "status"],
        Some("err") => &["error", "status"],
        other => return vec![format!("stock clients know no status {other:?}")],
    };
    let mut faults = unknown("result", result, known);
    faults.extend(unknown("error", &result["error"], &["code", "detail"]));
    faults
}

fn unknown(what: &str, object: &Value, known: &[&str]) -> Vec<String> {
    let members = object.as_object().into_iter().flatten().map(|(name, _)| name);
    let unknown = members.filter(|name| !known.contains(&name.as_str()));
    unknown.map(|name| format!("the {what} has the member {name:?}, which stock clients refuse")).collect()
}
