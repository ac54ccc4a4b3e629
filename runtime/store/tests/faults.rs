//! A store that cannot do its work says so with a type, writes nothing, and never panics into its caller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use chio_store::{AdmissionOutcome, Query, SqliteOptions, SqliteStore, Store, StoreError};
use fixtures::*;

const PART: &str = "CHIO_STORE_TEST_PART";
const DIR: &str = "CHIO_STORE_TEST_DIR";

#[test]
fn as_child() {
    let (Ok(part), Ok(dir)) = (std::env::var(PART), std::env::var(DIR)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match part.as_str() {
        "refused" => {
            let error = SqliteStore::open(&dir, &SqliteOptions::default()).expect_err("it must not open");
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains("write access"), "{error}");
        }
        "fill" => runtime.block_on(fill(Path::new(&dir))),
        other => panic!("unknown part {other}"),
    }
}

/// Appends until the disk is full, then makes sure that the store still tells the truth.
async fn fill(dir: &Path) {
    let store = open(dir);
    let large = "x".repeat(20_000);
    let (mut acknowledged, mut failed) = (0, 0);
    while failed < 5 {
        let mut new = receipt(&format!("r{acknowledged}"));
        new.text.clone_from(&large);
        match store.append(new).await {
            Ok(_) => acknowledged += 1,
            Err(StoreError::Unavailable { .. } | StoreError::Poisoned { .. }) => failed += 1,
            Err(error) => panic!("{error:?}"),
        }
        assert!(acknowledged < 10_000, "the disk never gets full");
    }
    // What is smaller may still find room, for a while.
    let mut refused = 0;
    for _ in 0..5_000 {
        match store.admit(admission("cap")).await {
            Ok(_) => {}
            Err(StoreError::Unavailable { .. } | StoreError::Poisoned { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5);
    println!("acknowledged {acknowledged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_busy_but_never_drops_a_completion() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    options.queue_capacity = 8;
    let store = Arc::new(SqliteStore::open(dir.path(), &options).unwrap());
    let tickets = [
        admitted(store.admit(admission("cap")).await.unwrap()),
        admitted(store.admit(admission("cap")).await.unwrap()),
    ];

    // The writer waits in the signer until it is told to go on.
    let (entered, inside) = channel();
    let (go_on, told) = channel();
    let sign = Box::new(move |_| {
        entered.send(()).unwrap();
        told.recv().unwrap();
        Err("never mind".to_owned())
    });
    let checkpointing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            store.append(receipt("first")).await.unwrap();
            store.checkpoint(sign).await
        }
    });
    tokio::task::spawn_blocking(move || inside.recv().unwrap()).await.unwrap();

    let (mut waiting, mut busy) = (Vec::new(), 0);
    for index in 0..20 {
        let task = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.append(receipt(&format!("r{index}"))).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        if task.is_finished() {
            let error = task.await.unwrap().unwrap_err();
            assert!(matches!(error, StoreError::Busy { .. }) && error.is_retryable());
            busy += 1;
        } else {
            waiting.push(task);
        }
    }
    assert_eq!((waiting.len(), busy), (8, 12));
    assert!(matches!(store.admit(admission("cap")).await, Err(StoreError::Busy { .. })));
    let completions: Vec<_> = tickets
        .into_iter()
        .enumerate()
        .map(|(index, ticket)| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.complete(completion(ticket, &format!("c{index}"))).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    go_on.send(()).unwrap();
    assert!(matches!(checkpointing.await.unwrap(), Err(StoreError::Signer { .. })));
    for task in waiting.into_iter().chain(completions) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.head().await.unwrap().size, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_writer_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        store.append(receipt("r1")).await.unwrap();
        let error = store.checkpoint(Box::new(|_| panic!("a test panics on purpose"))).await.unwrap_err();
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error:?}");
        let error = store.admit(admission("cap")).await.unwrap_err();
        assert!(matches!(error, StoreError::Poisoned { .. }) && !error.is_retryable());
        assert!(matches!(store.receipts(Query::default()).await, Err(StoreError::Poisoned { .. })));
    }
    let store = open(dir.path());
    assert_eq!(store.head().await.unwrap().size, 1);
    assert!(store.fsck(trusting()).await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_held_by_another_process_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    options.busy_timeout = Duration::from_millis(50);
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("chio.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.append(receipt("r1")).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    store.append(receipt("r1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_on_while_commits_cannot_be_recorded_outside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(receipt("r1")).await.unwrap();
    // A directory in the place of the draft: the anchor cannot be replaced.
    std::fs::create_dir(dir.path().join("anchor.new")).unwrap();
    store.checkpoint(signer()).await.unwrap().unwrap();
    assert!(matches!(store.append(receipt("r2")).await, Err(StoreError::Unavailable { .. })));
    std::fs::remove_dir(dir.path().join("anchor.new")).unwrap();
    store.append(receipt("r2")).await.unwrap();
    let anchor = std::fs::read_to_string(dir.path().join("anchor")).unwrap();
    assert!(anchor.contains(" 1 1 0x"), "{anchor}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_removed_or_replaced_under_the_store_ends_it() {
    for replace in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.append(receipt("r1")).await.unwrap();
        let database = dir.path().join("chio.db");
        std::fs::rename(&database, dir.path().join("elsewhere")).unwrap();
        if replace {
            std::fs::write(&database, "").unwrap();
        }
        let error = store.append(receipt("r2")).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Poisoned { .. }) && error.to_string().contains("replaced"),
            "{error}"
        );
        assert!(matches!(store.admit(admission("cap")).await, Err(StoreError::Poisoned { .. })));
    }
}

#[tokio::test]
async fn a_path_that_is_no_directory_is_unavailable() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("file");
    std::fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = SqliteStore::open(&path, &SqliteOptions::default()).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.code(), chio_spec::ErrorCode::StoreUnavailable);
    }
    assert!(SqliteStore::examine(temp.path().join("nothing"), &trusting()).is_err());
}

/// Runs a part of this test in a child without the rights of the superuser, who may write everywhere.
#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_written_is_unavailable() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let temp = tempfile::tempdir().unwrap();
    let set_mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set_mode(temp.path(), 0o755);
    // The test binary may lie where others must not look.
    let binary = temp.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    set_mode(&binary, 0o755);
    let run = |dir: &Path| {
        let mut command = Command::new(&binary);
        command.args(["as_child", "--exact"]).env(PART, "refused").env(DIR, dir).current_dir("/");
        if is_superuser(temp.path()) {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };

    let empty = temp.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    set_mode(&empty, 0o555);
    run(&empty);
    run(&empty.join("below"));

    let used: PathBuf = temp.path().join("used");
    drop(open(&used));
    for path in [used.join("chio.db"), used.join("head"), used.join("anchor"), used.join("lock")] {
        set_mode(&path, 0o444);
    }
    set_mode(&used.join("instances"), 0o555);
    set_mode(&used, 0o555);
    run(&used);
    set_mode(&used, 0o755);
    set_mode(&used.join("instances"), 0o755);
    set_mode(&empty, 0o755);
}

#[cfg(unix)]
fn is_superuser(probe: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    probe.metadata().unwrap().uid() == 0
}

/// The shell limits how large a file may become; writing beyond it fails as on a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_is_unavailable_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let output = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 2000; exec \"$0\" as_child --exact --nocapture")
        .arg(std::env::current_exe().unwrap())
        .env(PART, "fill")
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged: u64 =
        said.split_once("acknowledged ").unwrap().1.lines().next().unwrap().parse().unwrap();
    assert!(acknowledged > 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(dir.path());
        let head = store.head().await.unwrap();
        assert!(head.size >= acknowledged, "{} of {acknowledged}", head.size);
        assert!(store.fsck(trusting()).await.unwrap().is_clean());
        let outcome = store.admit(admission("cap")).await.unwrap();
        assert!(matches!(outcome, AdmissionOutcome::Admitted(_)));
    });
}
