//! Two processes on one store.

use std::collections::HashSet;

use serde_json::json;

use crate::agent::{Agent, cause, is_ok, make, request};
use crate::home::Home;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_ten_allows_ten_of_a_hundred_calls_over_two_processes() {
    let home = Home::new();
    let servers = [Server::tcp(&home, &["--demo"]), Server::tcp(&home, &["--demo"])];
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "add", "--max-invocations", "10"]);
    let clients = [servers[0].client().await, servers[1].client().await];

    let mut calls = tokio::task::JoinSet::new();
    let clients = std::sync::Arc::new(clients);
    for n in 0..100_usize {
        let (token, clients) = (token.clone(), std::sync::Arc::clone(&clients));
        calls.spawn(async move {
            make(&clients[n % 2], request(&token, "demo", "add", &json!({"a": n, "b": 1}))).await
        });
    }
    let responses = calls.join_all().await;

    assert_eq!(responses.iter().filter(|response| is_ok(response)).count(), 10);
    for denied in responses.iter().filter(|response| !is_ok(response)) {
        assert_eq!(cause(denied), "budget_exhausted", "{denied:?}");
    }
    let logged: HashSet<String> = home.receipt_texts().into_iter().collect();
    let answered: HashSet<String> =
        responses.iter().map(|response| response.receipt.text().to_owned()).collect();
    assert_eq!(logged, answered);
    assert_eq!(home.fsck(), 100);
    for server in servers {
        assert!(server.end().success());
    }
    assert_eq!(home.fsck(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_leaves_the_open_call_of_a_living_one_alone() {
    let home = Home::new();
    let first = Server::tcp(&home, &["--demo"]);
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "sleep"]);
    let client = first.client().await;
    let open = client.start(request(&token, "demo", "sleep", &json!({"milliseconds": 5000}))).await.unwrap();
    client.heartbeat().await.unwrap();

    // Each of these starts a kernel that looks for what dead ones left behind.
    let second = Server::tcp(&home, &["--demo"]);
    assert!(second.end().success());
    assert!(home.receipts().is_empty(), "the open call is on record before it ended");

    let response = open.response().await.unwrap();
    assert!(is_ok(&response), "{response:?}");
    assert_eq!(home.receipt_texts(), [response.receipt.text()]);
    assert_eq!(home.fsck(), 1);
}
