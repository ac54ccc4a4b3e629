//! The client of the demonstration: an MCP client on the other end of the pipe that `chio wrap` would serve.

use std::sync::Arc;
use std::time::Duration;

use chio_json::Json;
use chio_mcp::edge::{Edge, EdgeSettings, End, RECEIPT_ID_KEY};
use chio_mcp::process::Exit;
use chio_mcp::servers::{Member, SessionServers};
use chio_mcp::session::RequestOptions;
use chio_mcp::stdio::{Pumps, Side, attach};
use chio_mcp::upstream::Upstream;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::failure::{Failure, OrFail};

/// Bytes that wait in the pipe between client and edge.
const PIPE: usize = 256 * 1024;

/// How long the demonstration waits for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, and the edge that serves it.
pub(super) struct Client {
    session: Upstream,
    servers: Arc<SessionServers>,
    edge: JoinHandle<End>,
    stop: CancellationToken,
    _pumps: Pumps,
}

/// What a call answered.
pub(super) struct CallAnswer {
    /// What the model would read.
    pub(super) text: String,
    /// Whether it is an error for the model.
    pub(super) is_error: bool,
    /// The receipt that stands behind it.
    pub(super) receipt_id: String,
}

impl Client {
    /// Connects a client to a new edge over a pipe in memory.
    pub(super) fn connect(settings: EdgeSettings) -> Client {
        let (near, far) = tokio::io::duplex(PIPE);
        let (reader, writer) = tokio::io::split(far);
        let (channel, edge_pumps) = attach(reader, writer, Side::Client);
        let servers = Arc::clone(&settings.servers);
        let stop = CancellationToken::new();
        let edge = {
            let stop = stop.clone();
            tokio::spawn(async move {
                let end = Edge::serve(settings, channel, stop).await;
                // The client sees that the edge is gone, whichever way it went.
                drop(edge_pumps);
                end
            })
        };
        let (reader, writer) = tokio::io::split(near);
        let (channel, client_pumps) = attach(reader, writer, Side::Server);
        Client { session: Upstream::connect(channel), servers, edge, stop, _pumps: client_pumps }
    }

    /// Initializes the session; answers the server's name for itself.
    pub(super) async fn initialize(&self) -> Result<String, Failure> {
        let initialized = self
            .session
            .initialize_as("chio-demo", env!("CARGO_PKG_VERSION"))
            .await
            .doing("starting the server")
            .hint("run its command by hand to see what it prints")?;
        let result: Value = initialized.result.to_value()?;
        let name =
            result.pointer("/serverInfo/name").and_then(Value::as_str).unwrap_or("a server without a name");
        Ok(name.to_owned())
    }

    /// The tools that the client is shown, as their definitions.
    pub(super) async fn tools(&self) -> Result<Vec<Value>, Failure> {
        let tools = self.session.tools().await.doing("listing the tools")?;
        tools.tools().iter().map(|tool| Ok(tool.definition.to_value()?)).collect()
    }

    /// All tools of the server, hidden ones too.
    pub(super) async fn all_tools(&self) -> Result<Vec<String>, Failure> {
        let server = self.servers.members().first().and_then(Member::running);
        let server = server.ok_or_else(|| Failure::new("the server has ended"))?;
        let tools = server.tools().await.doing("listing the tools")?;
        Ok(tools.tools().iter().map(|tool| tool.name.clone()).collect())
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: &Value) -> Result<CallAnswer, Failure> {
        let params = Json::from_value(&json!({"name": tool, "arguments": arguments}));
        let options = RequestOptions { timeout: Some(PATIENCE), ..RequestOptions::default() };
        let doing = format!("calling {tool}");
        let answer =
            self.session.request("tools/call", Some(&params), options).await.doing(&doing)?.to_value()?;
        let receipt_id = answer
            .get("_meta")
            .and_then(|meta| meta.get(RECEIPT_ID_KEY))
            .and_then(Value::as_str)
            .ok_or_else(|| Failure::new("the answer names no receipt"))
            .doing(doing)?;
        Ok(CallAnswer {
            text: text(&answer),
            is_error: answer.get("isError").and_then(Value::as_bool).unwrap_or(false),
            receipt_id: receipt_id.to_owned(),
        })
    }

    /// Ends the session, the edge and the server's whole process tree; tells how the server ended, if it was a process.
    pub(super) async fn leave(self) -> Option<Exit> {
        self.session.stop().await;
        self.stop.cancel();
        if let Err(error) = self.edge.await {
            tracing::warn!(%error, "the edge of the demonstration broke off");
        }
        self.servers.close().await;
        self.servers.members().first().and_then(Member::exit)
    }
}

/// The text of a tool's result.
fn text(answer: &Value) -> String {
    let content = answer.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts = content.iter().filter_map(|block| block.get("text").and_then(Value::as_str));
    texts.collect::<Vec<_>>().join("\n")
}
