//! Tasks: calls that outlive their request, bound to their session.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(unreachable_pub, dead_code)]
mod hall;

use std::sync::Arc;
use std::time::Duration;

use chio_mcp::channel::Route;
use chio_mcp::servers::Owner;
use chio_spec::Decision;
use serde_json::{Value, json};

use hall::{Client, Hall, Script, text};

const RELATED: &str = "io.modelcontextprotocol/related-task";

const POLICY: &str = r"
guards:
  tool_access: { enabled: true, default_action: allow, block: [forbidden] }
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 300 }
    client_requests:
      - { server: '*', method: elicitation/create, ttl: 300 }
";

fn server() -> Arc<Script> {
    let tools = vec!["echo", "held", "failing", "task_only", "plain", "ask", "progress", "forbidden", "die"];
    Arc::new(Script { name: "one", tools, tasks: true, ..Script::default() })
}

async fn begin(client: &mut Client, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60000}});
    let answer = client.ask("tools/call", params).await;
    let task = &answer["result"]["task"];
    assert_eq!((&task["status"], &task["ttl"]), (&json!("working"), &json!(60000)), "{answer}");
    assert!(
        task["createdAt"].is_string() && task["lastUpdatedAt"].is_string() && task["pollInterval"].is_u64()
    );
    task["taskId"].as_str().unwrap().to_owned()
}

async fn status(client: &mut Client, id: &str) -> String {
    let answer = client.ask("tasks/get", json!({"taskId": id})).await;
    assert_eq!(answer["result"]["taskId"], id, "{answer}");
    answer["result"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_task_is_answered_at_once_and_its_result_is_what_the_call_would_have_answered() {
    let script = server();
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, Arc::clone(&script))]);
    let mut client = hall.client(json!({})).await;
    let id = begin(&mut client, "echo", json!({"secret": "s"})).await;
    let result = client.ask("tasks/result", json!({"taskId": id})).await["result"].clone();
    assert_eq!(text(&result), "s");
    // Its id is ours; the server's never shows.
    assert_eq!(result["_meta"][RELATED], json!({"taskId": id}));
    assert_eq!(result["_meta"]["chio.dev/decision"], "allow");
    assert_eq!(status(&mut client, &id).await, "completed");
    let (told, route) = client.told("notifications/tasks/status").await;
    assert_eq!((&told["params"]["taskId"], &told["params"]["status"]), (&json!(id), &json!("completed")));
    assert_eq!(route, Route::Unrelated);
    let list = client.ask("tasks/list", json!({})).await["result"]["tasks"].clone();
    assert_eq!(list.as_array().unwrap().len(), 1);
    // At the server it was a task too.
    assert!(script.seen("tools/call")[0]["task"].is_object());
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 1);
    assert_eq!(result["_meta"]["chio.dev/receiptId"], receipts[0].id.as_str());
    client.leave().await;
}

#[tokio::test]
async fn task_support_is_kept_to() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    let params = json!({"name": "plain", "arguments": {}, "task": {}});
    assert_eq!(client.ask("tools/call", params).await["error"]["code"], -32601);
    assert_eq!(client.ask("tools/call", json!({"name": "task_only"})).await["error"]["code"], -32601);
    for bad in [json!(1), json!({"ttl": -1}), json!({"ttl": "1"}), json!([])] {
        let params = json!({"name": "echo", "task": bad});
        assert_eq!(client.ask("tools/call", params).await["error"]["code"], -32602);
    }
    begin(&mut client, "task_only", json!({})).await;
    client.leave().await;

    // Where no tasks were announced, a call is a call.
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, Script::with_tools("one", &["echo"]))]);
    let mut client = hall.client(json!({})).await;
    let params = json!({"name": "echo", "arguments": {"secret": "s"}, "task": {}});
    assert_eq!(text(&client.ask("tools/call", params).await["result"]), "s");
    assert_eq!(client.ask("tasks/list", json!({})).await["error"]["code"], -32601);
    client.leave().await;
}

#[tokio::test]
async fn a_failed_or_denied_task_says_so_in_status_and_result() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    for (tool, decision) in [("failing", "allow"), ("forbidden", "deny")] {
        let id = begin(&mut client, tool, json!({})).await;
        let result = client.ask("tasks/result", json!({"taskId": id})).await["result"].clone();
        assert_eq!(result["isError"], true);
        assert_eq!(result["_meta"]["chio.dev/decision"], decision);
        assert_eq!(result["_meta"][RELATED]["taskId"], *id);
        assert_eq!(status(&mut client, &id).await, "failed");
    }
    assert_eq!(hall.receipts().await.len(), 2);
    client.leave().await;
}

#[tokio::test]
async fn a_cancelled_task_has_a_cancelled_receipt_and_stays_cancelled() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    let id = begin(&mut client, "held", json!({})).await;
    let waiting = client.start("tasks/result", json!({"taskId": id})).await;
    let cancelled = client.ask("tasks/cancel", json!({"taskId": id})).await["result"].clone();
    assert_eq!((&cancelled["taskId"], &cancelled["status"]), (&json!(id), &json!("cancelled")));
    let result = client.answer(waiting).await["result"].clone();
    assert_eq!(
        (&result["isError"], &result["_meta"]["chio.dev/decision"]),
        (&json!(true), &json!("cancelled"))
    );
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 1);
    assert!(matches!(receipts[0].decision, Decision::Cancelled(_)));
    // What has ended cannot be cancelled.
    assert_eq!(client.ask("tasks/cancel", json!({"taskId": id})).await["error"]["code"], -32602);
    assert_eq!(status(&mut client, &id).await, "cancelled");
    client.leave().await;
}

#[tokio::test]
async fn a_task_that_asks_the_client_requires_input_and_names_itself() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({"elicitation": {}})).await;
    let ask = json!({"method": "elicitation/create", "params": {"message": "name?"}});
    let id = begin(&mut client, "ask", ask).await;
    let (told, _) = client.told("notifications/tasks/status").await;
    assert_eq!(told["params"]["status"], "input_required");
    assert_eq!(status(&mut client, &id).await, "input_required");
    let (asked, route) = client.told("elicitation/create").await;
    assert_eq!(asked["params"]["_meta"], json!({RELATED: {"taskId": id}}));
    assert_eq!(route, Route::Unrelated);
    client.reply(&asked, json!({"action": "accept", "content": {"name": "me"}})).await;
    let result = client.ask("tasks/result", json!({"taskId": id})).await["result"].clone();
    assert!(text(&result).contains("accept"));
    assert_eq!(hall.receipts().await.len(), 2);
    client.leave().await;
}

#[tokio::test]
async fn progress_of_a_task_keeps_the_clients_token() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    let params = json!({"name": "progress", "arguments": {"secret": "s"}, "task": {}, "_meta": {"progressToken": "mine"}});
    let answer = client.ask("tools/call", params).await;
    let id = answer["result"]["task"]["taskId"].clone();
    client.ask("tasks/result", json!({"taskId": id})).await;
    for _ in 0..3 {
        let (told, _) = client.told("notifications/progress").await;
        assert_eq!(told["params"]["progressToken"], "mine");
        assert_eq!(told["params"]["_meta"][RELATED]["taskId"], id);
    }
    client.leave().await;
}

#[tokio::test]
async fn a_task_of_another_session_is_exactly_an_unknown_one() {
    for owner in [Owner::Session, Owner::Shared] {
        let script = server();
        let hall = Hall::open(POLICY, vec![("one", owner, Arc::clone(&script))]);
        let mut a = hall.client(json!({})).await;
        let mut b = hall.client(json!({})).await;
        let id = begin(&mut a, "held", json!({})).await;
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let foreign = b.ask(method, json!({"taskId": id})).await["error"].clone();
            let unknown =
                b.ask(method, json!({"taskId": "0123456789abcdef0123456789abcdef"})).await["error"].clone();
            assert_eq!(foreign["code"], -32602);
            assert_eq!(foreign, unknown, "{method}");
            // The server's own id is no more known.
            assert_eq!(b.ask(method, json!({"taskId": "theirs-0"})).await["error"], unknown);
        }
        assert_eq!(b.ask("tasks/list", json!({})).await["result"]["tasks"], json!([]));
        assert_eq!(status(&mut a, &id).await, "working");
        script.release.notify_one();
        let result = a.ask("tasks/result", json!({"taskId": id})).await["result"].clone();
        assert_eq!(text(&result), "released");
        assert!(b.heard().is_empty());
        a.leave().await;
        b.leave().await;
    }
}

#[tokio::test]
async fn tasks_of_a_closed_session_are_cancelled_with_receipts() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    for _ in 0..3 {
        begin(&mut client, "held", json!({})).await;
    }
    client.leave().await;
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 3);
    assert!(receipts.iter().all(|receipt| matches!(receipt.decision, Decision::Cancelled(_))));
}

#[tokio::test]
async fn a_task_whose_server_dies_is_incomplete() {
    let hall = Hall::open(POLICY, vec![("one", Owner::Session, server())]);
    let mut client = hall.client(json!({})).await;
    let id = begin(&mut client, "held", json!({})).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.call("die", json!({})).await;
    let result = client.ask("tasks/result", json!({"taskId": id})).await["result"].clone();
    assert_eq!(result["_meta"]["chio.dev/decision"], "incomplete");
    assert_eq!(status(&mut client, &id).await, "failed");
    client.leave().await;
}
