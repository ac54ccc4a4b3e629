//! An MCP server with one tool, `echo`, built on somebody else's library, over standard input and output or over HTTP.
//!
//! `echo-upstream stdio` serves one client; `echo-upstream http 127.0.0.1:PORT` serves `/mcp` with sessions. Accepted
//! sockets get no delay: with Nagle's algorithm an answer of several small writes waits 40 ms for the peer's
//! acknowledgement, and the benchmark would measure that.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["stdio"] => {
            Echo.serve(rmcp::transport::stdio()).await?.waiting().await?;
        }
        ["http", address] => {
            let service = StreamableHttpService::new(
                || Ok(Echo),
                Arc::new(LocalSessionManager::default()),
                StreamableHttpServerConfig::default(),
            );
            let listener = TcpListener::bind(address).await?.tap_io(|socket| {
                let _ = socket.set_nodelay(true);
            });
            axum::serve(listener, Router::new().nest_service("/mcp", service)).await?;
        }
        _ => return Err("usage: echo-upstream stdio | echo-upstream http ADDRESS".into()),
    }
    Ok(())
}

struct Echo;

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        });
        let Value::Object(schema) = schema else { unreachable!("an object is written above") };
        let tool = Tool::new("echo", "Answers with the message it was given.", Arc::<JsonObject>::new(schema));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let message = request.arguments.as_ref().and_then(|arguments| arguments.get("message")?.as_str());
        match (request.name.as_ref(), message) {
            ("echo", Some(message)) => {
                Ok(CallToolResult::success(vec![ContentBlock::text(message)]).into())
            }
            _ => Err(ErrorData::invalid_params("only `echo` with a `message` is known here", None)),
        }
    }
}
