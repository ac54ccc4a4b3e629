//! Every system call that touches the disk fails once, or kills the process once, and the store must come back whole.
//!
//! After Tessera's fault test: `strace` injects the fault into the n-th call of a kind while a child works; then what
//! the child was told is compared with what is there. Without `strace` the test says so and does nothing.
//! `CHIO_STORE_FAULTS` sets how many positions per kind are tried.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod fixtures;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use chio_store::{Outcome, Query, Revocation, SqliteOptions, SqliteStore, Store, StoreError};
use fixtures::*;

const DIR: &str = "CHIO_STORE_TEST_DIR";

/// Opens a store, calls, revokes, signs checkpoints and closes it; says what was acknowledged; never panics over an
/// error of the store.
#[test]
fn as_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Ok(store) = SqliteStore::open(&dir, &SqliteOptions::default()) else { return };
    let store = Arc::new(store);
    let run = uuid::Uuid::now_v7();
    runtime.block_on(async {
        for index in 0..12 {
            let mut call = admission("cap");
            call.charges = vec![charge("cap", u64::MAX)];
            if let Ok(chio_store::AdmissionOutcome::Admitted(ticket)) = store.admit(call).await {
                let id = format!("{run}-{index}");
                if store.complete(completion(ticket, &id)).await.is_ok() {
                    println!("\nreceipt {id}");
                }
            }
            if index % 4 == 3 {
                let id = format!("revoked-{run}-{index}");
                let revocation =
                    Revocation { capability_id: id.clone(), reason: String::new(), revoked_at: NOW };
                if store.revoke(revocation).await.is_ok() {
                    println!("\nrevocation {id}");
                }
                if let Ok(Some(checkpoint)) = store.checkpoint(signer()).await {
                    println!("\ncheckpoint {}", checkpoint.text);
                }
            }
        }
    });
}

#[test]
fn a_fault_in_any_system_call_loses_nothing() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: strace is not installed, so no fault can be injected");
        return;
    }
    let positions: u32 =
        std::env::var("CHIO_STORE_FAULTS").ok().and_then(|positions| positions.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for fault in ["error=EIO", "error=ENOSPC", "signal=KILL"] {
        for (call, stride) in [
            ("pwrite64", 11),
            ("fdatasync,fsync", 5),
            ("write", 9),
            ("rename", 1),
            ("openat", 7),
            ("flock", 7),
        ] {
            for position in 0..positions {
                // Different places from one kind to the next; the first calls belong to the loader.
                let when = 1 + position * stride + stride / 2;
                acknowledged.extend(afflicted(dir.path(), &format!("{call}:{fault}:when={when}")));
                let context = format!("{call} {fault} at {when}");
                runtime.block_on(is_whole(dir.path(), &acknowledged, &context));
            }
        }
    }
    assert!(acknowledged.len() > 50, "the child hardly got to work: {}", acknowledged.len());
}

/// Runs the child under the fault and returns what it was told.
fn afflicted(dir: &Path, inject: &str) -> BTreeSet<String> {
    let calls = inject.split(':').next().unwrap();
    let output = Command::new("strace")
        .args([
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={inject}"),
        ])
        // A fault in the write that wakes the child's own runtime leaves it waiting for ever: one more way to die.
        .args(["timeout", "--signal=KILL", "20"])
        .arg(std::env::current_exe().unwrap())
        .args(["as_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let kinds = ["receipt ", "revocation ", "checkpoint "];
    said.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).map(str::to_owned).collect()
}

async fn is_whole(dir: &Path, acknowledged: &BTreeSet<String>, context: &str) {
    let store = match SqliteStore::open(dir, &SqliteOptions::default()) {
        Ok(store) => store,
        Err(error) => panic!("after {context}: {error}"),
    };
    for dead in store.dead_intents().await.unwrap() {
        let mut incomplete = completion(dead.ticket, &uuid::Uuid::now_v7().to_string());
        incomplete.receipt.outcome = Outcome::Incomplete;
        match store.complete(incomplete).await {
            Ok(_) | Err(StoreError::IntentClosed) => {}
            Err(error) => panic!("after {context}: {error}"),
        }
    }
    let mut present: BTreeSet<String> = BTreeSet::new();
    for found in store.receipts(Query::default()).await.unwrap() {
        present.insert(format!("receipt {}", found.id));
    }
    for checkpoint in store.checkpoints().await.unwrap() {
        present.insert(format!("checkpoint {}", checkpoint.text));
    }
    for line in acknowledged {
        let there = match line.strip_prefix("revocation ") {
            Some(id) => store.first_revoked(&[id]).is_some(),
            None => present.contains(line),
        };
        assert!(there, "after {context}: {line} was acknowledged and is gone");
    }
    let report = store.fsck(trusting()).await.unwrap();
    assert_eq!((report.open_intents, report.problems), (0, Vec::new()), "after {context}");
}
