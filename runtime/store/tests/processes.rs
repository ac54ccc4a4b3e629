//! Several stores on one directory: in one process, and in processes that are killed.
//!
//! A child process is this test binary again: `as_child` is a test that does nothing unless the environment tells it
//! which part to play.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chio_store::{
    AdmissionOutcome, BudgetUsage, Outcome, Query, Revocation, SqliteOptions, SqliteStore, Store, StoreError,
};
use fixtures::*;

const PART: &str = "CHIO_STORE_TEST_PART";
const DIR: &str = "CHIO_STORE_TEST_DIR";

fn child(part: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["as_child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// What the child says, without what the test harness says.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let said = BufReader::new(child.stdout.take().unwrap());
    said.lines().map_while(Result::ok).filter_map(|line| {
        // The harness may print "test as_child ... " in front of the first line.
        line.split_once("SAY ").map(|(_, said)| said.to_owned())
    })
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "SAY {line}").unwrap();
    out.flush().unwrap();
}

#[test]
fn as_child() {
    let (Ok(part), Ok(dir)) = (std::env::var(PART), std::env::var(DIR)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match part.as_str() {
            "spend" => spend(Path::new(&dir)).await,
            "work" => work(Path::new(&dir)).await,
            "intents" => intents(Path::new(&dir)).await,
            "recover" => recover(Path::new(&dir)).await,
            "revoke" => {
                let revocation =
                    Revocation { capability_id: "cap".into(), reason: "lost".into(), revoked_at: NOW };
                assert!(open(Path::new(&dir)).revoke(revocation).await.unwrap());
            }
            "open" => drop(open(Path::new(&dir))),
            other => panic!("unknown part {other}"),
        }
    });
}

/// Makes fifty calls on a budget of ten, completes what is admitted, and logs what is not.
async fn spend(dir: &Path) {
    let store = Arc::new(open(dir));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let id = uuid::Uuid::now_v7().to_string();
                let mut call = admission("cap");
                call.charges = vec![charge("cap", 10)];
                match store.admit(call).await.unwrap() {
                    AdmissionOutcome::Admitted(ticket) => {
                        store.complete(completion(ticket, &id)).await.unwrap();
                        true
                    }
                    AdmissionOutcome::Refused(_) => {
                        let mut denial = receipt(&id);
                        denial.outcome = Outcome::Deny;
                        store.append(denial).await.unwrap();
                        false
                    }
                }
            })
        })
        .collect();
    for call in calls {
        say(if call.await.unwrap() { "allowed" } else { "denied" });
    }
}

/// Calls without end, 64 at a time, and says what was acknowledged.
async fn work(dir: &Path) {
    let store = Arc::new(open(dir));
    say("open");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        tasks.spawn(call_for_ever(Arc::clone(&store)));
    }
    tasks.spawn(checkpoint_for_ever(store));
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn call_for_ever(store: Arc<SqliteStore>) {
    loop {
        let id = uuid::Uuid::now_v7().to_string();
        let mut call = admission("cap");
        call.charges = vec![charge("cap", u64::MAX)];
        call.intent = Some(id.clone());
        let ticket = admitted(store.admit(call).await.unwrap());
        say(&format!("ran {id}"));
        store.complete(completion(ticket, &id)).await.unwrap();
        say(&format!("acknowledged {id}"));
    }
}

async fn checkpoint_for_ever(store: Arc<SqliteStore>) {
    loop {
        store.checkpoint(signer()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Opens five intents and waits to be killed.
async fn intents(dir: &Path) {
    let store = open(dir);
    for index in 0..5 {
        let mut call = admission("cap");
        call.intent = Some(format!("intent {index}"));
        call.charges = vec![charge("cap", 100)];
        admitted(store.admit(call).await.unwrap());
    }
    say("open");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Closes the intents of the dead and says how many it closed.
async fn recover(dir: &Path) {
    let store = open(dir);
    let mut closed = 0;
    for dead in store.dead_intents().await.unwrap() {
        let mut incomplete = completion(dead.ticket, &uuid::Uuid::now_v7().to_string());
        incomplete.receipt.outcome = Outcome::Incomplete;
        incomplete.receipt.text = dead.context;
        match store.complete(incomplete).await {
            Ok(_) => closed += 1,
            Err(StoreError::IntentClosed) => {}
            Err(error) => panic!("{error}"),
        }
    }
    say(&format!("closed {closed}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_in_one_process_share_a_budget_and_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [Arc::new(open(dir.path())), Arc::new(open(dir.path()))];
    let calls: Vec<_> = (0..100)
        .map(|index| {
            let store = Arc::clone(&stores[index % 2]);
            tokio::spawn(async move {
                let mut call = admission("cap");
                call.charges = vec![charge("cap", 10), charge("root", 10)];
                let outcome = store.admit(call).await.unwrap();
                store.append(receipt(&format!("r{index}"))).await.unwrap();
                matches!(outcome, AdmissionOutcome::Admitted(_))
            })
        })
        .collect();
    let mut allowed = 0;
    for call in calls {
        allowed += usize::from(call.await.unwrap());
    }
    assert_eq!(allowed, 10);
    assert_eq!(stores[0].budget("root", 0).await.unwrap(), BudgetUsage { settled: 0, reserved: 10 });
    assert_eq!(stores[0].head().await.unwrap(), stores[1].head().await.unwrap());
    let report = stores[1].fsck(trusting()).await.unwrap();
    assert_eq!((report.receipts, report.problems), (100, Vec::new()));
}

#[test]
fn two_processes_share_a_budget_and_a_log() {
    let temp = tempfile::tempdir().unwrap();
    // The directory does not exist yet: both processes meet it first.
    let dir = temp.path().join("store");
    let mut children: Vec<_> = (0..2).map(|_| child("spend", &dir).spawn().unwrap()).collect();
    let mut said = Vec::new();
    for child in &mut children {
        said.extend(lines(child));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(said.len(), 100);
    assert_eq!(said.iter().filter(|said| *said == "allowed").count(), 10);
    let report = SqliteStore::examine(&dir, &trusting()).unwrap();
    assert_eq!((report.receipts, report.open_intents, report.problems), (100, 0, Vec::new()));
}

#[test]
fn many_processes_open_a_new_store_at_once() {
    for _ in 0..5 {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("new/store");
        let children: Vec<_> = (0..6).map(|_| child("open", &dir).spawn().unwrap()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert!(SqliteStore::examine(&dir, &trusting()).unwrap().is_clean());
        let left = std::fs::read_dir(dir.join("instances")).unwrap().count();
        assert_eq!(left, 0, "a store that ends in order leaves no instance behind");
    }
}

/// Whatever was acknowledged is in the log, and every call that ran is there as a receipt or as an open intent.
#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let rounds = std::env::var("CHIO_STORE_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut ran, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..rounds {
        let mut killed = child("work", dir.path()).spawn().unwrap();
        let mut said = lines(&mut killed);
        assert_eq!(said.next().as_deref(), Some("open"));
        // Read while it works, or it would wait for room in the pipe.
        let said = std::thread::spawn(move || said.collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(40 + 37 * (round % 5)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        for line in said.join().unwrap() {
            if let Some(id) = line.strip_prefix("ran ") {
                ran.insert(id.to_owned());
            } else if let Some(id) = line.strip_prefix("acknowledged ") {
                acknowledged.insert(id.to_owned());
            }
        }
        let mut recovery = child("recover", dir.path()).spawn().unwrap();
        assert_eq!(lines(&mut recovery).count(), 1);
        assert!(recovery.wait().unwrap().success());

        runtime.block_on(async {
            let store = open(dir.path());
            let found = store.receipts(Query::default()).await.unwrap();
            let ended: BTreeSet<String> = found.iter().map(|found| found.id.clone()).collect();
            let unknown: BTreeSet<&str> = found.iter().map(|found| found.text.as_str()).collect();
            assert!(acknowledged.is_subset(&ended), "an acknowledged receipt is missing");
            for id in &ran {
                assert!(ended.contains(id) || unknown.contains(id.as_str()), "{id} ran and left no trace");
            }
            let report = store.fsck(trusting()).await.unwrap();
            assert_eq!((report.open_intents, report.problems), (0, Vec::new()));
            assert_eq!(
                store.budget("cap", 0).await.unwrap(),
                BudgetUsage { settled: report.receipts, reserved: 0 }
            );
        });
    }
    assert!(!acknowledged.is_empty());
}

#[test]
fn dead_intents_are_closed_once_though_two_processes_try() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut killed = child("intents", dir.path()).spawn().unwrap();
    assert_eq!(lines(&mut killed).next().as_deref(), Some("open"));
    {
        let store = open(dir.path());
        let alive = runtime.block_on(store.dead_intents()).unwrap();
        assert!(alive.is_empty(), "their process lives");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();

    let mut children: Vec<_> = (0..3).map(|_| child("recover", dir.path()).spawn().unwrap()).collect();
    let mut closed = 0;
    for child in &mut children {
        // To its end: a child whose output nobody reads fails.
        let said: Vec<_> = lines(child).collect();
        closed += said[0].strip_prefix("closed ").unwrap().parse::<u32>().unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(closed, 5);
    let store = open(dir.path());
    let found = runtime.block_on(store.receipts(Query::default())).unwrap();
    let contexts: Vec<_> = found.iter().map(|found| found.text.as_str()).collect();
    let mut sorted = contexts.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["intent 0", "intent 1", "intent 2", "intent 3", "intent 4"]);
    let usage = runtime.block_on(store.budget("cap", 0)).unwrap();
    assert_eq!(usage, BudgetUsage { settled: 5, reserved: 0 }, "what may have run stays charged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_made_elsewhere_is_seen_and_announced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch_revocations();
    let ticket = admitted(store.admit(admission("cap")).await.unwrap());
    store.complete(completion(ticket, "r1")).await.unwrap();
    assert!(child("revoke", dir.path()).status().unwrap().success());
    // The admission looks for itself, whatever the view knows.
    let refusal = refused(store.admit(admission("cap")).await.unwrap());
    assert_eq!(refusal, chio_store::Refusal::Revoked { id: "cap".to_owned() });
    let announced = tokio::time::timeout(Duration::from_secs(10), watch.recv()).await.unwrap().unwrap();
    assert_eq!((announced.capability_id.as_str(), announced.reason.as_str()), ("cap", "lost"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(watch.try_recv().is_err(), "announced once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_learns_of_revocations_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (idle, busy) = (open(dir.path()), open(dir.path()));
    let mut watch = idle.watch_revocations();
    let revocation = Revocation { capability_id: "cap".into(), reason: String::new(), revoked_at: NOW };
    busy.revoke(revocation.clone()).await.unwrap();
    busy.stop(Some("agent".to_owned()), NOW).await.unwrap();
    let announced = tokio::time::timeout(Duration::from_secs(10), watch.recv()).await.unwrap().unwrap();
    assert_eq!(announced, revocation);
    assert_eq!(idle.first_revoked(&["cap"]), Some("cap"));
    while !idle.stops().covers("agent") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    busy.resume(Some("agent".to_owned())).await.unwrap();
    while idle.stops().covers("agent") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_taken_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut call = admission("cap");
    call.nonce = Some(nonce("n", NOW + 360));
    call.charges = vec![charge("cap", 2)];
    {
        let store = open(dir.path());
        let ticket = admitted(store.admit(call.clone()).await.unwrap());
        store.complete(completion(ticket, "r1")).await.unwrap();
        store.stop(None, NOW).await.unwrap();
    }
    {
        let store = open(dir.path());
        assert!(store.stops().covers("anyone"));
        store.resume(None).await.unwrap();
        assert_eq!(refused(store.admit(call.clone()).await.unwrap()), chio_store::Refusal::Replay);
        let mut rebound = admission("cap");
        rebound.token = token_with_text("cap", "{\"other\":1}");
        assert!(matches!(
            refused(store.admit(rebound).await.unwrap()),
            chio_store::Refusal::IdRebound { .. }
        ));
        // Left open when the store ends: its outcome is unknown.
        call.nonce = None;
        admitted(store.admit(call.clone()).await.unwrap());
    }
    let store = open(dir.path());
    assert!(matches!(refused(store.admit(call).await.unwrap()), chio_store::Refusal::BudgetExhausted { .. }));
    let dead = store.dead_intents().await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].context.as_str(), dead[0].admitted_at), ("call with cap", NOW));
    store.complete(completion(dead[0].ticket.clone(), "r2")).await.unwrap();
    assert!(store.dead_intents().await.unwrap().is_empty());
    assert_eq!(store.head().await.unwrap().size, 2);
    drop(store);
    drop(open(dir.path()));
    assert_eq!(std::fs::read_dir(dir.path().join("instances")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_nonce_table_refuses_until_something_expires() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    options.nonce_capacity = 3;
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let claim = |name: &str, now: u64| {
        let mut call = admission("cap");
        call.now = now;
        call.nonce = Some(nonce(name, now + 10));
        call
    };
    for name in ["a", "b", "c"] {
        admitted(store.admit(claim(name, NOW)).await.unwrap());
    }
    let full = refused(store.admit(claim("d", NOW)).await.unwrap());
    assert_eq!(full, chio_store::Refusal::NonceTableFull);
    assert_eq!(refused(store.admit(claim("a", NOW)).await.unwrap()), chio_store::Refusal::Replay);
    admitted(store.admit(claim("d", NOW + 11)).await.unwrap());
    assert!(store.fsck(trusting()).await.unwrap().is_clean());
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    let store = open(&dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.append(receipt("r1"))).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for name in ["", "instances"] {
        assert_eq!(mode(&dir.join(name)), 0o700, "{name}");
    }
    for name in ["chio.db", "chio.db-wal", "chio.db-shm", "anchor", "head", "lock"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}
