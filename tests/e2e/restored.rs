//! A restored older database is a log that forgot: it is refused until the owner says that it is meant.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::agent::{Agent, Token, call, is_ok};
use crate::home::Home;
use crate::server::{Server, workshop};

const FILES: [&str; 3] = ["chio.db", "chio.db-wal", "chio.db-shm"];

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backup {
    /// The database of a server that had ended: one file, complete.
    Ended,
    /// Every file of a server that was running.
    Running,
    /// Only the database of a server that was running, whose receipts are still in the log beside it.
    Torn,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_refused_until_the_owner_accepts_it() {
    let scene = Scene::restored(Backup::Ended).await;
    scene.is_refused();
    scene.is_accepted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_with_its_write_ahead_log_is_refused_until_the_owner_accepts_it() {
    let scene = Scene::restored(Backup::Running).await;
    scene.is_refused();
    scene.is_accepted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_its_write_ahead_log_is_refused_and_there_is_nothing_to_accept() {
    let scene = Scene::restored(Backup::Torn).await;
    scene.is_refused();
    let ran = scene.home.run(&["log", "fsck", "--re-anchor"]);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    assert!(ran.stdout.contains("chio.db-wal"), "{ran:?}");
}

/// A home whose database was replaced by an older one: three receipts of four.
struct Scene {
    home: Home,
    token: Token,
}

impl Scene {
    async fn restored(backup: Backup) -> Self {
        let home = Home::new();
        let agent = Agent::new(&home, "agent");
        let token = agent.issue(&home, &["--server", "demo", "--tool", "echo"]);
        let folder = home.side("backup");
        fs::create_dir(&folder).unwrap();
        let store = store_folder(&home.path());

        let server = Server::tcp(&home, &["--demo"]);
        let client = server.client().await;
        for n in 0..3 {
            assert!(is_ok(&call(&client, &token, "echo", &json!({"n": n})).await));
        }
        let kept = if backup == Backup::Running { &FILES[..] } else { &FILES[..1] };
        if backup == Backup::Ended {
            assert!(server.end().success());
            copy(&store, &folder, kept);
            let server = Server::tcp(&home, &["--demo"]);
            assert!(is_ok(&call(&server.client().await, &token, "echo", &json!({"n": 3})).await));
            assert!(server.end().success());
        } else {
            copy(&store, &folder, kept);
            assert!(is_ok(&call(&client, &token, "echo", &json!({"n": 3})).await));
            server.kill();
        }
        assert_eq!(home.receipts().len(), 4);

        for file in FILES {
            let _ = fs::remove_file(store.join(file));
        }
        copy(&folder, &store, kept);
        Self { home, token }
    }

    /// No command works on the database, and each says why and what to do.
    fn is_refused(&self) {
        let home = &self.home;
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
            assert!(ran.stderr.contains("rolled back"), "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("--re-anchor"), "the way out is not named: {}", ran.stderr);
        }
        let started = home.side("workshop").join("workshop.pid").exists();
        assert!(!started, "the wrapped server was started all the same");
        assert_eq!(home.code(&["log", "fsck"]), 2);
    }

    /// The owner says that it is meant: what the database lacks stays lost, and the log goes on.
    async fn is_accepted(&self) {
        assert_eq!(self.home.code(&["log", "fsck", "--re-anchor"]), 0);
        let server = Server::tcp(&self.home, &["--demo"]);
        assert!(is_ok(&call(&server.client().await, &self.token, "echo", &json!({"n": 4})).await));
        assert!(server.end().success());
        assert_eq!(self.home.fsck(), 4);
    }
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
