//! Callers that go away, and an operator who stops what runs.

use std::time::Duration;

use chio_spec::ToolCallResult;
use serde_json::json;

use crate::agent::{Agent, id, make, request};
use crate::home::Home;
use crate::processes::eventually;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_closes_cancels_its_calls_and_each_has_its_receipt() {
    let home = Home::new();
    let server = Server::tcp(&home, &["--demo"]);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "sleep"]);
    let client = server.client().await;
    let call =
        client.start(request(&token, "demo", "sleep", &json!({"milliseconds": 60_000}))).await.unwrap();
    // Answered after the call was taken: messages of one connection are taken in order.
    client.heartbeat().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop((call, client));

    eventually("the receipt is in the log", Duration::from_secs(20), || home.receipts().len() == 1);
    assert_eq!(home.receipts()[0]["decision"]["verdict"], "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_from_another_process_cancels_what_runs() {
    let home = Home::new();
    let server = Server::tcp(&home, &["--demo"]);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "sleep"]);
    let client = server.client().await;
    let running = make(&client, request(&token, "demo", "sleep", &json!({"milliseconds": 55_000})));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| home.ok(&["stop"]));
    };
    let (response, ()) = tokio::join!(running, stopping);
    assert!(matches!(response.result, ToolCallResult::Cancelled(_)), "{response:?}");
    assert_eq!(home.receipts()[0]["decision"]["verdict"], "cancelled");
    assert_eq!(home.receipts()[0]["capability_id"], id(&token));
}
