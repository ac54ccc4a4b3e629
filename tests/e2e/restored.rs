//! A restored older database is a log that forgot: it is refused until the owner says that it is meant.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::agent::{Agent, call, is_ok};
use crate::home::Home;
use crate::server::{Server, workshop};

const FILES: [&str; 3] = ["chio.db", "chio.db-wal", "chio.db-shm"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_refused() {
    older_database_is_refused(&["chio.db"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_with_its_write_ahead_log_is_refused() {
    older_database_is_refused(&FILES).await;
}

async fn older_database_is_refused(kept: &[&str]) {
    let home = Home::new();
    let agent = Agent::new(&home, "agent");
    let token = agent.issue(&home, &["--server", "demo", "--tool", "echo"]);
    let backup = home.side("backup");
    fs::create_dir(&backup).unwrap();
    let store = store_folder(&home.path());

    let server = Server::tcp(&home, &["--demo"]);
    let client = server.client().await;
    for n in 0..3 {
        assert!(is_ok(&call(&client, &token, "echo", &json!({"n": n})).await));
    }
    if kept.len() == 1 {
        // Everything is in the one file once the server has ended.
        assert!(server.end().success());
        copy(&store, &backup, kept);
        let server = Server::tcp(&home, &["--demo"]);
        assert!(is_ok(&call(&server.client().await, &token, "echo", &json!({"n": 3})).await));
        assert!(server.end().success());
    } else {
        copy(&store, &backup, kept);
        assert!(is_ok(&call(&client, &token, "echo", &json!({"n": 3})).await));
        server.kill();
    }
    assert_eq!(home.receipts().len(), 4);

    for file in FILES {
        let _ = fs::remove_file(store.join(file));
    }
    copy(&backup, &store, kept);
    let shop = workshop(&home.side("workshop"));
    let wrap: Vec<&str> = ["wrap", "--"].into_iter().chain(shop.iter().map(String::as_str)).collect();
    let refused: [&[&str]; 5] = [
        &["serve", "--listen", "tcp://127.0.0.1:0", "--demo"],
        &wrap,
        &["receipt", "list"],
        &["capability", "revoke", "cap-1"],
        &["log", "checkpoint"],
    ];
    for arguments in refused {
        let ran = home.run(arguments);
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {ran:?}");
        assert!(
            ran.stderr.contains("rolled back") || ran.stderr.contains("older"),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("--re-anchor"), "the way out is not named: {}", ran.stderr);
    }
    assert!(
        !home.side("workshop").join("workshop.pid").exists(),
        "the wrapped server was started all the same"
    );
    assert_eq!(home.code(&["log", "fsck"]), 2);

    // The owner says that it is meant; what the database lacks stays lost, and the log goes on.
    assert_eq!(home.code(&["log", "fsck", "--re-anchor"]), 0);
    let server = Server::tcp(&home, &["--demo"]);
    assert!(is_ok(&call(&server.client().await, &token, "echo", &json!({"n": 4})).await));
    assert!(server.end().success());
    assert_eq!(home.fsck(), 4);
}

/// The folder of the database.
fn store_folder(home: &Path) -> std::path::PathBuf {
    let folder = home.join("store");
    if folder.is_dir() { folder } else { home.to_owned() }
}

fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}
