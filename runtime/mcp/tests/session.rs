//! Sessions against a peer in memory: correlation, cancellation, progress and the end, in every order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chio_json::Json;
use chio_mcp::channel::{Arrival, Channel, Departures, Route};
use chio_mcp::jsonrpc::{ErrorObject, Message, Notification};
use chio_mcp::session::{
    CancelCause, Cancellation, Driver, Handler, Incoming, Limits, RequestOptions, Session,
};
use chio_mcp::{CloseReason, McpError};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Requests are answered when the test says so; `panic` panics.
#[derive(Default)]
struct Held {
    requests: Mutex<HashMap<String, (Incoming, oneshot::Sender<()>)>>,
    told: Mutex<Vec<String>>,
}

#[async_trait]
impl Handler for Held {
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        assert!(request.method != "panic", "as the test wanted");
        let (finish, finished) = oneshot::channel();
        let id = request.id.clone();
        self.requests.lock().unwrap().insert(id.json().to_owned(), (request, finish));
        let _ = finished.await;
        Ok(json_of(&json!({"answers": id.json()})))
    }

    fn notification(&self, notification: Notification) {
        self.told.lock().unwrap().push(notification.method);
    }
}

struct Peer {
    session: Session,
    handler: Arc<Held>,
    arrived: mpsc::Sender<Arrival>,
    departures: Departures,
    driver: JoinHandle<CloseReason>,
}

impl Peer {
    fn new(limits: Limits, queue_bytes: usize) -> Self {
        let (channel, arrived, departures) = Channel::new(queue_bytes);
        let (session, driver): (Session, Driver) = Session::new(channel, limits);
        let handler = Arc::new(Held::default());
        let driver = tokio::spawn(driver.run(Arc::<Held>::clone(&handler)));
        Self { session, handler, arrived, departures, driver }
    }

    async fn says(&self, message: Value) {
        let arrival = match Message::parse(&message.to_string()) {
            Ok(message) => Arrival::Message(message),
            Err(malformed) => Arrival::Malformed(malformed),
        };
        self.arrived.send(arrival).await.unwrap();
        settle().await;
    }

    /// Everything sent so far.
    fn hears(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.departures.next_ready())
            .map(|departure| serde_json::from_str(&departure.text).unwrap())
            .collect()
    }

    fn asks(&self, method: &'static str, options: RequestOptions) -> JoinHandle<Result<Json, McpError>> {
        let session = self.session.clone();
        tokio::spawn(async move { session.request(method, None, options).await })
    }

    fn finish(&self, id: &str) {
        let (_, finish) = self.handler.requests.lock().unwrap().remove(id).unwrap();
        finish.send(()).unwrap();
    }

    async fn leaves(self) -> (CloseReason, Departures) {
        drop(self.arrived);
        (self.driver.await.unwrap(), self.departures)
    }
}

fn json_of(value: &Value) -> Json {
    Json::from_value(value)
}

/// Lets every task do what it can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_find_their_request_in_any_order() {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    let first = peer.asks("a", RequestOptions::default());
    settle().await;
    let second = peer.asks("b", RequestOptions::default());
    settle().await;
    let sent = peer.hears();
    assert_eq!(sent[0], json!({"jsonrpc": "2.0", "id": 1, "method": "a"}));
    peer.says(json!({"jsonrpc": "2.0", "id": sent[1]["id"], "result": {"for": "b"}})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": 999, "result": {"for": "nobody"}})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": "1", "result": {"for": "a string"}})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": sent[0]["id"], "error": {"code": -5, "message": "no"}})).await;
    assert_eq!(second.await.unwrap().unwrap().get(), r#"{"for":"b"}"#);
    let Err(McpError::Refused(error)) = first.await.unwrap() else { panic!("not refused") };
    assert_eq!((error.code, error.message.as_str()), (-5, "no"));
    let third = peer.asks("c", RequestOptions::default());
    settle().await;
    peer.says(json!({"jsonrpc": "2.0", "id": 3})).await;
    assert!(matches!(third.await.unwrap(), Err(McpError::MalformedAnswer(_))));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_is_withdrawn() {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    let limit = Duration::from_secs(5);
    let late = peer.asks("late", RequestOptions { timeout: Some(limit), ..RequestOptions::default() });
    assert!(matches!(late.await.unwrap(), Err(McpError::TimedOut(after)) if after == limit));
    let cancelled = Cancellation::new();
    let options = RequestOptions { cancelled: Some(cancelled.clone()), ..RequestOptions::default() };
    let unwanted = peer.asks("unwanted", options);
    settle().await;
    cancelled.cancel(CancelCause::Peer(Some("because".to_owned())));
    assert!(matches!(unwanted.await.unwrap(), Err(McpError::Cancelled)));
    let dropped = peer.asks("dropped", RequestOptions::default());
    settle().await;
    dropped.abort();
    settle().await;
    let options = RequestOptions { timeout: Some(limit), not_cancellable: true, ..RequestOptions::default() };
    assert!(peer.asks("initialize", options).await.unwrap().is_err());

    let sent = peer.hears();
    let methods: Vec<_> = sent.iter().map(|message| message["method"].as_str().unwrap()).collect();
    assert_eq!(
        methods,
        [
            "late",
            "notifications/cancelled",
            "unwanted",
            "notifications/cancelled",
            "dropped",
            "notifications/cancelled",
            "initialize"
        ]
    );
    assert_eq!(sent[3]["params"], json!({"requestId": 2, "reason": "cancelled by the caller: because"}));
    assert_eq!(peer.session.waiting(), 0);
}

#[tokio::test]
async fn the_peers_requests_are_answered_once_and_cancelled_ones_never() {
    let mut peer = Peer::new(Limits { in_work: 3, waiting: 8 }, 1 << 20);
    for id in [json!(1), json!("1"), json!("two")] {
        peer.says(json!({"jsonrpc": "2.0", "id": id, "method": "m"})).await;
    }
    peer.says(json!({"jsonrpc": "2.0", "id": "two", "method": "m"})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": 4, "method": "m"})).await;
    let refused = peer.hears();
    assert_eq!(refused[0]["id"], "two");
    assert_eq!(refused[0]["error"]["code"], -32600);
    assert_eq!((&refused[1]["id"], &refused[1]["error"]["code"]), (&json!(4), &json!(-32603)));
    assert_eq!(refused[1]["error"]["data"]["chioError"]["name"], "kernel_busy");

    peer.says(json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": "1", "reason": "never mind"}}))
        .await;
    peer.says(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}))
        .await;
    peer.says(json!({"jsonrpc": "2.0", "method": "notifications/cancelled"})).await;
    let cause = peer.handler.requests.lock().unwrap()["\"1\""].0.cancelled.cause().cloned();
    assert_eq!(cause, Some(CancelCause::Peer(Some("never mind".to_owned()))));
    for id in ["\"1\"", "1", "\"two\""] {
        peer.finish(id);
    }
    settle().await;
    let answers: HashSet<String> = peer.hears().iter().map(|answer| answer["id"].to_string()).collect();
    assert_eq!(answers, HashSet::from(["1".to_owned(), "\"two\"".to_owned()]));
    assert_eq!(peer.session.in_work(), 0);
}

#[tokio::test]
async fn a_panic_of_the_handler_is_an_internal_error() {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    peer.says(json!({"jsonrpc": "2.0", "id": 1, "method": "panic"})).await;
    let answer = peer.hears();
    assert_eq!(answer[0]["error"]["code"], -32603);
    peer.says(json!({"jsonrpc": "2.0", "id": 1, "method": "m"})).await;
    assert_eq!(peer.session.in_work(), 1);
}

#[tokio::test]
async fn the_end_fails_what_waits_and_what_comes_after() {
    let peer = Peer::new(Limits { in_work: 8, waiting: 1 }, 1 << 20);
    let waiting = peer.asks("a", RequestOptions::default());
    settle().await;
    let over = peer.asks("b", RequestOptions::default()).await.unwrap();
    assert!(matches!(over, Err(McpError::Overloaded { limit: 1 })));
    let session = peer.session.clone();
    let (reason, _departures) = peer.leaves().await;
    assert_eq!(reason, CloseReason::Eof);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, McpError::Closed(CloseReason::Eof)) && error.outcome_unknown());
    let error = session.request("c", None, RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, McpError::NotSent(CloseReason::Eof)) && !error.outcome_unknown());
}

#[tokio::test(start_paused = true)]
async fn finishing_waits_then_cancels_then_gives_up() {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    for id in [1, 2] {
        peer.says(json!({"jsonrpc": "2.0", "id": id, "method": "m"})).await;
    }
    peer.finish("1");
    let cancelled = peer.handler.requests.lock().unwrap()["2"].0.cancelled.clone();
    let patience = Duration::from_secs(1);
    assert_eq!(peer.session.finish(patience, patience).await, 1);
    assert_eq!(cancelled.cause(), Some(&CancelCause::Closed));
    assert_eq!(peer.hears().len(), 1);
    // What still comes is cancelled from the start, and answered: the caller may yet read.
    peer.says(json!({"jsonrpc": "2.0", "id": 3, "method": "m"})).await;
    assert!(peer.handler.requests.lock().unwrap()["3"].0.cancelled.cause().is_some());
    peer.finish("3");
    settle().await;
    assert_eq!(peer.hears()[0]["id"], 3);
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_nobody_else() {
    let peer = Peer::new(Limits::default(), 2_000);
    // Notifications are dropped once the queue is full, and never wait.
    let mut sent = 0;
    while peer.session.notify("n", None, Route::Unrelated).is_ok() {
        sent += 1;
    }
    assert!(sent > 1);
    assert!(peer.session.notify("n", None, Route::Unrelated).is_err());
    assert_eq!(peer.session.dropped(), 2);
    // What the peer says is still taken.
    peer.says(json!({"jsonrpc": "2.0", "method": "told"})).await;
    assert_eq!(*peer.handler.told.lock().unwrap(), ["told"]);
    // A request waits for room no longer than it may.
    let limit = Duration::from_millis(20);
    let options = RequestOptions { timeout: Some(limit), ..RequestOptions::default() };
    assert!(matches!(peer.asks("a", options).await.unwrap(), Err(McpError::TimedOut(_))));
}

#[derive(Clone, Debug)]
enum Step {
    Ask { progress: bool },
    Answer(prop::sample::Index),
    Refuse(prop::sample::Index),
    Progress(prop::sample::Index),
    Cancel(prop::sample::Index),
    PeerAsks,
    PeerCancels(prop::sample::Index),
    Finish(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        any::<bool>().prop_map(|progress| Step::Ask { progress }),
        index().prop_map(Step::Answer),
        index().prop_map(Step::Refuse),
        index().prop_map(Step::Progress),
        index().prop_map(Step::Cancel),
        Just(Step::PeerAsks),
        index().prop_map(Step::PeerCancels),
        index().prop_map(Step::Finish),
    ]
}

/// A request of ours, and what must become of it.
struct Asked {
    id: u64,
    result: JoinHandle<Result<Json, McpError>>,
    cancelled: Cancellation,
    progress: Option<Arc<Mutex<Vec<u64>>>>,
    expected_progress: Vec<u64>,
    expected: Option<&'static str>,
}

async fn interleave(steps: Vec<Step>) {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    let mut asked: Vec<Asked> = Vec::new();
    let mut theirs: Vec<(u64, bool, bool)> = Vec::new(); // id, cancelled, finished
    let mut ticks = 0;
    for step in steps {
        match step {
            Step::Ask { progress } => {
                let seen = progress.then(|| Arc::new(Mutex::new(Vec::new())));
                let cancelled = Cancellation::new();
                let mut options =
                    RequestOptions { cancelled: Some(cancelled.clone()), ..RequestOptions::default() };
                if let Some(seen) = seen.clone() {
                    options.progress = Some(Arc::new(move |params: &Json| {
                        seen.lock().unwrap().push(params.to_value().unwrap()["progress"].as_u64().unwrap());
                    }));
                }
                let result = peer.asks("m", options);
                settle().await;
                asked.push(Asked {
                    id: asked.len() as u64 + 1,
                    result,
                    cancelled,
                    progress: seen,
                    expected_progress: Vec::new(),
                    expected: None,
                });
            }
            Step::Answer(index) if !asked.is_empty() => {
                let asked = index.get_mut(&mut asked);
                asked.expected.get_or_insert("result");
                peer.says(json!({"jsonrpc": "2.0", "id": asked.id, "result": {"for": asked.id}})).await;
            }
            Step::Refuse(index) if !asked.is_empty() => {
                let asked = index.get_mut(&mut asked);
                asked.expected.get_or_insert("refused");
                peer.says(
                    json!({"jsonrpc": "2.0", "id": asked.id, "error": {"code": asked.id, "message": "no"}}),
                )
                .await;
            }
            Step::Progress(index) if !asked.is_empty() => {
                let asked = index.get_mut(&mut asked);
                ticks += 1;
                if asked.expected.is_none() && asked.progress.is_some() {
                    asked.expected_progress.push(ticks);
                }
                peer.says(json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": asked.id, "progress": ticks}}))
                    .await;
            }
            Step::Cancel(index) if !asked.is_empty() => {
                let asked = index.get_mut(&mut asked);
                asked.expected.get_or_insert("cancelled");
                asked.cancelled.cancel(CancelCause::Closed);
                settle().await;
            }
            Step::PeerAsks => {
                let id = theirs.len() as u64;
                theirs.push((id, false, false));
                peer.says(json!({"jsonrpc": "2.0", "id": id, "method": "m"})).await;
            }
            Step::PeerCancels(index) if !theirs.is_empty() => {
                let their = index.get_mut(&mut theirs);
                their.1 |= !their.2;
                let id = their.0;
                peer.says(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}))
                    .await;
            }
            Step::Finish(index) if !theirs.is_empty() => {
                let their = index.get_mut(&mut theirs);
                if !std::mem::replace(&mut their.2, true) {
                    peer.finish(&their.0.to_string());
                    settle().await;
                }
            }
            _ => {}
        }
    }
    for (id, _, finished) in &theirs {
        if !finished {
            peer.finish(&id.to_string());
        }
    }
    settle().await;
    let sent = peer.hears();
    // Every request of the peer was answered exactly once, unless it was cancelled.
    for (id, cancelled, _) in &theirs {
        let answers = sent.iter().filter(|message| message["id"] == *id && message.get("method").is_none());
        let answers: Vec<_> = answers.map(|answer| answer["result"]["answers"].clone()).collect();
        if *cancelled {
            assert_eq!(answers.len(), 0);
        } else {
            assert_eq!(answers, [json!(id.to_string())]);
        }
    }
    let withdrawn: Vec<_> = sent
        .iter()
        .filter(|message| message["method"] == "notifications/cancelled")
        .map(|message| message["params"]["requestId"].as_u64().unwrap())
        .collect();
    let (reason, _departures) = peer.leaves().await;
    assert_eq!(reason, CloseReason::Eof);
    for asked in asked {
        let outcome = match asked.result.await.unwrap() {
            Ok(result) => {
                assert_eq!(result.get(), format!(r#"{{"for":{}}}"#, asked.id));
                "result"
            }
            Err(McpError::Refused(error)) => {
                assert_eq!(error.code, i64::try_from(asked.id).unwrap());
                "refused"
            }
            Err(McpError::Cancelled) => "cancelled",
            Err(McpError::Closed(_)) => "closed",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(outcome, asked.expected.unwrap_or("closed"));
        assert_eq!(withdrawn.contains(&asked.id), outcome == "cancelled");
        if let Some(seen) = asked.progress {
            assert_eq!(*seen.lock().unwrap(), asked.expected_progress);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_interleaving_keeps_requests_apart(steps in proptest::collection::vec(step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(interleave(steps));
    }
}

#[tokio::test]
async fn a_malformed_answer_that_nobody_waits_for_is_never_answered() {
    let mut peer = Peer::new(Limits::default(), 1 << 20);
    // It has a request of its own under that id, which an error of ours would fail.
    peer.says(json!({"jsonrpc": "2.0", "id": 7, "method": "held"})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": 7})).await;
    peer.says(json!({"jsonrpc": "2.0", "id": 7, "result": {}, "error": {"code": 1, "message": "m"}})).await;
    assert!(peer.hears().is_empty());
    peer.finish("7");
    settle().await;
    assert_eq!(peer.hears(), [json!({"jsonrpc": "2.0", "id": 7, "result": {"answers": "7"}})]);
}
