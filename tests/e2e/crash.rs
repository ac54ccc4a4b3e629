//! Killed again and again with calls in flight: nothing that a client was told and nothing that a tool did is lost.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chio_native::Client;
use chio_spec::ToolCallResult;
use serde_json::{Value, json};

use crate::agent::{Agent, Token, request};
use crate::home::Home;
use crate::processes::{MARK, all_gone};
use crate::server::{Server, workshop};

/// Calls in flight at once.
const IN_FLIGHT: usize = 64;

/// How often the server is killed, unless `E2E_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_receipt_and_no_call_is_lost_when_the_kernel_is_killed_fifty_times() {
    let rounds = std::env::var("E2E_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut scene = Scene::new("crash");
    for round in 0..rounds {
        if round % 5 == 4 {
            scene.kill_while_it_starts(Duration::from_millis(4 * round));
        }
        let server = scene.serve();
        let callers = scene.callers(&server, IN_FLIGHT).await;
        // Each round at another moment: from the first calls to many of them.
        tokio::time::sleep(Duration::from_millis(20 + 37 * (round % 10))).await;
        server.kill();
        scene.take_answers(callers).await;
        all_gone(&scene.mark);
    }
    // One more start finds what the last one left open.
    assert!(scene.serve().end().success());
    scene.account();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_on_the_same_store_neither_suffers_from_a_kill_nor_loses_a_call() {
    let mut scene = Scene::new("neighbour");
    let survivor = scene.serve();
    let survivors_callers = scene.callers(&survivor, IN_FLIGHT / 4).await;
    for round in 0..5 {
        let server = scene.serve();
        let callers = scene.callers(&server, IN_FLIGHT / 4).await;
        tokio::time::sleep(Duration::from_millis(100 + 50 * round)).await;
        server.kill();
        scene.take_answers(callers).await;
    }
    // A third process puts on record what the dead left open, while the survivor's calls are under way.
    assert!(scene.serve().end().success());
    survivor.kill();
    scene.take_answers(survivors_callers).await;
    all_gone(&scene.mark);
    assert!(scene.serve().end().success());
    scene.account();
}

/// A store, the servers on it, what their clients were answered, and a tool that counts its calls in a file.
struct Scene {
    home: Home,
    folder: PathBuf,
    arguments: Vec<String>,
    token: Token,
    mark: String,
    numbers: Arc<AtomicU64>,
    answered: Vec<String>,
}

type Callers = tokio::task::JoinSet<Vec<String>>;

impl Scene {
    fn new(name: &str) -> Self {
        let home = Home::new();
        let folder = home.side("workshop");
        let token = Agent::new(&home, "agent").issue(&home, &["--server", "shop", "--tool", "count"]);
        let mut arguments = vec!["--server-id".to_owned(), "shop".to_owned(), "--".to_owned()];
        arguments.extend(workshop(&folder));
        let mark = format!("{name}-{}", std::process::id());
        Self { home, folder, arguments, token, mark, numbers: Arc::default(), answered: Vec::new() }
    }

    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn serve(&self) -> Server {
        Server::marked(&self.home, &self.mark, &self.arguments())
    }

    /// Starts a server that is dead before it serves, perhaps in the middle of putting its predecessor's calls on record.
    fn kill_while_it_starts(&self, after: Duration) {
        let arguments = [&["serve", "--listen", "tcp://127.0.0.1:0"], &self.arguments()[..]].concat();
        let mut command = self.home.command(&arguments);
        command.env(MARK, &self.mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
        all_gone(&self.mark);
    }

    /// Begins calls that go on until the server is gone.
    async fn callers(&self, server: &Server, count: usize) -> Callers {
        let client = Arc::new(server.client().await);
        let mut callers = Callers::new();
        for _ in 0..count {
            let numbers = Arc::clone(&self.numbers);
            callers.spawn(call_until_the_end(Arc::clone(&client), self.token.clone(), numbers));
        }
        callers
    }

    async fn take_answers(&mut self, callers: Callers) {
        self.answered.extend(callers.join_all().await.into_iter().flatten());
    }

    /// Whatever was answered or counted is in the log, once, and the log is in order.
    fn account(&self) {
        let logged = self.home.receipt_texts();
        let distinct: HashSet<&str> = logged.iter().map(String::as_str).collect();
        assert_eq!(distinct.len(), logged.len(), "a receipt is in the log twice");
        for receipt in &self.answered {
            assert!(
                distinct.contains(receipt.as_str()),
                "a client has a receipt that is not in the log: {receipt}"
            );
        }

        // By the number that each call carries: what the tool counted is in the log, as done or as unknown.
        let mut verdicts: HashMap<u64, Vec<String>> = HashMap::new();
        for receipt in &logged {
            let receipt: Value = serde_json::from_str(receipt).unwrap();
            let number = receipt["action"]["parameters"]["n"].as_u64().unwrap();
            let verdict = receipt["decision"]["verdict"].as_str().unwrap().to_owned();
            verdicts.entry(number).or_default().push(verdict);
        }
        let counted = std::fs::read_to_string(self.folder.join("counted")).unwrap();
        let counted: Vec<u64> = counted.lines().map(|line| line.parse().unwrap()).collect();
        let ran: HashSet<u64> = counted.iter().copied().collect();
        assert_eq!(ran.len(), counted.len(), "a call ran twice");
        for number in &counted {
            let found = verdicts.get(number).map(Vec::as_slice).unwrap_or_default();
            assert!(
                matches!(found, [verdict] if verdict == "allow" || verdict == "incomplete"),
                "call {number} ran, and the log says {found:?}"
            );
        }
        for (number, found) in &verdicts {
            assert_eq!(found.len(), 1, "call {number} has several receipts: {found:?}");
            assert!(
                found[0] != "allow" || ran.contains(number),
                "call {number} is in the log and did not run"
            );
        }
        assert_eq!(self.home.fsck(), u64::try_from(logged.len()).unwrap());

        let open = verdicts.values().filter(|found| found[0] == "incomplete").count();
        println!(
            "{}: {} receipts answered, {} calls counted, {} receipts logged, {open} of them incomplete",
            self.mark,
            self.answered.len(),
            counted.len(),
            logged.len()
        );
        assert!(self.answered.len() > 100, "too few calls to prove anything: {}", self.answered.len());
        assert!(open > 0, "no call was in flight when a kernel died, so nothing was proven");
    }
}

/// Calls again and again until the connection is gone; gives the receipts that it was answered with.
async fn call_until_the_end(client: Arc<Client>, token: Token, numbers: Arc<AtomicU64>) -> Vec<String> {
    let mut receipts = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let call = client.call(request(&token, "shop", "count", &json!({"n": number})));
        match tokio::time::timeout(Duration::from_secs(60), call).await.expect("the connection ends in time")
        {
            Ok(response) => {
                assert!(matches!(response.result, ToolCallResult::Ok(_)), "{response:?}");
                receipts.push(response.receipt.text().to_owned());
            }
            Err(_) => return receipts,
        }
    }
}
