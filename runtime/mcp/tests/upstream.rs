//! The client side against servers in memory that lie, loop and die.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chio_json::Json;
use chio_kernel::{Target, ToolServerConnection};
use chio_mcp::McpError;
use chio_mcp::channel::{Arrival, Channel};
use chio_mcp::connection::WrappedServer;
use chio_mcp::jsonrpc::Message;
use chio_mcp::process::ServerCommand;
use chio_mcp::session::RequestOptions;
use chio_mcp::upstream::Upstream;
use chio_spec::{ServerId, ToolName};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const FIXTURE: &str = env!("CARGO_BIN_EXE_chio-mcp-fixture");

/// A server that answers each request with what the function makes of it: results, or errors in an `error` member.
fn server(answer: impl Fn(&Value) -> Value + Send + 'static) -> (Upstream, mpsc::Sender<Arrival>) {
    let (channel, arrived, mut departures) = Channel::new(1 << 20);
    let tell = arrived.clone();
    tokio::spawn(async move {
        while let Some(departure) = departures.next().await {
            let request: Value = serde_json::from_str(&departure.text).unwrap();
            if request["id"].is_null() {
                continue;
            }
            let answer = answer(&request);
            let message = match answer.get("error") {
                Some(error) => json!({"jsonrpc": "2.0", "id": request["id"], "error": error}),
                None => json!({"jsonrpc": "2.0", "id": request["id"], "result": answer}),
            };
            let message = Message::parse(&message.to_string()).unwrap();
            if arrived.send(Arrival::Message(message)).await.is_err() {
                return;
            }
        }
    });
    (Upstream::connect(channel), tell)
}

fn initialized() -> Value {
    json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}})
}

fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {}})
}

#[tokio::test]
async fn initialization_needs_an_answer_that_makes_sense() {
    for (answer, sound) in [
        (initialized(), true),
        (json!({"protocolVersion": "2099-01-01"}), true),
        (json!({}), false),
        (json!([]), false),
        (json!({"protocolVersion": 1}), false),
        (json!({"protocolVersion": "2025-11-25", "capabilities": 1}), false),
    ] {
        let text = answer.to_string();
        let (upstream, _tell) = server(move |_| answer.clone());
        let outcome = upstream.initialize_as("chio", "0").await;
        assert_eq!(outcome.is_ok(), sound, "{text}");
        assert_eq!(upstream.ready().is_cancelled(), sound);
        if !sound {
            assert!(matches!(outcome, Err(McpError::NotInitialized { .. })), "{text}");
        }
    }
    let (upstream, _tell) = server(|_| json!({"error": {"code": -1, "message": "no"}}));
    assert!(matches!(upstream.initialize_as("chio", "0").await, Err(McpError::Refused(_))));
}

#[tokio::test]
async fn a_program_that_is_not_there_or_ends_at_once_is_named() {
    let start = |program: &str, argument: &str| {
        Upstream::start(&ServerCommand::new(program, [argument]).supervised_by(FIXTURE)).unwrap()
    };
    let missing = start("/nonexistent/server", "").initialize_as("chio", "0").await.map(drop);
    assert!(matches!(missing, Err(McpError::NotStarted { .. })), "{missing:?}");
    let ended = start("sh", "-c").initialize_as("chio", "0").await.map(drop).unwrap_err();
    assert!(matches!(&ended, McpError::NotInitialized { reason } if reason.contains("status 2")), "{ended}");
}

#[tokio::test]
async fn the_list_of_tools_ends() {
    // Pages without an end, and pages in a circle.
    let pages = AtomicU64::new(0);
    let (upstream, _tell) = server(move |_| {
        let page = pages.fetch_add(1, Ordering::Relaxed);
        json!({"tools": [tool(&format!("t{page}"))], "nextCursor": format!("c{page}")})
    });
    assert!(matches!(upstream.tools().await, Err(McpError::MalformedAnswer(_))));
    let (upstream, _tell) = server(|_| json!({"tools": [], "nextCursor": "again"}));
    assert!(matches!(upstream.tools().await, Err(McpError::MalformedAnswer(_))));
    for answer in [json!({}), json!({"tools": {}}), json!([]), json!({"tools": null})] {
        let (upstream, _tell) = server(move |_| answer.clone());
        assert!(matches!(upstream.tools().await, Err(McpError::MalformedAnswer(_))));
    }
}

#[tokio::test]
async fn the_list_of_tools_is_kept_until_it_changes() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let (upstream, tell) = server(move |request| {
        if request["method"] == "initialize" {
            return initialized();
        }
        json!({"tools": [tool(&format!("t{}", count.fetch_add(1, Ordering::SeqCst)))]})
    });
    upstream.initialize_as("chio", "0").await.unwrap();
    for _ in 0..3 {
        assert!(upstream.tools().await.unwrap().get("t0").is_some());
    }
    // A moment ago is new enough, whoever asks.
    assert!(upstream.tools_anew().await.unwrap().get("t0").is_some());
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    tell.send(Arrival::Message(Message::parse(changed).unwrap())).await.unwrap();
    while upstream.tools().await.unwrap().get("t1").is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_without_tools_is_not_asked_for_them() {
    let (upstream, _tell) = server(|request| {
        assert_eq!(request["method"], "initialize", "nothing else was announced");
        json!({"protocolVersion": "2025-11-25", "capabilities": {"prompts": {}}})
    });
    upstream.initialize_as("chio", "0").await.unwrap();
    assert_eq!(upstream.tools().await.unwrap().tools().len(), 0);
}

#[tokio::test]
async fn the_kernel_sees_what_can_be_granted() {
    let (upstream, _tell) = server(|request| match request["method"].as_str().unwrap() {
        "initialize" => initialized(),
        _ => json!({"tools": [
            {"name": "read", "description": "reads", "inputSchema": {"type": "object"},
             "outputSchema": {"type": "string"}, "annotations": {"readOnlyHint": true}},
            {"name": "write"},
            {"name": "x".repeat(600)},
            {"name": ""},
            {"name": "write", "description": "another"},
        ]}),
    });
    upstream.initialize_as("chio", "0").await.unwrap();
    let server = WrappedServer::new(ServerId::new("s").unwrap(), Some(Arc::new(upstream)));
    let tools = server.list().await.unwrap();
    let shapes: Vec<_> = tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.has_side_effects, tool.description.as_str()))
        .collect();
    assert_eq!(shapes, [("read", false, "reads"), ("write", true, "")]);
    assert_eq!(tools[0].output_schema.as_ref().unwrap().get(), r#"{"type":"string"}"#);

    let name = |text: &str| ToolName::new(text).unwrap();
    for (target, known) in [
        (Target::Tool(name("write")), true),
        (Target::Tool(name("other")), false),
        (Target::Resource { method: name("resources/read"), uri: String::new(), subscribe: false }, true),
        (Target::Resource { method: name("tools/call"), uri: String::new(), subscribe: false }, false),
        (Target::Prompt { method: name("prompts/get"), name: String::new() }, true),
        (Target::Prompt { method: name("sampling/createMessage"), name: String::new() }, false),
    ] {
        assert_eq!(server.knows(&target, None).await.unwrap(), known, "{target:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_server_ends_what_waits_for_it() {
    let (channel, arrived, departures) = Channel::new(1 << 20);
    let upstream = Upstream::connect(channel);
    let params = Json::from_text("{}".to_owned()).unwrap();
    let asking = upstream.request("slow", Some(&params), RequestOptions::default());
    let dying = async {
        tokio::task::yield_now().await;
        drop((arrived, departures));
    };
    let (answer, ()) = tokio::join!(asking, dying);
    assert!(answer.unwrap_err().outcome_unknown());
    upstream.ended().cancelled().await;
    assert!(upstream.closed().is_some());
}
