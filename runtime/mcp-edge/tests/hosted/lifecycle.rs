//! Sessions: how they come, whose they are, and how they end.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chio_mcp_edge::{EdgeConfig, Limits};
use serde_json::{Value, json};

use crate::house::http::{Ask, abort};
use crate::house::{House, call, config, initialize, streaming};

async fn lifecycle(house: &House, session: &str) -> String {
    let sessions = house.admin("GET", "/admin/sessions?limit=200").await.json().await;
    let all =
        ["activeSessions", "terminalSessions"].map(|key| sessions[key].as_array().unwrap().clone()).concat();
    let found: Vec<_> = all.iter().filter(|entry| entry["sessionId"] == session).collect();
    assert_eq!(found.len(), 1, "{sessions}");
    found[0]["lifecycle"]["state"].as_str().unwrap().to_owned()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen in ten seconds");
}

async fn is_gone(house: &House, session: &str) {
    let (post, get, delete) = (
        house.call(session, 99, "echo", json!({})).await,
        house.get(session, None).await,
        house.delete(session).await,
    );
    assert_eq!([post.status, get.status, delete.status], [404, 404, 404]);
    let event = format!("{session}-1");
    assert_eq!(house.get(session, Some(&event)).await.status, 404, "nothing is resumed");
}

#[tokio::test]
async fn a_session_is_initializing_then_ready_then_deleted() {
    let house = House::open(config()).await;
    let mut reply = house.post(None, initialize("test")).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    reply.messages().await;
    assert_eq!(lifecycle(&house, &session).await, "initializing");
    // Whether a method may run before is the session's own business, and an answer.
    assert_eq!(house.call(&session, 1, "echo", json!({})).await.status, 200);
    let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(house.post(Some(&session), told).await.status, 202);
    assert_eq!(lifecycle(&house, &session).await, "ready");
    let mut listening = house.get(&session, None).await;
    let mut deleted = house.delete(&session).await;
    assert_eq!((deleted.status, deleted.text().await.as_str()), (204, ""));
    assert_eq!(lifecycle(&house, &session).await, "deleted");
    is_gone(&house, &session).await;
    listening.events().await;
    eventually("the end of the session behind", || async { house.script.serving.load(SeqCst) == 0 }).await;
    house.close().await;
}

#[tokio::test]
async fn a_draining_session_finishes_what_is_in_flight_and_takes_nothing_new() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let mut stream = house.call(&session, 1, "gate", json!({"tell": 1})).await;
    let mut reply = house.admin("POST", &format!("/admin/sessions/{session}/drain")).await;
    assert_eq!((reply.status, reply.json().await["state"].as_str()), (202, Some("draining")));
    assert_eq!(lifecycle(&house, &session).await, "draining");
    is_gone(&house, &session).await;
    house.script.gate.notify_one();
    assert_eq!(stream.messages().await.last().unwrap()["id"], 1);
    eventually("the end of the drain", || async { lifecycle(&house, &session).await == "closed" }).await;
    is_gone(&house, &session).await;
    let again = house.admin("POST", &format!("/admin/sessions/{session}/drain")).await;
    assert_eq!(again.status, 404);
    house.close().await;
}

#[tokio::test]
async fn a_drain_ends_when_its_grace_is_over() {
    let limits = Limits { drain_grace: Duration::from_millis(300), ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let session = house.session().await;
    let mut stream = house.call(&session, 1, "gate", json!({"tell": 1})).await;
    house.admin("POST", &format!("/admin/sessions/{session}/drain")).await;
    eventually("the end of the drain", || async { lifecycle(&house, &session).await == "closed" }).await;
    stream.events().await;
    house.close().await;
}

#[tokio::test]
async fn a_shut_down_session_is_closed_at_once() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let mut reply = house.admin("POST", &format!("/admin/sessions/{session}/shutdown")).await;
    assert_eq!((reply.status, reply.json().await["state"].as_str()), (200, Some("closed")));
    assert_eq!(lifecycle(&house, &session).await, "closed");
    is_gone(&house, &session).await;
    house.close().await;
}

#[tokio::test]
async fn a_session_that_nobody_uses_expires_but_not_with_a_stream_or_a_call() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let (idle, listening, calling) = (house.session().await, house.session().await, house.session().await);
    let stream = house.get(&listening, None).await;
    let call = house.call(&calling, 1, "gate", json!({"tell": 1})).await;
    eventually("the expiry", || async { lifecycle(&house, &idle).await == "expired" }).await;
    is_gone(&house, &idle).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lifecycle(&house, &listening).await, "ready");
    assert_eq!(lifecycle(&house, &calling).await, "ready");
    // The client leaves the call, which goes on, and so the session stays.
    drop((stream, call));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lifecycle(&house, &calling).await, "ready");
    house.script.gate.notify_one();
    eventually("the expiry", || async { lifecycle(&house, &calling).await == "expired" }).await;
    eventually("the expiry", || async { lifecycle(&house, &listening).await == "expired" }).await;
    house.close().await;
}

#[tokio::test]
async fn a_session_does_not_expire_while_a_task_of_it_runs() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let (idle, working) = (house.session().await, house.session().await);
    assert_eq!(house.call(&working, 1, "task", json!({})).await.status, 200);
    eventually("the expiry", || async { lifecycle(&house, &idle).await == "expired" }).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lifecycle(&house, &working).await, "ready");
    house.script.gate.notify_one();
    eventually("the expiry", || async { lifecycle(&house, &working).await == "expired" }).await;
    house.close().await;
}

#[tokio::test]
async fn at_the_limit_sessions_in_use_stay_and_new_ones_are_refused_as_answers() {
    let limits = Limits { sessions: 2, ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let (one, two) = (house.session().await, house.session().await);
    let mut refused = house.post(None, initialize("test")).await;
    let answer = refused.json().await;
    assert_eq!((refused.status, &answer["error"]["data"]["chioError"]["code"]), (200, &json!(6104)));
    assert_eq!(refused.header("mcp-session-id"), None);
    // Neither has been idle for long, so both are there still.
    for session in [&one, &two] {
        assert_eq!(house.call(session, 1, "echo", json!({})).await.status, 200);
    }
    house.delete(&one).await;
    house.session().await;
    house.close().await;
}

#[tokio::test]
async fn an_aborted_initialize_leaves_nothing_behind() {
    let house = House::open(config()).await;
    let body = initialize("test").to_string();
    for _ in 0..50 {
        abort(house.address, Ask::post(&body), Duration::ZERO).await;
    }
    eventually("quiet", || async {
        let sessions = house.admin("GET", "/admin/sessions").await.json().await;
        // Those whose answer was written before the client left are sessions like any other.
        sessions["activeCount"] == house.script.serving.load(SeqCst)
    })
    .await;
    house.close().await;
}

#[tokio::test]
async fn a_thousand_aborted_calls_all_run_to_their_end_and_the_session_goes_on() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let bodies: Vec<String> =
        (0..1000).map(|id| call(id, "slow", json!({"millis": 20})).to_string()).collect();
    for batch in bodies.chunks(50) {
        let aborts = batch.iter().enumerate().map(|(at, body)| {
            let ask = Ask::post(body).header("MCP-Session-Id", &session);
            abort(house.address, ask, Duration::from_millis(at as u64 % 4 * 10))
        });
        futures_util::future::join_all(aborts).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    // A client that leaves at once may do so before the edge has read its request; what began also ends.
    let script = &house.script;
    eventually("the end of all calls", || async {
        script.begun.load(SeqCst) >= 250 && script.begun.load(SeqCst) == script.done.load(SeqCst)
    })
    .await;
    eventually("a quiet session", || async {
        let sessions = house.admin("GET", "/admin/sessions").await.json().await;
        let session: &Value = &sessions["activeSessions"][0];
        session["inFlight"] == 0 && session["openStreams"] == 0
    })
    .await;
    let answer = house.call(&session, 5000, "echo", json!({})).await.json().await;
    assert_eq!(answer["id"], 5000);
    house.close().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_and_silent_ones_do_not_hold_the_edge() {
    let limits = Limits { connections: 2, read_timeout: Duration::from_millis(500), ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    // Two clients connect and say nothing. They lose their places when their time is over.
    let silent = [
        tokio::net::TcpStream::connect(house.address).await.unwrap(),
        tokio::net::TcpStream::connect(house.address).await.unwrap(),
    ];
    let begun = std::time::Instant::now();
    assert_eq!(house.ask(Ask::get("/admin/health")).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    drop(silent);
    house.close().await;
}

#[tokio::test]
async fn a_stopping_edge_lets_calls_finish_and_ends() {
    let house = House::open(streaming()).await;
    let session = house.session().await;
    let mut listening = house.get(&session, None).await;
    let mut stream = house.call(&session, 1, "slow", json!({"millis": 400})).await;
    house.stop();
    let messages = stream.messages().await;
    assert_eq!(messages.last().unwrap()["id"], 1, "{messages:?}");
    listening.events().await;
    let script = house.script.clone();
    house.close().await;
    assert_eq!(script.serving.load(SeqCst), 0);
}

#[tokio::test]
async fn a_session_belongs_to_the_credentials_that_opened_it() {
    // With a static token or none there is one caller; two tokens of an issuer are two.
    let issuer = crate::house::issuer::Issuer::new();
    let house = issuer.house(config()).await;
    let (ann, bob) =
        (issuer.token("ann", "chio.read chio.invoke"), issuer.token("bob", "chio.read chio.invoke"));
    let body = initialize("test").to_string();
    let mut reply = house.ask(Ask::post(&body).header("Authorization", &ann)).await;
    assert_eq!(reply.status, 200);
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    reply.messages().await;
    let body = call(1, "echo", json!({})).to_string();
    for (token, status) in
        [(&ann, 200), (&bob, 403), (&issuer.token("ann", "chio.read chio.invoke other"), 200)]
    {
        let ask = Ask::post(&body).header("Authorization", token).header("MCP-Session-Id", &session);
        let mut reply = house.ask(ask).await;
        assert_eq!(reply.status, status);
        if status == 403 {
            assert_eq!(reply.json().await["error"]["data"]["chioError"]["code"], 1102);
        }
    }
    for method in ["GET", "DELETE"] {
        let ask = Ask::new(method, "/mcp").header("Accept", "text/event-stream");
        let ask = ask.header("Authorization", &bob).header("MCP-Session-Id", &session);
        assert_eq!(house.ask(ask).await.status, 403, "{method}");
    }
    // A token that may only read may not call.
    let ask = Ask::post(&body).header("Authorization", &issuer.token("ann", "chio.read"));
    let reply = house.ask(ask.header("MCP-Session-Id", &session)).await;
    assert_eq!(reply.status, 403);
    assert!(reply.header("www-authenticate").unwrap().contains("insufficient_scope"));
    house.close().await;
}
