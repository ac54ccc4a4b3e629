//! Decisions whose intent and receipt are both synced, against the limit; and group commit against a sync for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chio::store::{NewReceipt, Outcome, SqliteOptions, SqliteStore, Store};
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::ceiling::Ceiling;
use crate::fixture::{calls, kernel, token};

pub(crate) fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let ceiling = Ceiling::new(dir.path());
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(dir.path().join("kernel"), &SqliteOptions::default()).expect("a store"));
    let kernel = kernel(store);
    let token = token(false);

    for in_flight in [1_u64, 64, 1024] {
        let batch = (in_flight * 4).max(64);
        let mut group = criterion.benchmark_group(format!("durable, {in_flight} in flight"));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(8))
            .throughput(Throughput::Elements(batch));
        group.bench_function("limit: sign and two synced writes", |b| {
            b.iter_custom(|rounds| timed(&runtime, rounds, || ceiling.calls(batch, in_flight)));
        });
        group.bench_function("decisions", |b| {
            b.iter_custom(|rounds| timed(&runtime, rounds, || calls(&kernel, &token, batch, in_flight)));
        });
        group.finish();
    }

    let store =
        Arc::new(SqliteStore::open(dir.path().join("store"), &SqliteOptions::default()).expect("a store"));
    let batch = 512;
    let mut group = criterion.benchmark_group("store: group commit");
    group.sample_size(10).measurement_time(Duration::from_secs(8)).throughput(Throughput::Elements(batch));
    group.bench_function("limit: one sync for each receipt", |b| {
        b.iter_custom(|rounds| timed(&runtime, rounds, || one_by_one(&store, batch)));
    });
    group.bench_function("all at once", |b| {
        b.iter_custom(|rounds| timed(&runtime, rounds, || together(&store, batch)));
    });
    group.finish();
}

fn timed<F: Future<Output = ()>>(runtime: &Runtime, rounds: u64, mut round: impl FnMut() -> F) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..rounds {
            round().await;
        }
        start.elapsed()
    })
}

async fn one_by_one(store: &SqliteStore, count: u64) {
    for _ in 0..count {
        store.append(receipt()).await.expect("an append");
    }
}

async fn together(store: &Arc<SqliteStore>, count: u64) {
    let appends: Vec<_> = (0..count)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.append(receipt()).await })
        })
        .collect();
    for append in appends {
        append.await.expect("a task").expect("an append");
    }
}

fn receipt() -> NewReceipt {
    let id = format!("rcpt-{}", Uuid::now_v7());
    NewReceipt {
        text: format!("{{\"id\":\"{id}\",\"pad\":\"{}\"}}", "x".repeat(1_500)),
        id,
        timestamp: 1_800_000_000,
        outcome: Outcome::Allow,
        capability_id: "cap".to_owned(),
        server: "bench".to_owned(),
        tool: "echo".to_owned(),
    }
}
