//! What servers ask of the client, and tell it, through the kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(unreachable_pub, dead_code)]
mod hall;

use std::sync::Arc;
use std::time::Duration;

use chio_mcp::channel::Route;
use chio_mcp::servers::Owner;
use chio_spec::Decision;
use serde_json::{Value, json};

use hall::{HOSTED, Hall, Script, text};

const ASKING: &str = r"
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 300 }
    client_requests:
      - { server: one, method: sampling/createMessage, ttl: 300 }
      - { server: one, method: elicitation/create, ttl: 300 }
      - { server: one, method: roots/list, ttl: 300 }
";

const EVERYTHING: &[&str] = &["ask", "say", "visit", "held", "whoami"];

fn everything() -> Value {
    json!({"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": true},
        "tasks": {"list": {}}, "experimental": {"x": {}}})
}

fn ask(method: &str, params: &Value) -> Value {
    json!({"name": "ask", "arguments": {"method": method, "params": params}})
}

#[tokio::test]
async fn the_client_is_asked_on_the_stream_of_the_call_and_every_request_has_its_receipt() {
    let one = Script::with_tools("one", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.client(everything()).await;
    // Only what is known and granted is told to the server.
    assert_eq!(
        one.seen("initialize")[0]["capabilities"],
        json!({"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": true}})
    );
    for (method, params) in [
        ("sampling/createMessage", json!({"messages": [], "maxTokens": 10, "tools": []})),
        ("elicitation/create", json!({"message": "name?", "requestedSchema": {"type": "object"}})),
        (
            "elicitation/create",
            json!({"mode": "url", "url": "https://e", "elicitationId": "e-1", "message": "go"}),
        ),
        ("roots/list", Value::Null),
    ] {
        let id = client.start("tools/call", ask(method, &params)).await;
        let (asked, route) = client.told(method).await;
        assert_eq!(asked.get("params").unwrap_or(&Value::Null), &params);
        assert!(matches!(&route, Route::Within(within) if within.as_number() == Some(id)), "{route:?}");
        client.reply(&asked, json!({"answer": method})).await;
        let answer = client.answer(id).await;
        assert_eq!(text(&answer["result"]), json!({"answer": method}).to_string());
    }
    let receipts = hall.receipts().await;
    let names: Vec<_> = receipts.iter().map(|receipt| receipt.tool_name.as_str()).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "elicitation/create").count(), 2);
    assert!(receipts.iter().all(|receipt| matches!(receipt.decision, Decision::Allow)));
    client.leave().await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_stands_still_while_its_server_waits_for_the_client() {
    let policy = format!("kernel: {{ tool_timeout: 2, task_timeout: 60 }}\n{ASKING}");
    let hall = Hall::open(&policy, vec![("one", Owner::Session, Script::with_tools("one", EVERYTHING))]);
    let mut client = hall.client(everything()).await;
    let params = json!({"message": "name?", "requestedSchema": {"type": "object"}});
    let id = client.start("tools/call", ask("elicitation/create", &params)).await;
    let (asked, _) = client.told("elicitation/create").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.reply(&asked, json!({"action": "decline"})).await;
    let answer = client.answer(id).await;
    assert_eq!(text(&answer["result"]), json!({"action": "decline"}).to_string());
    // A request that nobody answers ends by its own limit, and then the call has its time again.
    let id = client.start("tools/call", ask("elicitation/create", &params)).await;
    client.told("elicitation/create").await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    let answer = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some((answer, _)) = client.heard().into_iter().find(|(message, _)| message["id"] == id) {
            break answer;
        }
    };
    assert!(text(&answer["result"]).contains("code"), "{answer}");
    client.leave().await;
}

#[tokio::test]
async fn a_grant_of_every_tool_lets_no_server_ask_the_client() {
    let two = Script::with_tools("two", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("two", Owner::Session, Arc::clone(&two))]);
    let mut client = hall.client(everything()).await;
    assert_eq!(two.seen("initialize")[0]["capabilities"], json!({}));
    for method in ["sampling/createMessage", "elicitation/create", "roots/list", "tools/list"] {
        let answer = client.ask("tools/call", ask(method, &json!({}))).await;
        let refused: Value = serde_json::from_str(text(&answer["result"])).unwrap();
        assert_eq!(refused["code"], -32601, "{method}: {refused}");
    }
    assert!(client.heard().is_empty());
    let denied = hall.receipts().await.iter().filter(|r| matches!(r.decision, Decision::Deny(_))).count();
    assert_eq!(denied, 4);
    client.leave().await;
}

#[tokio::test]
async fn a_client_is_asked_only_for_what_it_declared() {
    let one = Script::with_tools("one", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, one)]);
    // An empty `elicitation` means forms.
    let mut client = hall.client(json!({"sampling": {}, "elicitation": {}})).await;
    for (method, params, code) in [
        ("roots/list", json!({}), -32601),
        ("sampling/createMessage", json!({"messages": [], "tools": []}), -32602),
        ("elicitation/create", json!({"mode": "url", "url": "https://e", "elicitationId": "e"}), -32602),
        ("elicitation/create", json!({"mode": "telepathy"}), -32602),
        ("sampling/createMessage", json!({"messages": [], "includeContext": "allServers"}), -32602),
    ] {
        let answer = client.ask("tools/call", ask(method, &params)).await;
        let refused: Value = serde_json::from_str(text(&answer["result"])).unwrap();
        assert_eq!(refused["code"], code, "{method} {params}: {refused}");
    }
    assert!(client.heard().is_empty());
    // The client's own error is the server's to read.
    let id = client.start("tools/call", ask("elicitation/create", &json!({"message": "?"}))).await;
    let (asked, _) = client.told("elicitation/create").await;
    client
        .send(json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "no", "data": 7}}))
        .await;
    let answer = client.answer(id).await;
    let refused: Value = serde_json::from_str(text(&answer["result"])).unwrap();
    assert_eq!(refused, json!({"code": -1, "message": "no", "data": 7}));
    client.leave().await;
}

#[tokio::test]
async fn a_server_that_asks_early_waits_until_the_session_is_ready() {
    let one = Arc::new(Script { name: "one", tools: vec!["whoami"], eager: true, ..Script::default() });
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.session(HOSTED);
    let params = json!({"capabilities": {"roots": {"listChanged": true}}, "clientInfo": {"name": "t", "version": "0"}});
    client.ask("initialize", params).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(client.heard().is_empty());
    client.notify("notifications/initialized", json!({})).await;
    let (asked, route) = client.told("roots/list").await;
    assert_eq!(route, Route::Unrelated);
    client.reply(&asked, json!({"roots": []})).await;
    client.notify("notifications/roots/list_changed", json!({})).await;
    client.call("whoami", json!({})).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(one.seen("answer"), [json!({"roots": []})]);
    assert_eq!(one.seen("notifications/roots/list_changed").len(), 1);
    client.leave().await;
}

#[tokio::test]
async fn what_the_server_withdraws_is_withdrawn_from_the_client_with_a_cancelled_receipt() {
    let one = Script::with_tools("one", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, one)]);
    let mut client = hall.client(everything()).await;
    let impatient = json!({"name": "ask", "arguments": {"method": "roots/list", "patience": 50}});
    let id = client.start("tools/call", impatient).await;
    let (asked, within) = client.told("roots/list").await;
    let (withdrawn, route) = client.told("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
    assert_eq!(route, within);
    client.answer(id).await;
    // A late answer finds nobody.
    client.reply(&asked, json!({"roots": []})).await;
    let receipts = hall.receipts().await;
    let roots = receipts.iter().find(|receipt| receipt.tool_name.as_str() == "roots/list").unwrap();
    assert!(matches!(roots.decision, Decision::Cancelled(_)), "{:?}", roots.decision);
    client.leave().await;
}

#[tokio::test]
async fn a_completed_elicitation_is_told_only_to_the_client_that_was_given_it() {
    let one = Script::with_tools("one", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, one)]);
    let mut client = hall.client(everything()).await;
    let mut other = hall.client(everything()).await;
    // The error passes as it is, with the receipt beside it.
    let visit = client.ask("tools/call", json!({"name": "visit"})).await["error"].clone();
    assert_eq!(visit["code"], -32042);
    assert_eq!(visit["data"]["elicitations"][0]["elicitationId"], "e-42");
    assert!(visit["data"]["chio.dev/receiptId"].is_string());
    let complete =
        |id: &str| json!({"method": "notifications/elicitation/complete", "params": {"elicitationId": id}});
    for id in ["e-42", "e-43"] {
        client.call("say", complete(id)).await;
        other.call("say", complete(id)).await;
    }
    let told = client.heard();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0["params"]["elicitationId"], "e-42");
    assert!(other.heard().is_empty());
    client.leave().await;
    other.leave().await;
}

#[tokio::test]
async fn a_session_that_ends_asks_nobody_any_more() {
    let one = Script::with_tools("one", EVERYTHING);
    let hall = Hall::open(ASKING, vec![("one", Owner::Session, one)]);
    let mut client = hall.client(everything()).await;
    client.start("tools/call", ask("roots/list", &Value::Null)).await;
    client.told("roots/list").await;
    client.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), &mut client.edge).await.unwrap().unwrap();
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 2);
    let asked = receipts.iter().find(|receipt| receipt.tool_name.as_str() == "roots/list").unwrap();
    assert!(matches!(asked.decision, Decision::Cancelled(_)), "{:?}", asked.decision);
}

#[tokio::test]
async fn a_server_hands_out_urls_only_where_it_is_granted_and_the_client_takes_them() {
    let complete =
        json!({"method": "notifications/elicitation/complete", "params": {"elicitationId": "e-42"}});
    for (server, capabilities) in [("two", everything()), ("one", json!({"elicitation": {"form": {}}}))] {
        let hall = Hall::open(ASKING, vec![(server, Owner::Session, Script::with_tools(server, EVERYTHING))]);
        let mut client = hall.client(capabilities).await;
        let visit = client.call("visit", json!({})).await;
        assert_eq!(visit["isError"], true);
        assert_eq!(visit["_meta"]["chio.dev/error"]["name"], "method_not_governed", "{visit}");
        assert!(!visit.to_string().contains("example.com"), "{visit}");
        // It was not given, so it cannot be complete.
        client.call("say", complete.clone()).await;
        assert!(client.heard().is_empty());
        client.leave().await;
    }
}

#[tokio::test]
async fn an_elicitation_that_was_denied_is_not_told_complete() {
    let hall = Hall::open(ASKING, vec![("two", Owner::Session, Script::with_tools("two", EVERYTHING))]);
    let mut client = hall.client(everything()).await;
    let params = json!({"mode": "url", "url": "https://e", "elicitationId": "e-1", "message": "go"});
    client.call("ask", ask("elicitation/create", &params)["arguments"].clone()).await;
    let told = json!({"elicitationId": "e-1", "message": "and now go there"});
    client.call("say", json!({"method": "notifications/elicitation/complete", "params": told})).await;
    assert!(client.heard().is_empty());
    client.leave().await;
}
