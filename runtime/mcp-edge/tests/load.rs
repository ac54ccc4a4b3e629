//! How much memory sessions take. A process of its own, so that nothing else is measured with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    unreachable_pub,
    dead_code
)]
#![cfg(target_os = "linux")]

#[path = "hosted/house/mod.rs"]
mod house;

use std::time::Duration;

use chio_mcp_edge::{EdgeConfig, Limits};
use futures_util::StreamExt;
use serde_json::json;

use house::{House, config, initialize};

const SESSIONS: usize = 10_000;

/// What the edge may hold for an idle session: its channel, its log, its task and its answer to `initialize`. The
/// session behind it here does nothing; what a kernel session and a server of its own take comes on top.
const BYTES_PER_SESSION: usize = 24 * 1024;

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The tests measure the memory of the process that they share, so they run one after the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// 10,000 clients initialize, and nobody ever comes back: once within the limit of sessions, and once more above it,
/// when each new one must be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_initialises_keep_memory_under_a_bound() {
    let _alone = ALONE.lock().await;
    let limits = Limits { sessions: SESSIONS, sessions_per_minute: 0, ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    for _ in 0..200 {
        house.session().await;
    }
    let before = resident();
    let admitted = storm(&house, SESSIONS - 200).await;
    assert_eq!(admitted, SESSIONS - 200);
    let grown = resident().saturating_sub(before);
    let each = grown / (SESSIONS - 200);
    println!("{SESSIONS} sessions: {} MiB resident, {each} bytes for each session", resident() >> 20);
    assert!(each < BYTES_PER_SESSION, "{each} bytes for each session");

    let admitted = storm(&house, SESSIONS / 10).await;
    let above = resident().saturating_sub(before);
    println!(
        "{} more initialises, {admitted} admitted: {} KiB more",
        SESSIONS / 10,
        (above - grown.min(above)) >> 10
    );
    assert!(above < grown + 32 * 1024 * 1024, "{above} bytes after {grown}");
    let sessions = house.admin("GET", "/admin/sessions?limit=1").await.json().await;
    assert!(sessions["activeCount"].as_u64().unwrap() <= SESSIONS as u64);
    house.close().await;
}

/// A session that is busy and then idle holds its replay window and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_events_do_not_pile_up() {
    let _alone = ALONE.lock().await;
    let house = House::open(config()).await;
    let session = house.session().await;
    let run = async |from: u64| {
        for id in from..from + 100 {
            let messages = house.call(&session, id, "flood", json!({"count": 100})).await.messages().await;
            assert_eq!(messages.len(), 101);
        }
    };
    run(1).await;
    let before = resident();
    run(1000).await;
    let grown = resident().saturating_sub(before);
    // 10 MB of events went through.
    assert!(grown < 6 * 1024 * 1024, "{grown} bytes");
    let sessions = house.admin("GET", "/admin/sessions").await.json().await;
    assert_eq!(sessions["activeSessions"][0]["bufferedBytes"], 0);
    house.close().await;
}

/// Initializes this many sessions, sixteen at a time, and counts those that were admitted.
async fn storm(house: &House, count: usize) -> usize {
    futures_util::stream::iter(0..count)
        .map(|_| async {
            let reply = house.post(None, initialize("storm")).await;
            assert_eq!(reply.status, 200);
            let admitted = reply.header("mcp-session-id").is_some();
            tokio::time::timeout(Duration::from_secs(30), async move {
                let mut reply = reply;
                reply.messages().await
            })
            .await
            .unwrap();
            usize::from(admitted)
        })
        .buffer_unordered(16)
        .fold(0, |sum, one| async move { sum + one })
        .await
}
