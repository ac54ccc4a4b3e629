//! Measures the store, and verifies while it does: `cargo run --release -p chio-store --example load -- [SECONDS]`.
//!
//! Every call is one admission and one completion, each awaited. The figure to look at is the ratio to one sync per
//! transaction, measured in the same run on the same disk: syncs per second say more about the machine than about us.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chio_core::hash::sha256;
use chio_store::{
    Admission, AdmissionOutcome, Charge, Completion, NewReceipt, Outcome, Settlement, SqliteOptions,
    SqliteStore, Store, Token,
};

fn main() {
    let seconds = std::env::args().nth(1).map_or(3.0, |seconds| seconds.parse().unwrap());
    let length = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root =
        tempfile::tempdir_in(std::env::var_os("CHIO_LOAD_DIR").unwrap_or_else(|| "/var/tmp".into())).unwrap();

    let alone = one_sync_each(&root.path().join("single"), length);
    println!("one row, one sync                 {alone:>9.0}/s");
    for in_flight in [1, 8, 64, 256, 1024] {
        let dir = root.path().join(format!("calls{in_flight}"));
        let before = processor_time();
        let (rate, latencies) = runtime.block_on(calls(&dir, in_flight, length));
        let each = (processor_time() - before) / u32::try_from(latencies.len()).unwrap();
        let (p50, p99) = (percentile(&latencies, 50), percentile(&latencies, 99));
        let ratio = rate / alone;
        println!(
            "calls, {in_flight:>4} in flight             {rate:>9.0}/s  {ratio:>5.1} x  p50 {p50:?}  p99 {p99:?}  cpu {each:?}"
        );
        let verify = Box::new(|_: &_, _: Option<&_>| Ok(()));
        let report = SqliteStore::examine(&dir, &(verify as _)).unwrap();
        assert!(report.is_clean() && report.open_intents == 0, "{report:?}");
    }
    for in_flight in [1, 64, 1024] {
        let rate =
            runtime.block_on(appends(&root.path().join(format!("appends{in_flight}")), in_flight, length));
        println!("receipts only, {in_flight:>4} in flight     {rate:>9.0}/s  {:>5.1} x", rate / alone);
    }
}

/// What a store without group commit could do at best: one row and one sync per transaction.
fn one_sync_each(dir: &Path, length: Duration) -> f64 {
    std::fs::create_dir(dir).unwrap();
    let database = rusqlite::Connection::open(dir.join("one.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = full;").unwrap();
    database
        .execute_batch("CREATE TABLE receipts (leaf INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT)")
        .unwrap();
    let (start, mut rows) = (Instant::now(), 0_u32);
    while start.elapsed() < length {
        rows += 1;
        database
            .prepare_cached("INSERT INTO receipts VALUES (?1, ?2, ?3)")
            .unwrap()
            .execute((rows, id(), text("", rows.into())))
            .unwrap();
    }
    f64::from(rows) / start.elapsed().as_secs_f64()
}

async fn calls(dir: &Path, in_flight: usize, length: Duration) -> (f64, Vec<Duration>) {
    let store = Arc::new(SqliteStore::open(dir, &SqliteOptions::default()).unwrap());
    let end = Instant::now() + length;
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let start = Instant::now();
                    call(&store, task % 16).await;
                    latencies.push(start.elapsed());
                }
                latencies
            })
        })
        .collect();
    let start = Instant::now();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let count = u32::try_from(latencies.len()).unwrap();
    (f64::from(count) / start.elapsed().as_secs_f64(), latencies)
}

async fn call(store: &SqliteStore, capability: usize) {
    let capability_id = format!("cap-{capability}");
    let token: Arc<str> = Arc::from(format!("{{\"id\":\"{capability_id}{}\"}}", "-".repeat(400)));
    let admission = Admission {
        agents: vec!["agent".to_owned()],
        now: 1_800_000_000,
        token: Token { id: capability_id.clone(), digest: sha256(token.as_bytes()), text: token },
        ancestors: Vec::new(),
        nonce: None,
        charges: vec![Charge { capability_id: capability_id.clone(), grant_index: 0, limit: u64::MAX }],
        intent: Some(text("intent", 0)),
    };
    let AdmissionOutcome::Admitted(ticket) = store.admit(admission).await.unwrap() else { panic!("refused") };
    let completion = Completion { ticket, settlement: Settlement::Charge, receipt: receipt(&capability_id) };
    store.complete(completion).await.unwrap();
}

async fn appends(dir: &Path, in_flight: usize, length: Duration) -> f64 {
    let store = Arc::new(SqliteStore::open(dir, &SqliteOptions::default()).unwrap());
    let (start, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (store, count) = (Arc::clone(&store), Arc::clone(&count));
            tokio::spawn(async move {
                while start.elapsed() < length {
                    store.append(receipt("cap")).await.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let count = u32::try_from(count.load(Ordering::Relaxed)).unwrap();
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn receipt(capability_id: &str) -> NewReceipt {
    NewReceipt {
        id: id(),
        timestamp: 1_800_000_000,
        outcome: Outcome::Allow,
        capability_id: capability_id.to_owned(),
        server: "server".to_owned(),
        tool: "tool".to_owned(),
        text: text("receipt", 0),
    }
}

fn id() -> String {
    format!("rcpt-{}", uuid::Uuid::now_v7())
}

/// As long as an ordinary receipt.
fn text(kind: &str, number: u64) -> String {
    format!("{kind}{number:0>700}")
}

/// What this process used of all processors, the callers included: the figure a busy machine does not distort.
fn processor_time() -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|index| fields.get(*index).unwrap().parse::<u64>().unwrap()).sum();
    // The kernel counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

fn percentile(latencies: &[Duration], percent: usize) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}
