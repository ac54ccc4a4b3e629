//! An MCP session: opened, asked for its tools, closed.

use serde_json::{Value, json};

use crate::http::{Connection, Response};
use crate::paths::Endpoint;

/// The revision that every path is measured at.
const PROTOCOL_VERSION: &str = "2025-11-25";

/// An open session.
pub(crate) struct Session {
    endpoint: Endpoint,
    id: Option<String>,
    version: String,
}

impl Session {
    /// Initializes a session, over a connection of the caller's.
    pub(crate) fn open(endpoint: &Endpoint, connection: &mut Connection) -> Result<Session, String> {
        let mut session =
            Session { endpoint: endpoint.clone(), id: None, version: PROTOCOL_VERSION.to_owned() };
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "chio-bench", "version": "1"},
        }});
        let response = connection.exchange(&session.head("POST"), &hello.to_string())?;
        let answer = answer(&response)?;
        let version = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        session.version = version.ok_or_else(|| format!("not initialized: {answer}"))?.to_owned();
        session.id = response.header("mcp-session-id").map(str::to_owned);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let response = connection.exchange(&session.head("POST"), &ready.to_string())?;
        if !matches!(response.status, 200..300) {
            return Err(format!("not ready: HTTP {} {}", response.status, response.body));
        }
        Ok(session)
    }

    /// Fails unless the session offers the tool that is going to be called.
    pub(crate) fn expect_tool(&self, connection: &mut Connection) -> Result<(), String> {
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}});
        let answer = answer(&connection.exchange(&self.head("POST"), &list.to_string())?)?;
        let tools = answer.pointer("/result/tools").and_then(Value::as_array);
        let offered = tools.is_some_and(|tools| {
            tools.iter().any(|tool| tool.get("name").and_then(Value::as_str) == Some(self.endpoint.tool))
        });
        if offered { Ok(()) } else { Err(format!("no tool {:?}: {answer}", self.endpoint.tool)) }
    }

    pub(crate) fn close(&self, connection: &mut Connection) {
        // Not every gateway lets a client end its session.
        let _ = connection.exchange(&self.head("DELETE"), "");
    }

    /// The head of a request, but for its length.
    pub(crate) fn head(&self, method: &str) -> String {
        let Endpoint { address, path, .. } = &self.endpoint;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in self.headers() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    /// The headers that say who asks, and in which session.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
        ];
        if let Some(token) = self.endpoint.token {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        if let Some(id) = &self.id {
            headers.push(("MCP-Session-Id", id.clone()));
            headers.push(("MCP-Protocol-Version", self.version.clone()));
        }
        headers
    }
}

/// The JSON-RPC answer in a response, which is its body or the data of its last event.
fn answer(response: &Response) -> Result<Value, String> {
    let text = match response.header("content-type") {
        Some(kind) if kind.starts_with("text/event-stream") => {
            let mut data = response.body.lines().filter_map(|line| line.strip_prefix("data:"));
            data.rfind(|data| data.contains("jsonrpc")).unwrap_or_default()
        }
        _ => response.body.as_str(),
    };
    serde_json::from_str(text)
        .map_err(|error| format!("HTTP {}: {error} in {:?}", response.status, response.body))
}
