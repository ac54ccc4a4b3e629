//! Fleets of real processes and real HTTP servers: started when needed, restarted, shared, limited, ended.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/fleet.rs"]
#[allow(unreachable_pub)]
mod fleet;
#[path = "support/http_server.rs"]
#[allow(unreachable_pub, dead_code)]
mod http_server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chio_mcp::McpError;
use chio_mcp::connection::{Following, TaskCall};
use chio_mcp::http::HttpEndpoint;
use chio_mcp::servers::{FleetLimits, Launch, Owner};
use chio_spec::{Decision, ErrorCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use fleet::{Client, House, text, until};
use http_server::HttpServer;

const QUICK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_server_starts_when_it_is_first_needed_and_once_for_all_who_need_it() {
    let house = House::of(&[("a", "well", Owner::Session), ("b", "well", Owner::Shared)]);
    let client = house.client();
    tokio::time::sleep(QUICK / 5).await;
    assert_eq!((house.starts("a"), house.starts("b")), (0, 0));
    for id in ["a", "b"] {
        let member = client.member(id);
        assert!(member.running().is_none());
        let all = futures_util::future::join_all((0..8).map(|_| member.upstream())).await;
        let first = all[0].as_ref().unwrap();
        assert!(all.iter().all(|one| Arc::ptr_eq(one.as_ref().unwrap(), first)));
        assert_eq!(house.starts(id), 1);
        assert!(member.running().is_some());
    }
    // Another session has its own, or the shared one.
    let other = house.client();
    for id in ["a", "b"] {
        assert_eq!(other.call(id, "pid", json!({})).await.error, None);
    }
    assert_eq!((house.starts("a"), house.starts("b")), (2, 1));
    let status = house.fleet.status();
    assert_eq!(status.iter().map(|one| one.running).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn a_server_of_a_session_is_told_of_its_client_and_a_shared_one_of_none() {
    let house = House::of(&[("own", "well", Owner::Session), ("shared", "well", Owner::Shared)]);
    let client = house.client();
    for id in ["own", "shared"] {
        client.member(id).upstream().await.unwrap();
    }
    let own = house.log("own");
    let line = own.iter().find(|line| line.starts_with("initialize")).unwrap();
    let params: Value = serde_json::from_str(line.split_once(' ').unwrap().1).unwrap();
    assert_eq!(params["capabilities"], json!({"sampling": {}}));
    assert_eq!(params["clientInfo"]["name"], "tester");
    let shared = house.log("shared");
    let line = shared.iter().find(|line| line.starts_with("initialize")).unwrap();
    let params: Value = serde_json::from_str(line.split_once(' ').unwrap().1).unwrap();
    assert_eq!(params["capabilities"], json!({}));
    assert_eq!(params["clientInfo"]["name"], "chio");
    until(|| house.log("shared").iter().any(|line| line.starts_with("notifications/initialized"))).await;
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_for_longer_and_longer() {
    let house = House::of(&[("bad", "crash", Owner::Session), ("good", "well", Owner::Session)]);
    let client = house.client();
    let member = client.member("bad");
    let first = member.upstream().await.map(drop).unwrap_err();
    assert!(matches!(&first, McpError::NotInitialized { reason } if reason.contains("status 3")), "{first}");
    let begun = Instant::now();
    let Err(McpError::Unavailable { server, retry_in }) = member.upstream().await else { panic!() };
    assert!(begun.elapsed() < QUICK && server.as_str() == "bad" && retry_in <= Duration::from_secs(1));
    assert_eq!(house.starts("bad"), 1);
    // A call to it has its receipt, and the others do not notice.
    let outcome = client.call("bad", "pid", json!({})).await;
    assert_eq!(outcome.error, Some(ErrorCode::ServerUnavailable));
    assert!(outcome.logged && matches!(outcome.decision, Decision::Deny(_)));
    assert_eq!(client.call("good", "pid", json!({})).await.error, None);

    let second = loop {
        match member.upstream().await.map(drop).unwrap_err() {
            McpError::Unavailable { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
            error => break error,
        }
    };
    assert!(matches!(second, McpError::NotInitialized { .. }), "{second}");
    assert_eq!(house.starts("bad"), 2);
    until(|| house.fleet.status()[0].running == 0).await;
    let Err(McpError::Unavailable { retry_in, .. }) = member.upstream().await else { panic!() };
    assert!(retry_in > Duration::from_secs(1), "it waits two seconds now: {retry_in:?}");
    let status = house.fleet.status();
    assert_eq!((status[0].running, status[0].restarts), (0, 1));
    assert!(status[0].last_failure.as_ref().unwrap().reason.contains("status 3"));
    assert!(status[0].retry_in.is_some() && status[1].last_failure.is_none());
}

#[tokio::test]
async fn a_server_that_dies_during_a_call_leaves_it_incomplete_and_starts_again() {
    for owner in [Owner::Session, Owner::Shared] {
        let house = House::of(&[("a", "well", owner)]);
        let client = house.client();
        let before = text(&client.call("a", "pid", json!({})).await);
        let slow = {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.call("a", "slow", json!({})).await })
        };
        until(|| house.log("a").iter().any(|line| line.contains("slow"))).await;
        let died = client.call("a", "die", json!({})).await;
        for outcome in [died, slow.await.unwrap()] {
            assert!(matches!(outcome.decision, Decision::Incomplete(_)), "{:?}", outcome.decision);
            assert_eq!(outcome.error, Some(ErrorCode::ToolInterrupted));
        }
        until(|| client.ended().contains(&"a".to_owned())).await;
        assert_eq!(client.call("a", "pid", json!({})).await.error, Some(ErrorCode::ServerUnavailable));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let after = client.call("a", "pid", json!({})).await;
        assert_eq!(after.error, None);
        assert_ne!(text(&after), before);
        assert_eq!(house.starts("a"), 2);
        assert_eq!(house.fleet.status()[0].restarts, 1);
    }
}

#[tokio::test]
async fn a_server_that_hangs_floods_or_refuses_is_nobody_elses_trouble() {
    let house = House::of(&[
        ("hangs", "hang", Owner::Session),
        ("floods", "well", Owner::Session),
        ("refuses", "refuse", Owner::Session),
        ("odd", "odd", Owner::Session),
        ("well", "well", Owner::Session),
    ]);
    let client = house.client();
    let hanging = {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.member("hangs").upstream().await.map(drop) })
    };
    until(|| house.starts("hangs") == 1).await;
    assert_eq!(client.call("floods", "flood", json!({})).await.error, None);
    let refused = client.member("refuses").upstream().await.map(drop).unwrap_err();
    assert!(matches!(&refused, McpError::Refused(error) if error.message == "go away"), "{refused}");
    let odd = client.member("odd").upstream().await.map(drop).unwrap_err();
    assert!(odd.to_string().contains("1999-01-01"), "{odd}");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.call("well", "pid", json!({})).await.error, None);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Also the one that floods answers.
    assert_eq!(client.call("floods", "pid", json!({})).await.error, None);
    // Closing ends a start that is under way.
    let begun = Instant::now();
    client.servers.close().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(matches!(hanging.await.unwrap(), Err(McpError::NotSent(_))));
    assert_eq!(house.alive(), 0);
}

#[tokio::test]
async fn nothing_of_a_session_or_a_fleet_is_left_behind() {
    let house = House::of(&[("own", "family", Owner::Session), ("shared", "family", Owner::Shared)]);
    let (one, other) = (house.client(), house.client());
    for client in [&one, &other] {
        for id in ["own", "shared"] {
            client.member(id).upstream().await.unwrap();
        }
    }
    // A supervisor, the server and three relatives, three times.
    until(|| house.alive() == 15).await;
    one.servers.close().await;
    assert_eq!(house.alive(), 10);
    assert!(matches!(one.member("own").upstream().await, Err(McpError::NotSent(_))));
    // Who forgets to close a session ends its servers all the same.
    drop(other);
    until(|| house.alive() == 5).await;
    let third = house.client();
    assert_eq!(third.call("shared", "pid", json!({})).await.error, None);
    house.fleet.stop().await;
    assert_eq!(house.alive(), 0);
    for id in ["own", "shared"] {
        assert!(matches!(third.member(id).upstream().await, Err(McpError::NotSent(_))));
    }
    assert_eq!(house.fleet.status().iter().map(|status| status.running).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_start_goes_on_when_the_one_who_asked_for_it_gives_up() {
    let house = House::of(&[("a", "well", Owner::Session)]);
    let client = house.client();
    let impatient = tokio::time::timeout(Duration::from_millis(1), client.member("a").upstream()).await;
    assert!(impatient.is_err());
    client.member("a").upstream().await.unwrap();
    assert_eq!(house.starts("a"), 1);
}

#[tokio::test]
async fn the_number_of_running_servers_is_limited_and_whoever_needs_one_more_is_told() {
    let house = House::limited(
        &[("a", "well", Owner::Session)],
        FleetLimits { processes: 2, ..FleetLimits::default() },
    );
    let clients = [house.client(), house.client(), house.client()];
    for client in &clients[..2] {
        client.member("a").upstream().await.unwrap();
    }
    let error = clients[2].member("a").upstream().await.map(drop).unwrap_err();
    assert!(matches!(error, McpError::TooManyServers { limit: 2 }), "{error}");
    let outcome = clients[2].call("a", "pid", json!({})).await;
    assert_eq!(outcome.error, Some(ErrorCode::ServerUnavailable));
    clients[0].servers.close().await;
    clients[2].member("a").upstream().await.unwrap();
}

#[tokio::test]
async fn at_the_limit_the_server_that_is_idle_for_longest_makes_room() {
    let limits = FleetLimits { processes: 2, shortest_idle: Duration::ZERO };
    let house = House::limited(&[("a", "well", Owner::Session)], limits);
    let clients = [house.client(), house.client(), house.client()];
    let before = text(&clients[0].call("a", "pid", json!({})).await);
    let kept = text(&clients[1].call("a", "pid", json!({})).await);
    assert_eq!(clients[2].call("a", "pid", json!({})).await.error, None);
    assert!(clients[0].member("a").running().is_none());
    assert_eq!(text(&clients[1].call("a", "pid", json!({})).await), kept);
    // Who made room has not failed, and gets its server back when it needs it.
    assert!(clients[0].ended().is_empty() && house.fleet.status()[0].last_failure.is_none());
    let after = clients[0].call("a", "pid", json!({})).await;
    assert_eq!(after.error, None);
    assert_ne!(text(&after), before);
    assert!(clients[2].member("a").running().is_none());

    // One that works is not idle.
    let calls = [&clients[0], &clients[1]].map(|client| {
        let client = Arc::clone(client);
        tokio::spawn(async move { client.call("a", "slow", json!({})).await })
    });
    until(|| house.log("a").iter().filter(|line| line.contains("slow")).count() == 2).await;
    let error = clients[2].member("a").upstream().await.map(drop).unwrap_err();
    assert!(matches!(error, McpError::TooManyServers { limit: 2 }), "{error}");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_shared_server_reaches_only_whom_it_concerns() {
    let house = House::of(&[("s", "well", Owner::Shared)]);
    let (one, other) = (house.client(), house.client());
    one.subscribe("s", "test://a").await.unwrap();
    let unattributed = [
        "notifications/message",
        "notifications/tools/list_changed",
        "notifications/resources/list_changed",
        "notifications/prompts/list_changed",
        "notifications/tasks/status",
        "notifications/elicitation/complete",
        "notifications/progress",
        "notifications/cancelled",
    ];
    let arguments = json!({"methods": unattributed, "params": {"uri": "test://a", "taskId": "theirs"}});
    assert_eq!(one.call("s", "tell", arguments).await.error, None);
    let updated =
        json!({"methods": ["notifications/resources/updated"], "params": {"uri": "test://a/below"}});
    assert_eq!(other.call("s", "tell", updated).await.error, None);
    until(|| !one.heard().is_empty()).await;
    assert_eq!(one.heard(), ["notifications/resources/updated"]);
    assert!(other.heard().is_empty());
    // Progress and cancellation are the session's own, and lead nowhere here.
    assert_eq!(house.fleet.status()[0].unattributed, 6);

    // Two calls at a time each hear their own progress.
    let (first, second) = tokio::join!(one.progress("s", 1), other.progress("s", 2));
    assert_eq!((first, second), (vec![1], vec![2]));

    // Nobody's client can be asked; the refusal is on record.
    let receipts = house.receipts().await;
    one.call("s", "ask", json!({})).await;
    until(|| house.log("s").iter().any(|line| line.starts_with("answer"))).await;
    let answer = house.log("s").into_iter().find(|line| line.starts_with("answer")).unwrap();
    assert!(answer.contains("-32601"), "{answer}");
    assert_eq!(house.receipts().await, receipts + 2);
    assert!(one.asked().is_empty() && other.asked().is_empty());
}

#[tokio::test]
async fn subscriptions_to_a_shared_server_are_counted() {
    let house = House::of(&[("s", "well", Owner::Shared)]);
    let (one, other) = (house.client(), house.client());
    let asked = |method: &str, uri: &str| {
        let line = format!("{method} {}", json!({"uri": uri}));
        house.log("s").iter().filter(|one| one.replace("\": \"", "\":\"") == line).count()
    };
    let (a, b) = tokio::join!(one.subscribe("s", "test://a"), other.subscribe("s", "test://a"));
    a.and(b).unwrap();
    one.subscribe("s", "test://a").await.unwrap();
    assert_eq!(asked("resources/subscribe", "test://a"), 1);
    one.unsubscribe("s", "test://a").await;
    assert_eq!(asked("resources/unsubscribe", "test://a"), 0);
    // What one has left does not reach it, and reaches the other.
    let updated = json!({"methods": ["notifications/resources/updated"], "params": {"uri": "test://a"}});
    one.call("s", "tell", updated.clone()).await;
    until(|| other.heard().len() == 1).await;
    assert!(one.heard().is_empty());

    // A restarted server is told what is still wanted.
    one.call("s", "die", json!({})).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    one.member("s").upstream().await.unwrap();
    until(|| asked("resources/subscribe", "test://a") == 2).await;
    one.call("s", "tell", updated).await;
    until(|| other.heard().len() == 2).await;

    // What does not come about is not kept.
    assert!(one.subscribe("s", "refused:b").await.is_err());
    assert!(one.subscribe("s", "refused:b").await.is_err());
    assert_eq!(asked("resources/subscribe", "refused:b"), 2);

    // The end of the last session that wants one ends it.
    other.servers.close().await;
    until(|| asked("resources/unsubscribe", "test://a") == 1).await;
    one.subscribe("s", "test://a").await.unwrap();
    assert_eq!(asked("resources/subscribe", "test://a"), 3);
}

#[tokio::test]
async fn a_call_is_made_as_a_task_and_answers_with_its_result() {
    let house = House::of(&[("a", "well", Owner::Session)]);
    let client = house.client();
    let (progress, states) = (fleet::Sink::default(), fleet::Sink::default());
    let following = Following {
        progress: Some(progress.sink()),
        task: Some(TaskCall { ttl: Duration::from_secs(60), status: Some(states.sink()) }),
    };
    let outcome = client.call_following("a", "later", json!({}), following, CancellationToken::new()).await;
    assert_eq!(text(&outcome), "done");
    let result: Value = fleet::value(&outcome);
    assert_eq!(result["_meta"], json!({"own": 1}));
    let asked = house.log("a");
    assert!(asked.iter().any(|line| line.contains(r#""task": {"ttl": 60000}"#)), "{asked:?}");
    // Progress and states go on after the task was made.
    assert_eq!(progress.taken().len(), 1);
    let messages: Vec<_> = states.taken().iter().map(|state| state["statusMessage"].clone()).collect();
    assert_eq!(messages, [Value::Null, json!("half way")]);
}

#[tokio::test]
async fn giving_up_a_call_cancels_its_task() {
    let house = House::of(&[("a", "well", Owner::Session)]);
    let client = house.client();
    let cancel = CancellationToken::new();
    let following =
        || Following { progress: None, task: Some(TaskCall { ttl: Duration::from_secs(60), status: None }) };
    let calling = {
        let (client, cancel) = (Arc::clone(&client), cancel.clone());
        let following = following();
        tokio::spawn(async move {
            client.call_following("a", "later", json!({"never": true}), following, cancel).await
        })
    };
    until(|| house.log("a").iter().any(|line| line.starts_with("tasks/result"))).await;
    cancel.cancel();
    assert!(matches!(calling.await.unwrap().decision, Decision::Cancelled(_)));
    until(|| house.log("a").iter().any(|line| line.starts_with("tasks/cancel"))).await;
}

#[tokio::test]
async fn a_tool_that_is_called_like_a_request_to_the_client_is_hidden() {
    let house = House::of(&[("a", "well", Owner::Session)]);
    let client = house.client();
    let upstream = client.member("a").upstream().await.unwrap();
    let tools = upstream.tools().await.unwrap();
    assert!(tools.get("later").unwrap().definition.get().contains("taskSupport"));
    assert!(tools.get("sampling/createMessage").is_none());
    let outcome = client.call("a", "sampling/createMessage", json!({})).await;
    assert_eq!(outcome.error, Some(ErrorCode::ToolNotRegistered));
}

#[tokio::test]
async fn a_call_that_names_no_session_goes_to_the_shared_server_and_nowhere_else() {
    let house = House::of(&[("own", "well", Owner::Session), ("shared", "well", Owner::Shared)]);
    let client = house.client();
    assert_eq!(client.call_without_relay("shared", "pid").await.error, None);
    let outcome = client.call_without_relay("own", "pid").await;
    assert!(outcome.error.is_some() && house.starts("own") == 0);
}

#[tokio::test]
async fn a_lost_http_session_is_replaced_by_a_new_one() {
    let server = HttpServer::start().await;
    let endpoint = HttpEndpoint::new(server.url.parse().unwrap(), &[]).unwrap();
    let house = House::with(vec![House::settings("web", Launch::Http(endpoint), Owner::Session)]);
    let client: Arc<Client> = house.client();
    assert_eq!(text(&client.call("web", "echo", json!({})).await), "echo");
    server.forget();
    assert_eq!(client.call("web", "echo", json!({})).await.error, Some(ErrorCode::ServerUnavailable));
    assert_eq!(client.call("web", "echo", json!({})).await.error, Some(ErrorCode::ServerUnavailable));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(text(&client.call("web", "echo", json!({})).await), "echo");
    client.servers.close().await;
    assert_eq!(server.seen.deleted.lock().unwrap().len(), 1);
}
