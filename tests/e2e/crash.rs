//! Killed again and again with calls in flight: nothing that a client was told and nothing that a tool did is lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chio_native::Client;
use chio_spec::ToolCallResult;
use serde_json::{Value, json};

use crate::agent::{Agent, Token, request};
use crate::home::Home;
use crate::processes::all_gone;
use crate::server::{Server, workshop};

/// Calls in flight at once.
const IN_FLIGHT: usize = 64;

/// How often the server is killed, unless `E2E_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_receipt_and_no_call_is_lost_when_the_kernel_is_killed_fifty_times() {
    let rounds = std::env::var("E2E_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let home = Home::new();
    let folder = home.side("workshop");
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "shop", "--tool", "count"]);
    let mut arguments = vec!["--server-id".to_owned(), "shop".to_owned(), "--".to_owned()];
    arguments.extend(workshop(&folder));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mark = format!("crash-{}", std::process::id());

    let mut answered = Vec::new();
    let numbers = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        let server = Server::marked(&home, &mark, &arguments);
        let client = Arc::new(server.client().await);
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            callers.spawn(call_until_the_end(Arc::clone(&client), token.clone(), Arc::clone(&numbers)));
        }
        // Each round at another moment: from the first calls to many of them.
        tokio::time::sleep(Duration::from_millis(20 + 37 * (round % 10))).await;
        server.kill();
        answered.extend(callers.join_all().await.into_iter().flatten());
        all_gone(&mark);
    }
    // One more start finds what the last one left open.
    let server = Server::marked(&home, &mark, &arguments);
    assert!(server.end().success());

    let logged = home.receipt_texts();
    let distinct: HashSet<&str> = logged.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), logged.len(), "a receipt is in the log twice");
    for receipt in &answered {
        assert!(
            distinct.contains(receipt.as_str()),
            "a client has a receipt that is not in the log: {receipt}"
        );
    }

    // By the number that each call carries: what the tool counted is in the log, once, as done or as unknown.
    let mut verdicts: HashMap<u64, Vec<String>> = HashMap::new();
    for receipt in &logged {
        let receipt: Value = serde_json::from_str(receipt).unwrap();
        let number = receipt["action"]["parameters"]["n"].as_u64().unwrap();
        let verdict = receipt["decision"]["verdict"].as_str().unwrap().to_owned();
        verdicts.entry(number).or_default().push(verdict);
    }
    let counted = std::fs::read_to_string(folder.join("counted")).unwrap();
    let counted: Vec<u64> = counted.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(counted.iter().collect::<HashSet<_>>().len(), counted.len(), "a call ran twice");
    for number in &counted {
        let found = verdicts.get(number).map(Vec::as_slice).unwrap_or_default();
        assert!(
            matches!(found, [verdict] if verdict == "allow" || verdict == "incomplete"),
            "call {number} ran, and the log says {found:?}"
        );
    }
    let ran: HashSet<u64> = counted.iter().copied().collect();
    for (number, found) in &verdicts {
        assert_eq!(found.len(), 1, "call {number} has several receipts: {found:?}");
        assert!(
            found[0] != "allow" || ran.contains(number),
            "call {number} did not run, and the log allows it"
        );
    }

    let receipts = home.fsck();
    assert_eq!(receipts, u64::try_from(logged.len()).unwrap());
    let open = verdicts.values().filter(|found| found[0] == "incomplete").count();
    println!(
        "killed {rounds} times: {} receipts answered, {} calls counted, {receipts} receipts logged, {open} of them incomplete",
        answered.len(),
        counted.len()
    );
    assert!(
        answered.len() > usize::try_from(rounds).unwrap(),
        "too few calls to prove anything: {}",
        answered.len()
    );
    assert!(open > 0, "no call was in flight when the kernel died, so nothing was proven");
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
