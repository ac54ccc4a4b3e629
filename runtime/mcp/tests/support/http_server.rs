//! An MCP server over streamable HTTP with one tool per behaviour that the tests need.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub struct HttpServer {
    pub url: String,
    pub seen: Arc<Seen>,
    pub stop: CancellationToken,
}

/// Method or `answer`, session id, protocol version and Authorization of a POST.
pub type Posted = (String, Option<String>, Option<String>, Option<String>);

#[derive(Default)]
pub struct Seen {
    pub posts: Mutex<Vec<Posted>>,
    pub resumed: Mutex<Vec<String>>,
    pub deleted: Mutex<Vec<String>>,
    pub sessions: Mutex<HashSet<String>>,
    pub answers: Mutex<HashMap<String, Value>>,
    pub tell: Mutex<Option<broadcast::Sender<String>>>,
    pub listening: Mutex<usize>,
    pub no_stream: Mutex<bool>,
    pub redirect: Mutex<bool>,
}

impl HttpServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        *seen.tell.lock().unwrap() = Some(broadcast::channel(64).0);
        let stop = CancellationToken::new();
        let server = Self { url, seen: Arc::clone(&seen), stop: stop.clone() };
        let app = Router::new().route("/mcp", any(handle)).with_state(seen);
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.unwrap(),
                () = stop.cancelled() => {}
            }
        });
        server
    }

    pub fn methods(&self) -> Vec<String> {
        self.seen.posts.lock().unwrap().iter().map(|(method, ..)| method.clone()).collect()
    }

    pub fn tell(&self, message: &Value) {
        let tell = self.seen.tell.lock().unwrap().clone().unwrap();
        tell.send(format!("data: {message}\n\n")).unwrap();
    }

    /// Forgets all sessions, as a restart would.
    pub fn forget(&self) {
        self.seen.sessions.lock().unwrap().clear();
    }
}

async fn handle(State(seen): State<Arc<Seen>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if *seen.redirect.lock().unwrap() {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/mcp")])
            .into_response();
    }
    match parts.method.as_str() {
        "POST" => post(&seen, &parts.headers, &body).await,
        "GET" => get(&seen, &parts.headers),
        "DELETE" => {
            let id = text(&parts.headers, "mcp-session-id").unwrap();
            seen.deleted.lock().unwrap().push(id);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn json_answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

fn events(parts: Vec<String>) -> Response {
    let body = stream::iter(parts.into_iter().map(|part| Ok::<_, Infallible>(Bytes::from(part))));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

fn live(receiver: mpsc::Receiver<String>) -> Response {
    let body = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|part| (Ok::<_, Infallible>(Bytes::from(part)), receiver))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

async fn post(seen: &Arc<Seen>, headers: &HeaderMap, body: &[u8]) -> Response {
    assert_eq!(text(headers, "content-type").unwrap(), "application/json");
    let accept = text(headers, "accept").unwrap();
    assert!(accept.contains("application/json") && accept.contains("text/event-stream"), "{accept}");
    let message: Value = serde_json::from_slice(body).unwrap();
    let method = message["method"].as_str().unwrap_or("answer").to_owned();
    let session = text(headers, "mcp-session-id");
    seen.posts.lock().unwrap().push((
        method.clone(),
        session.clone(),
        text(headers, "mcp-protocol-version"),
        text(headers, "authorization"),
    ));
    let id = message["id"].clone();
    if method == "initialize" {
        let session = format!("session-{}", seen.posts.lock().unwrap().len());
        seen.sessions.lock().unwrap().insert(session.clone());
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {"subscribe": true}},
            "serverInfo": {"name": "over-http", "version": "1"}}});
        let mut response = events(vec![format!("id: 0\ndata:\n\n"), format!("id: 1\ndata: {answer}\n\n")]);
        response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        return response;
    }
    if !session.is_some_and(|session| seen.sessions.lock().unwrap().contains(&session)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if method == "answer" {
        seen.answers.lock().unwrap().insert(id.as_str().unwrap_or("?").to_owned(), message);
        return StatusCode::ACCEPTED.into_response();
    }
    if id.is_null() {
        if method == "notifications/initialized" {
            // What overtakes it would be seen first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            seen.posts.lock().unwrap().push(("initialized is known".to_owned(), None, None, None));
        }
        return StatusCode::ACCEPTED.into_response();
    }
    let result = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
    let said = |text: &str| result(json!({"content": [{"type": "text", "text": text}]}));
    match (method.as_str(), message["params"]["name"].as_str().unwrap_or_default()) {
        ("tools/list", _) => {
            let names = ["echo", "stream", "resume", "lose", "fail", "big", "bigger", "ask", "wait", "wrong"];
            let tools: Vec<_> =
                names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
            json_answer(&result(json!({"tools": tools})))
        }
        (_, "echo") => json_answer(&said("echo")),
        (_, "stream") => {
            let token = &message["params"]["_meta"]["progressToken"];
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1}});
            // Cut at the wrong places.
            let all =
                format!(": hello\n\nevent: message\ndata: {progress}\n\ndata: {}\n\n", said("streamed"));
            events(all.as_bytes().chunks(7).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect())
        }
        (_, "resume") => {
            let answer = said("resumed").to_string();
            seen.answers.lock().unwrap().insert(format!("stream-{id}"), Value::String(answer));
            events(vec![format!("id: stream-{id}\nretry: 30\ndata:\n\n")])
        }
        (_, "lose") => events(vec![": nothing to resume from\n\n".to_owned()]),
        (_, "fail") => (StatusCode::BAD_GATEWAY, "upstream died").into_response(),
        (_, "big") => json_answer(&said(&"x".repeat(17 * 1024 * 1024))),
        (_, "bigger") => events(vec![format!("data: {}\n\n", said(&"x".repeat(18 * 1024 * 1024)))]),
        (_, "wrong") => json_answer(&json!({"jsonrpc": "2.0", "id": 424_242, "result": {}})),
        (_, "wait") => {
            let (keep, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                keep.closed().await;
            });
            live(receiver)
        }
        (_, "ask") => {
            let (send, receiver) = mpsc::channel(4);
            let ask = json!({"jsonrpc": "2.0", "id": "question", "method": "roots/list"});
            let (seen, id) = (Arc::clone(seen), id.clone());
            tokio::spawn(async move {
                send.send(format!("data: {ask}\n\n")).await.unwrap();
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let answer = seen.answers.lock().unwrap().get("question").cloned();
                    if let Some(answer) = answer {
                        let text = json!({"jsonrpc": "2.0", "id": id,
                            "result": {"content": [{"type": "text", "text": answer.to_string()}]}});
                        send.send(format!("data: {text}\n\n")).await.unwrap();
                        return;
                    }
                }
            });
            live(receiver)
        }
        _ => json_answer(&result(json!({}))),
    }
}

fn get(seen: &Arc<Seen>, headers: &HeaderMap) -> Response {
    if let Some(last) = text(headers, "last-event-id") {
        seen.resumed.lock().unwrap().push(last.clone());
        let times = seen.resumed.lock().unwrap().iter().filter(|id| **id == last).count();
        return match seen.answers.lock().unwrap().get(&last) {
            // The first attempt finds nothing yet.
            Some(Value::String(answer)) if times > 1 => events(vec![format!("data: {answer}\n\n")]),
            Some(_) => events(vec![format!("id: {last}\ndata:\n\n")]),
            None => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
    }
    if *seen.no_stream.lock().unwrap() {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    *seen.listening.lock().unwrap() += 1;
    let mut told = seen.tell.lock().unwrap().as_ref().unwrap().subscribe();
    let (send, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok(text) = told.recv().await {
            if send.send(text).await.is_err() {
                return;
            }
        }
    });
    live(receiver)
}
