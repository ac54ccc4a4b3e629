//! Two sessions on one shared server, in every order that a seeded generator finds: nothing crosses.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(unreachable_pub, dead_code)]
mod hall;

use std::collections::HashMap;
use std::sync::Arc;

use chio_mcp::channel::Route;
use chio_mcp::servers::Owner;
use serde_json::{Value, json};

use hall::{Client, Hall, Script, text};

/// Steps of one run; the four of them make 10^5.
const STEPS: u64 = 25_000;

/// Requests of one session under way at a time.
const UNDER_WAY: usize = 40;

const POLICY: &str = r"
kernel: { receipt_parameter_limit: 1024 }
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 3000 }
    resources:
      - { uri: 'test://*', operations: [read, subscribe], ttl: 3000 }
";

/// xorshift64*: reproducible, and good enough to mix.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

enum Expected {
    /// This text of a tool's result.
    Text(String),
    /// A task, whose result will be this text.
    Task(String),
    /// The result of the task of this id.
    TaskResult(String, String),
    /// Only tasks of the session.
    TaskList,
    /// An unknown task.
    NoTask,
    /// An empty result.
    Empty,
}

struct Side {
    name: &'static str,
    client: Client,
    next: u64,
    expected: HashMap<u64, Expected>,
    /// Tokens of progress by what may be told under them.
    progress: HashMap<String, String>,
    tasks: Vec<(String, String)>,
    subscribed: bool,
    governed: usize,
}

impl Side {
    async fn start(&mut self, method: &str, params: Value, expected: Expected) {
        self.next += 1;
        self.expected.insert(self.next, expected);
        self.client.start_as(self.next, method, params).await;
    }

    /// Looks at everything that has arrived.
    fn look(&mut self) {
        for (message, route) in self.client.heard() {
            match message.get("method").and_then(Value::as_str) {
                None => self.answered(&message, &route),
                Some("notifications/progress") => {
                    let token = message["params"]["progressToken"].as_str().unwrap();
                    let secret =
                        self.progress.get(token).unwrap_or_else(|| panic!("{}: {message}", self.name));
                    assert_eq!(message["params"]["message"], **secret);
                }
                Some("notifications/tasks/status") => {
                    let id = message["params"]["taskId"].as_str().unwrap();
                    // The answer that names it is on its way on another stream at most.
                    assert!(!id.starts_with("theirs"), "{message}");
                }
                Some("notifications/resources/updated") => {
                    let uri = message["params"]["uri"].as_str().unwrap();
                    assert!(uri.starts_with(&format!("test://{}", self.name)), "{}: {message}", self.name);
                }
                Some(_) => panic!("{}: {message}", self.name),
            }
        }
    }

    fn answered(&mut self, message: &Value, route: &Route) {
        let id = message["id"].as_u64().unwrap();
        assert!(matches!(route, Route::Answer(answered) if answered.as_number() == Some(id)));
        let result = &message["result"];
        match self.expected.remove(&id).unwrap_or_else(|| panic!("answered twice: {message}")) {
            Expected::Text(expected) => assert_eq!(text(result), expected),
            Expected::Task(secret) => {
                let id = result["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{message}"));
                self.tasks.push((id.to_owned(), secret));
            }
            Expected::TaskResult(id, secret) => {
                assert_eq!(text(result), secret);
                assert_eq!(result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], *id);
            }
            Expected::TaskList => {
                for task in result["tasks"].as_array().unwrap() {
                    let id = task["taskId"].as_str().unwrap();
                    let known = self.tasks.iter().any(|(known, _)| known == id);
                    let coming = self.expected.values().any(|expected| matches!(expected, Expected::Task(_)));
                    assert!(known || coming, "{}: {message}", self.name);
                }
            }
            Expected::NoTask => {
                assert_eq!(
                    message["error"],
                    json!({"code": -32602, "message": "failed to retrieve task: task not found"})
                );
            }
            Expected::Empty => assert_eq!(*result, json!({}), "{message}"),
        }
    }

    async fn settle(&mut self) {
        while !self.expected.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            self.look();
        }
    }
}

#[tokio::test]
async fn two_sessions_on_one_server_never_cross_1() {
    two_sessions_on_one_server(0x00C0_FFEE).await;
}

#[tokio::test]
async fn two_sessions_on_one_server_never_cross_2() {
    two_sessions_on_one_server(0x5EED).await;
}

#[tokio::test]
async fn two_sessions_on_one_server_never_cross_3() {
    two_sessions_on_one_server(0x000A_11CE).await;
}

#[tokio::test]
async fn two_sessions_on_one_server_never_cross_4() {
    two_sessions_on_one_server(0xB0B).await;
}

async fn two_sessions_on_one_server(seed: u64) {
    let script = Arc::new(Script {
        name: "shared",
        tools: vec!["echo", "progress", "say"],
        resources: vec!["test://a", "test://b"],
        tasks: true,
        ..Script::default()
    });
    let hall = Hall::open(POLICY, vec![("shared", Owner::Shared, script)]);
    let mut sides = Vec::new();
    for name in ["a", "b"] {
        let client = hall.client(json!({})).await;
        sides.push(Side {
            name,
            client,
            next: 1000,
            expected: HashMap::new(),
            progress: HashMap::new(),
            tasks: Vec::new(),
            subscribed: false,
            governed: 0,
        });
    }
    let mut random = Random(seed);
    for step in 0..STEPS {
        let this = usize::from(random.below(2) == 1);
        let foreign = sides[1 - this].tasks.last().map(|(id, _)| id.clone());
        let side = &mut sides[this];
        // Both sessions count alike, so that the same ids are under way in both.
        let secret = format!("{}-{step}", side.name);
        match random.below(12) {
            0..=3 => {
                let params = json!({"name": "echo", "arguments": {"secret": secret}});
                side.governed += 1;
                side.start("tools/call", params, Expected::Text(secret)).await;
            }
            4 => {
                // The same tokens in both sessions, with different secrets.
                let token = format!("token-{}", side.next);
                side.progress.insert(token.clone(), secret.clone());
                let params = json!({"name": "progress", "arguments": {"secret": secret}, "_meta": {"progressToken": token}});
                side.governed += 1;
                side.start("tools/call", params, Expected::Text(secret)).await;
            }
            5 if side.tasks.len() < 400 => {
                let params =
                    json!({"name": "echo", "arguments": {"secret": secret}, "task": {"ttl": 600_000}});
                side.governed += 1;
                side.start("tools/call", params, Expected::Task(secret)).await;
            }
            6 => {
                if let Some((id, secret)) = side.tasks.last().cloned() {
                    let expected = Expected::TaskResult(id.clone(), secret);
                    side.start("tasks/result", json!({"taskId": id}), expected).await;
                }
            }
            7 => {
                if let Some(id) = foreign {
                    let method = ["tasks/get", "tasks/result", "tasks/cancel"][random.below(3) as usize];
                    side.start(method, json!({"taskId": id}), Expected::NoTask).await;
                }
            }
            8 if random.below(20) == 0 => side.start("tasks/list", json!({}), Expected::TaskList).await,
            9 => {
                let uri = format!("test://{}", side.name);
                let method = if side.subscribed { "resources/unsubscribe" } else { "resources/subscribe" };
                side.governed += usize::from(!side.subscribed);
                side.subscribed = !side.subscribed;
                // In order, for subscribing and unsubscribing one URI at once means neither.
                side.start(method, json!({"uri": uri}), Expected::Empty).await;
                side.settle().await;
            }
            10 => {
                // The server tells of either resource; each is told to whoever subscribed to it.
                let uri = ["test://a", "test://b"][random.below(2) as usize];
                let params = json!({"method": "notifications/resources/updated", "params": {"uri": uri}});
                side.governed += 1;
                let params = json!({"name": "say", "arguments": params});
                side.start("tools/call", params, Expected::Text("said".to_owned())).await;
            }
            _ => {
                // What says not whom it concerns reaches nobody.
                let method = [
                    "notifications/message",
                    "notifications/tools/list_changed",
                    "notifications/tasks/status",
                    "notifications/elicitation/complete",
                ][random.below(4) as usize];
                let params = json!({"method": method, "params": {"data": secret, "taskId": "theirs-1", "elicitationId": "e"}});
                side.governed += 1;
                let params = json!({"name": "say", "arguments": params});
                side.start("tools/call", params, Expected::Text("said".to_owned())).await;
            }
        }
        for side in &mut sides {
            side.look();
            while side.expected.len() > UNDER_WAY {
                tokio::task::yield_now().await;
                side.look();
            }
        }
    }
    let mut governed = 0;
    for side in &mut sides {
        side.settle().await;
        // Tasks end on their own; each still has its own result.
        for (id, secret) in side.tasks.clone() {
            side.start("tasks/result", json!({"taskId": id}), Expected::TaskResult(id.clone(), secret)).await;
            side.settle().await;
        }
        governed += side.governed;
    }
    let mut receipts = 0;
    let mut after_seq = None;
    loop {
        let query = chio_store::Query { after_seq, ..chio_store::Query::default() };
        let page = hall.store.receipts(query).await.unwrap();
        let Some(last) = page.last() else { break };
        after_seq = Some(last.seq);
        receipts += page.len();
    }
    assert_eq!(receipts, governed);
    for side in sides {
        side.client.leave().await;
    }
}
