//! The error registry in terms of JSON-RPC.

use chio_json::Json;
use chio_kernel::Outcome;
use chio_spec::ErrorCode;
use serde_json::json;

use crate::jsonrpc::ErrorObject;

/// The JSON-RPC error of a registry entry; the text is the entry's own unless another is given.
pub(crate) fn chio_error(code: ErrorCode, text: Option<&str>, receipt_id: Option<&str>) -> ErrorObject {
    let text = text.unwrap_or_else(|| code.summary());
    let message = match receipt_id {
        Some(id) => format!("{text} (receipt {id})"),
        None => text.to_owned(),
    };
    let mut data = json!({"chioError": entry(code)});
    if let (Some(id), Some(data)) = (receipt_id, data.as_object_mut()) {
        data.insert("receiptId".to_owned(), id.into());
    }
    ErrorObject::new(i64::from(code.jsonrpc_code()), message).with_data(Json::from_value(&data))
}

/// The entry as clients see it.
pub(crate) fn entry(code: ErrorCode) -> serde_json::Value {
    json!({
        "code": code.number(),
        "name": code.name(),
        "category": code.category().as_str(),
        "transient": code.transient(),
        "retry": {"strategy": code.retry().as_str(), "guidance": code.guidance()},
    })
}

/// The id of an outcome's receipt.
pub(crate) fn receipt_id(outcome: &Outcome) -> Option<&str> {
    outcome.receipt.view().ok().map(|receipt| receipt.id.as_str())
}
