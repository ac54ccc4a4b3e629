//! The built-in server of the demonstration: a folder of notes that exists in memory only.
//!
//! It is an ordinary MCP server at the other end of a pipe, so that the demonstration takes the same way through the
//! house with it as with any other.

use std::sync::Arc;

use async_trait::async_trait;
use chio_json::Json;
use chio_mcp::channel::Channel;
use chio_mcp::jsonrpc::{ErrorObject, INVALID_PARAMS, METHOD_NOT_FOUND, Notification};
use chio_mcp::session::{Handler, Incoming, Limits, Session};
use chio_mcp::stdio::{Side, attach};
use chio_spec::versions;
use serde_json::{Value, json};

/// Bytes that wait in the pipe to the server.
const PIPE: usize = 64 * 1024;

/// The notes. The last one is what nobody should be able to read.
const NOTES: [(&str, &str); 3] = [
    ("readme.txt", "These notes exist in memory only."),
    ("today.txt", "Put a guard in front of the tools."),
    (".env", "API_TOKEN=not-a-real-secret"),
];

/// Starts the server, and connects to it.
pub(super) fn connect() -> Channel {
    let (near, far) = tokio::io::duplex(PIPE);
    let (reader, writer) = tokio::io::split(far);
    let (channel, pumps) = attach(reader, writer, Side::Client);
    let (session, driver) = Session::new(channel, Limits::default());
    let (reader, writer) = tokio::io::split(near);
    let (channel, near_pumps) = attach(reader, writer, Side::Server);
    tokio::spawn(async move {
        driver.run(Arc::new(Notes)).await;
        drop((session, pumps, near_pumps));
    });
    channel
}

struct Notes;

#[async_trait]
impl Handler for Notes {
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        let params = request.params.as_ref().and_then(|params| params.to_value().ok()).unwrap_or_default();
        let result = match request.method.as_str() {
            "initialize" => json!({
                "protocolVersion": versions::MCP_PROTOCOL_VERSIONS.first(),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "notes", "version": env!("CARGO_PKG_VERSION")},
            }),
            "ping" => json!({}),
            "tools/list" => json!({"tools": tools()}),
            "tools/call" => return call(&params),
            method => return Err(ErrorObject::new(METHOD_NOT_FOUND, format!("there is no method {method}"))),
        };
        Ok(Json::from_value(&result))
    }

    fn notification(&self, _notification: Notification) {}
}

fn tools() -> Value {
    let read_only = json!({"readOnlyHint": true});
    json!([
        {
            "name": "list_files",
            "description": "Lists the notes.",
            "inputSchema": {"type": "object", "properties": {}},
            "annotations": read_only,
        },
        {
            "name": "read_file",
            "description": "Reads a note.",
            "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            "annotations": read_only,
        },
    ])
}

fn call(params: &Value) -> Result<Json, ErrorObject> {
    let path = params.pointer("/arguments/path").and_then(Value::as_str).unwrap_or_default();
    let (text, is_error) = match params.get("name").and_then(Value::as_str) {
        Some("list_files") => (NOTES.map(|(name, _)| name).join("\n"), false),
        Some("read_file") => match NOTES.iter().find(|(name, _)| *name == path) {
            Some((_, text)) => ((*text).to_owned(), false),
            None => (format!("there is no note {path}"), true),
        },
        _ => return Err(ErrorObject::new(INVALID_PARAMS, "there is no such tool")),
    };
    Ok(Json::from_value(&json!({"content": [{"type": "text", "text": text}], "isError": is_error})))
}
