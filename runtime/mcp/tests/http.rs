//! The client side of streamable HTTP against a server on a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/http_server.rs"]
#[allow(unreachable_pub, dead_code)]
mod http_server;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chio_json::Json;
use chio_mcp::McpError;
use chio_mcp::http::HttpEndpoint;
use chio_mcp::jsonrpc::{ErrorObject, Notification};
use chio_mcp::session::{Incoming, RequestOptions};
use chio_mcp::upstream::{Upstream, UpstreamEvents};
use serde_json::{Value, json};

use http_server::HttpServer;

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

#[async_trait]
impl UpstreamEvents for Heard {
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        Ok(Json::from_value(&json!({"answering": request.method})))
    }

    fn notification(&self, notification: Notification) {
        self.0.lock().unwrap().push(notification.method);
    }
}

fn reach(url: &str) -> Upstream {
    let headers = [("Authorization".to_owned(), "Bearer of-the-operator".to_owned())];
    Upstream::reach(&HttpEndpoint::new(url.parse().unwrap(), &headers).unwrap()).unwrap()
}

async fn ready(server: &HttpServer) -> Upstream {
    let upstream = reach(&server.url);
    upstream.initialize_as("chio", "0").await.unwrap();
    upstream
}

async fn call(upstream: &Upstream, tool: &str) -> Result<Value, McpError> {
    let params = Json::from_value(&json!({"name": tool, "arguments": {}}));
    let answer = upstream.request("tools/call", Some(&params), RequestOptions::default());
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("an answer in time")?;
    Ok(answer.to_value().unwrap())
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_request_after_initialize_carries_the_session_and_the_version() {
    let server = HttpServer::start().await;
    let upstream = ready(&server).await;
    assert_eq!(upstream.initialized().unwrap().protocol_version, "2025-06-18");
    assert_eq!(upstream.tools().await.unwrap().tools().len(), 10);
    assert_eq!(text(&call(&upstream, "echo").await.unwrap()), "echo");
    let posts = server.seen.posts.lock().unwrap().clone();
    // Nothing overtakes the notification that the client is initialized.
    let methods: Vec<_> = posts.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(
        methods,
        ["initialize", "notifications/initialized", "initialized is known", "tools/list", "tools/call"]
    );
    for (method, session, version, authorization) in posts.iter().filter(|post| post.3.is_some()) {
        assert_eq!(authorization.as_deref(), Some("Bearer of-the-operator"));
        let first = method == "initialize";
        assert_eq!(session.is_none(), first, "{method}");
        assert_eq!(version.as_deref(), if first { None } else { Some("2025-06-18") });
    }
    upstream.stop().await;
    assert_eq!(*server.seen.deleted.lock().unwrap(), ["session-1"]);
    assert!(matches!(call(&upstream, "echo").await, Err(McpError::NotSent(_))));
}

#[tokio::test]
async fn answers_come_as_streams_with_progress() {
    let server = HttpServer::start().await;
    let upstream = ready(&server).await;
    let heard = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&heard);
    let params = Json::from_value(&json!({"name": "stream", "arguments": {}}));
    let options = RequestOptions {
        progress: Some(Arc::new(move |_| *counted.lock().unwrap() += 1)),
        ..RequestOptions::default()
    };
    let answer = upstream.request("tools/call", Some(&params), options).await.unwrap();
    assert_eq!(text(&answer.to_value().unwrap()), "streamed");
    assert_eq!(*heard.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_after_the_time_that_the_server_asked_for() {
    let server = HttpServer::start().await;
    let upstream = ready(&server).await;
    assert_eq!(text(&call(&upstream, "resume").await.unwrap()), "resumed");
    assert_eq!(server.seen.resumed.lock().unwrap().len(), 2);
    // The call was made once.
    assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_had_any_more_leaves_its_outcome_unknown_and_the_session_alone() {
    let server = HttpServer::start().await;
    let upstream = ready(&server).await;
    for tool in ["lose", "fail"] {
        let error = call(&upstream, tool).await.unwrap_err();
        assert!(matches!(error, McpError::AnswerLost(_)) && error.outcome_unknown(), "{tool}: {error}");
    }
    assert_eq!(text(&call(&upstream, "echo").await.unwrap()), "echo");
    // An answer to somebody else's request is none.
    assert!(matches!(call(&upstream, "wrong").await, Err(McpError::MalformedAnswer(_))));
    for tool in ["big", "bigger"] {
        let error = call(&upstream, tool).await.unwrap_err();
        assert!(matches!(error, McpError::AnswerTooLarge { .. }), "{tool}: {error}");
    }
    assert_eq!(text(&call(&upstream, "echo").await.unwrap()), "echo");
}

#[tokio::test]
async fn the_server_asks_and_is_answered_while_a_call_runs() {
    let server = HttpServer::start().await;
    let upstream = ready(&server).await;
    upstream.listen(Arc::new(Heard::default()));
    let answer = call(&upstream, "ask").await.unwrap();
    assert!(text(&answer).contains(r#""answering":"roots/list""#), "{answer}");
}

#[tokio::test]
async fn many_calls_run_at_a_time_and_one_that_hangs_holds_up_none() {
    let server = HttpServer::start().await;
    let upstream = Arc::new(ready(&server).await);
    let hanging = {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move { call(&upstream, "wait").await })
    };
    until(|| server.methods().contains(&"tools/call".to_owned())).await;
    let calls: Vec<_> = (0..50)
        .map(|number| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(
                async move { call(&upstream, if number % 2 == 0 { "echo" } else { "stream" }).await },
            )
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    hanging.abort();
    // Giving up a call tells the server.
    until(|| server.methods().contains(&"notifications/cancelled".to_owned())).await;
}

#[tokio::test]
async fn notifications_come_on_a_stream_of_their_own_and_a_server_need_not_have_one() {
    let server = HttpServer::start().await;
    let upstream = reach(&server.url);
    let heard = Arc::new(Heard::default());
    upstream.listen(Arc::<Heard>::clone(&heard));
    upstream.initialize_as("chio", "0").await.unwrap();
    until(|| *server.seen.listening.lock().unwrap() == 1).await;
    server.tell(
        &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "a:b"}}),
    );
    // Answers have no business there.
    server.tell(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    until(|| heard.0.lock().unwrap().len() == 1).await;
    assert_eq!(*heard.0.lock().unwrap(), ["notifications/resources/updated"]);

    *server.seen.no_stream.lock().unwrap() = true;
    let upstream = ready(&server).await;
    assert_eq!(text(&call(&upstream, "echo").await.unwrap()), "echo");
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_over_at_once() {
    let server = HttpServer::start().await;
    let upstream = Arc::new(ready(&server).await);
    let waiting = {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move { call(&upstream, "wait").await })
    };
    until(|| server.methods().contains(&"tools/call".to_owned())).await;
    server.forget();
    // The server did not look at the call that finds out.
    let error = call(&upstream, "echo").await.unwrap_err();
    assert!(matches!(error, McpError::NotSent(_)) && !error.outcome_unknown(), "{error}");
    // With it ends everything that waits.
    assert!(waiting.await.unwrap().unwrap_err().outcome_unknown());
    upstream.ended().cancelled().await;
    assert!(matches!(call(&upstream, "echo").await, Err(McpError::NotSent(_))));
    upstream.stop().await;
    assert!(server.seen.deleted.lock().unwrap().is_empty(), "there is nothing to take leave of");
}

#[tokio::test]
async fn a_server_that_is_not_there_redirects_or_is_no_mcp_server_is_not_initialized() {
    let nowhere = reach("http://127.0.0.1:9/mcp?key=hidden").initialize_as("chio", "0").await.map(drop);
    let text = nowhere.unwrap_err().to_string();
    assert!(text.contains("cannot be reached") && !text.contains("hidden"), "{text}");

    let server = HttpServer::start().await;
    let missing = reach(&server.url.replace("/mcp", "/elsewhere")).initialize_as("chio", "0").await.map(drop);
    assert!(missing.unwrap_err().to_string().contains("404"));
    *server.seen.redirect.lock().unwrap() = true;
    let moved = reach(&server.url).initialize_as("chio", "0").await.map(drop).unwrap_err().to_string();
    assert!(moved.contains("redirects"), "{moved}");
}

#[test]
fn an_endpoint_holds_no_secrets_that_could_be_seen() {
    let header = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
    let url = |text: &str| text.parse::<url::Url>().unwrap();
    for bad in ["ftp://a/", "file:///etc/passwd", "http://me:secret@a/", "https://me@a/"] {
        assert!(HttpEndpoint::new(url(bad), &[]).is_err(), "{bad}");
    }
    for (name, value) in [("Mcp-Session-Id", "x"), ("Host", "x"), ("bad name", "x"), ("x", "a\r\nb: c")] {
        let refused = HttpEndpoint::new(url("http://a/"), &header(name, value));
        assert!(refused.is_err(), "{name}");
    }
    let endpoint =
        HttpEndpoint::new(url("https://a/mcp?key=hidden"), &header("X-Key", "hidden too")).unwrap();
    let shown = format!("{endpoint:?} {}", endpoint.place());
    assert!(!shown.contains("hidden") && shown.contains("x-key"), "{shown}");
}
