//! A store that somebody rolled back, exchanged or damaged must not open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use chio_store::{Query, Revocation, SqliteOptions, SqliteStore, Store, StoreError};
use fixtures::*;

/// Copies a directory with everything in it, by another process: closing a database file in this one would drop the
/// locks SQLite holds on it.
fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn refused(dir: &Path) -> StoreError {
    SqliteStore::open(dir, &SqliteOptions::default()).expect_err("the store must not open")
}

fn revocation(id: &str) -> Revocation {
    Revocation { capability_id: id.to_owned(), reason: String::new(), revoked_at: NOW }
}

/// A store whose directory can be copied at any moment.
struct Scene {
    temp: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("store")
    }

    fn backup(&self) -> PathBuf {
        self.temp.path().join("backup")
    }

    async fn append(&self, range: std::ops::Range<u32>) {
        let store = open(&self.dir());
        for index in range {
            store.append(receipt(&format!("r{index}"))).await.unwrap();
        }
    }

    async fn checkpoint(&self) {
        open(&self.dir()).checkpoint(signer()).await.unwrap().unwrap();
    }

    /// Puts the database of the backup back; `wal` says what happens to the newer log beside it.
    fn restore(&self) {
        for name in ["chio.db-wal", "chio.db-shm"] {
            drop(fs::remove_file(self.dir().join(name)));
        }
        fs::copy(self.backup().join("chio.db"), self.dir().join("chio.db")).unwrap();
    }
}

#[tokio::test]
async fn an_older_database_is_refused_across_a_checkpoint() {
    let scene = Scene::new();
    scene.append(0..5).await;
    copy(&scene.dir(), &scene.backup());
    scene.append(5..8).await;
    scene.checkpoint().await;
    scene.restore();
    assert!(matches!(refused(&scene.dir()), StoreError::RolledBack { witness: "head", .. }));
    // Even when the head file is put back as well: the anchor remembers.
    fs::copy(scene.backup().join("head"), scene.dir().join("head")).unwrap();
    assert!(matches!(refused(&scene.dir()), StoreError::RolledBack { witness: "anchor", .. }));
}

#[tokio::test]
async fn an_older_database_is_refused_between_two_checkpoints() {
    let scene = Scene::new();
    scene.append(0..5).await;
    scene.checkpoint().await;
    scene.append(5..7).await;
    copy(&scene.dir(), &scene.backup());
    scene.append(7..8).await;
    scene.restore();
    let refusal = refused(&scene.dir());
    assert!(matches!(refusal, StoreError::RolledBack { witness: "head", .. }), "{refusal}");
    assert_eq!(refusal.code(), chio_spec::ErrorCode::StoreIntegrityViolated);
}

#[tokio::test]
async fn an_older_database_is_refused_though_the_log_did_not_grow() {
    let scene = Scene::new();
    scene.append(0..5).await;
    copy(&scene.dir(), &scene.backup());
    open(&scene.dir()).revoke(revocation("cap")).await.unwrap();
    scene.restore();
    assert!(matches!(refused(&scene.dir()), StoreError::RolledBack { unit: "changes", .. }));
}

#[tokio::test]
async fn an_older_database_is_refused_with_a_newer_log_beside_it() {
    let scene = Scene::new();
    scene.append(0..40).await;
    copy(&scene.dir(), &scene.backup());
    scene.append(40..80).await;
    let store = open(&scene.dir());
    store.append(receipt("late")).await.unwrap();
    // What a crash leaves behind: the database and a log that is not copied back.
    let crashed = scene.temp.path().join("crashed");
    copy(&scene.dir(), &crashed);
    drop(store);
    assert!(fs::metadata(crashed.join("chio.db-wal")).unwrap().len() > 0);
    drop(open(&crashed));

    copy(&scene.dir(), &scene.temp.path().join("again"));
    let store = open(&scene.dir());
    store.append(receipt("later")).await.unwrap();
    let mixed = scene.temp.path().join("mixed");
    copy(&scene.dir(), &mixed);
    drop(store);
    fs::copy(scene.backup().join("chio.db"), mixed.join("chio.db")).unwrap();
    let refusal = refused(&mixed);
    assert!(
        matches!(
            refusal,
            StoreError::RolledBack { .. } | StoreError::Damaged { .. } | StoreError::Unavailable { .. }
        ),
        "{refusal}"
    );
}

#[tokio::test]
async fn an_older_log_beside_the_database_is_refused() {
    let scene = Scene::new();
    let store = open(&scene.dir());
    store.append(receipt("r0")).await.unwrap();
    copy(&scene.dir(), &scene.backup());
    store.append(receipt("r1")).await.unwrap();
    let crashed = scene.temp.path().join("crashed");
    copy(&scene.dir(), &crashed);
    drop(store);
    for name in ["chio.db", "chio.db-wal"] {
        fs::copy(scene.backup().join(name), crashed.join(name)).unwrap();
    }
    fs::remove_file(crashed.join("chio.db-shm")).unwrap();
    assert!(matches!(refused(&crashed), StoreError::RolledBack { witness: "head", .. }));
    let evidence =
        |name| fs::read(crashed.join(name)).unwrap() == fs::read(scene.backup().join(name)).unwrap();
    assert!(evidence("chio.db") && evidence("chio.db-wal"), "a refused store is left as it was found");
    // Without its log the database is older still.
    fs::remove_file(crashed.join("chio.db-wal")).unwrap();
    drop(fs::remove_file(crashed.join("chio.db-shm")));
    assert!(matches!(refused(&crashed), StoreError::RolledBack { witness: "head", .. }));
}

#[tokio::test]
async fn a_removed_database_is_refused() {
    let scene = Scene::new();
    scene.append(0..1).await;
    fs::remove_file(scene.dir().join("chio.db")).unwrap();
    assert!(matches!(refused(&scene.dir()), StoreError::RolledBack { found: 0, .. }));
    assert!(!scene.dir().join("chio.db").exists());
}

#[tokio::test]
async fn another_stores_database_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    scene.append(0..3).await;
    other.append(0..9).await;
    fs::copy(other.dir().join("chio.db"), scene.dir().join("chio.db")).unwrap();
    assert!(matches!(refused(&scene.dir()), StoreError::Forked { .. }));
}

#[tokio::test]
async fn a_fork_of_the_same_store_is_refused() {
    let scene = Scene::new();
    scene.append(0..3).await;
    copy(&scene.dir(), &scene.backup());
    scene.append(3..5).await;
    {
        let fork = open(&scene.backup());
        for index in 0..9 {
            fork.append(receipt(&format!("fork{index}"))).await.unwrap();
        }
    }
    scene.restore();
    assert!(matches!(refused(&scene.dir()), StoreError::Forked { .. }));
}

#[tokio::test]
async fn a_fork_of_the_checkpoint_chain_is_refused() {
    let scene = Scene::new();
    scene.append(0..3).await;
    copy(&scene.dir(), &scene.backup());
    scene.checkpoint().await;
    {
        let fork = open(&scene.backup());
        fork.checkpoint(Box::new(|_| Ok("another text".to_owned()))).await.unwrap();
    }
    scene.restore();
    let refusal = refused(&scene.dir());
    assert!(matches!(refusal, StoreError::Forked { .. }), "{refusal}");
}

#[tokio::test]
async fn missing_witnesses_are_refused_unless_nothing_ever_changed() {
    for witness in ["head", "anchor"] {
        let scene = Scene::new();
        drop(open(&scene.dir()));
        fs::remove_file(scene.dir().join(witness)).unwrap();
        drop(open(&scene.dir()));
        scene.append(0..1).await;
        fs::remove_file(scene.dir().join(witness)).unwrap();
        let path = scene.dir().join(witness);
        assert_eq!(refused(&scene.dir()), StoreError::AnchorMissing { path });
    }
}

#[tokio::test]
async fn a_torn_head_leaves_the_other_record() {
    for slot in [0, 512] {
        let scene = Scene::new();
        scene.append(0..5).await;
        let path = scene.dir().join("head");
        let mut bytes = fs::read(&path).unwrap();
        bytes[slot + 30] ^= 1;
        fs::write(&path, &bytes).unwrap();
        scene.append(5..6).await;
        scene.append(6..7).await;
        assert!(SqliteStore::examine(scene.dir(), &trusting()).unwrap().is_clean());
    }
}

#[tokio::test]
async fn witnesses_without_a_valid_checksum_are_refused() {
    for (witness, garbage) in [
        ("head", &b""[..]),
        ("head", &[0_u8; 1024]),
        ("head", b"chiohd01 but nothing behind it"),
        ("anchor", b""),
        ("anchor", b"chio-anchor/1 00 x"),
        ("anchor", &[0xff; 64]),
    ] {
        let scene = Scene::new();
        scene.append(0..5).await;
        fs::write(scene.dir().join(witness), garbage).unwrap();
        assert!(matches!(refused(&scene.dir()), StoreError::AnchorDamaged { .. }), "{witness}");
    }
}

#[tokio::test]
async fn every_bit_of_the_anchor_counts() {
    let scene = Scene::new();
    scene.append(0..2).await;
    scene.checkpoint().await;
    let path = scene.dir().join("anchor");
    let good = fs::read(&path).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        fs::write(&path, &bad).unwrap();
        let refusal = refused(&scene.dir());
        assert!(matches!(refusal, StoreError::AnchorDamaged { .. }), "byte {index}: {refusal}");
        fs::write(&path, &good[..index]).unwrap();
        assert!(matches!(refused(&scene.dir()), StoreError::AnchorDamaged { .. }), "cut at {index}");
    }
    fs::write(&path, &good).unwrap();
    drop(open(&scene.dir()));
}

#[tokio::test]
async fn a_lagging_anchor_is_brought_forward() {
    let scene = Scene::new();
    scene.append(0..2).await;
    let before = fs::read(scene.dir().join("anchor")).unwrap();
    scene.checkpoint().await;
    let after = fs::read(scene.dir().join("anchor")).unwrap();
    assert_ne!(before, after);
    // As if the process had died between the commit and the move.
    fs::write(scene.dir().join("anchor"), &before).unwrap();
    drop(open(&scene.dir()));
    assert_eq!(fs::read(scene.dir().join("anchor")).unwrap(), after);
}

#[tokio::test]
async fn an_edited_receipt_is_refused_behind_the_checkpoint_and_found_before_it() {
    let scene = Scene::new();
    scene.append(0..6).await;
    let edit = |leaf: u32| {
        let database = rusqlite::Connection::open(scene.dir().join("chio.db")).unwrap();
        database.execute("UPDATE receipts SET text = 'edited' WHERE leaf = ?1", [leaf]).unwrap();
    };
    scene.checkpoint().await;
    edit(2);
    drop(open(&scene.dir()));
    let report = SqliteStore::examine(scene.dir(), &trusting()).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    scene.append(6..8).await;
    edit(7);
    assert!(matches!(refused(&scene.dir()), StoreError::Damaged { .. }));
}

#[tokio::test]
async fn every_kind_of_damage_is_found_by_the_examination() {
    for damage in [
        "UPDATE receipts SET text = text || ' ' WHERE leaf = 1",
        "DELETE FROM receipts WHERE leaf = 3",
        "UPDATE nodes SET hash = zeroblob(32) WHERE position = 2",
        "DELETE FROM nodes WHERE position = 4",
        "INSERT INTO nodes VALUES (99, zeroblob(32))",
        "UPDATE state SET root = zeroblob(32)",
        "UPDATE state SET size = 4",
        "UPDATE state SET nonces = 4",
        "UPDATE checkpoints SET root = zeroblob(32)",
        "UPDATE checkpoints SET text = 'x'",
        "UPDATE checkpoints SET size = 4",
        "UPDATE checkpoints SET seq = 2",
        "UPDATE budgets SET reserved = 0",
        "UPDATE intents SET charges = 'x'",
        "UPDATE intents SET id = 99",
        "UPDATE tokens SET text = 'x'",
        "DELETE FROM revocations",
    ] {
        let scene = Scene::new();
        {
            let store = open(&scene.dir());
            let mut call = admission("cap");
            call.charges = vec![charge("cap", 5)];
            call.nonce = Some(nonce("n", NOW + 360));
            admitted(store.admit(call).await.unwrap());
            store.revoke(revocation("other")).await.unwrap();
        }
        scene.append(0..6).await;
        scene.checkpoint().await;
        assert_eq!(SqliteStore::examine(scene.dir(), &trusting()).unwrap().problems, [""; 0]);
        let database = rusqlite::Connection::open(scene.dir().join("chio.db")).unwrap();
        database.execute(damage, []).unwrap();
        drop(database);
        let report = SqliteStore::examine(scene.dir(), &trusting()).unwrap();
        assert!(!report.is_clean(), "{damage}");
    }
}

#[tokio::test]
async fn a_restored_backup_is_accepted_once_it_is_anchored_again() {
    let scene = Scene::new();
    scene.append(0..5).await;
    scene.checkpoint().await;
    copy(&scene.dir(), &scene.backup());
    scene.append(5..9).await;
    scene.restore();
    assert!(matches!(refused(&scene.dir()), StoreError::RolledBack { .. }));
    assert!(!SqliteStore::examine(scene.dir(), &trusting()).unwrap().is_clean());
    let report = SqliteStore::re_anchor(scene.dir(), &trusting()).unwrap();
    assert_eq!((report.receipts, report.problems), (5, Vec::new()));
    scene.append(5..6).await;
    let in_use = open(&scene.dir());
    assert!(matches!(SqliteStore::re_anchor(scene.dir(), &trusting()), Err(StoreError::Busy { .. })));
    drop(in_use);
}

#[tokio::test]
async fn a_store_that_was_dropped_is_one_file_whatever_was_read_from_it() {
    let scene = Scene::new();
    {
        let store = open(&scene.dir());
        for index in 0..3 {
            store.append(receipt(&format!("r{index}"))).await.unwrap();
        }
        assert_eq!(store.receipts(Query::default()).await.unwrap().len(), 3);
    }
    assert!(!scene.dir().join("chio.db-wal").exists(), "what was written is still in the log");
}

#[tokio::test]
async fn a_database_copied_without_its_log_is_named_as_that() {
    let scene = Scene::new();
    let store = open(&scene.dir());
    store.append(receipt("r0")).await.unwrap();
    copy(&scene.dir(), &scene.backup());
    drop(store);
    scene.restore();
    refused(&scene.dir());
    for report in
        [SqliteStore::examine(scene.dir(), &trusting()), SqliteStore::re_anchor(scene.dir(), &trusting())]
    {
        let problems = report.unwrap().problems;
        assert!(matches!(problems.as_slice(), [one] if one.contains("chio.db-wal")), "{problems:?}");
    }
}

#[tokio::test]
async fn another_format_or_a_foreign_database_is_refused() {
    let scene = Scene::new();
    scene.append(0..1).await;
    let database = rusqlite::Connection::open(scene.dir().join("chio.db")).unwrap();
    database.pragma_update(None, "user_version", 7).unwrap();
    drop(database);
    assert!(matches!(refused(&scene.dir()), StoreError::UnknownFormat { found: 7, supported: 1, .. }));

    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    let database = rusqlite::Connection::open(scene.dir().join("chio.db")).unwrap();
    database.execute("CREATE TABLE other (id)", []).unwrap();
    drop(database);
    assert!(matches!(refused(&scene.dir()), StoreError::Damaged { .. }));

    let scene = Scene::new();
    fs::create_dir(scene.dir()).unwrap();
    fs::write(scene.dir().join("chio.db"), "this is not a database, whatever its name says".repeat(100))
        .unwrap();
    assert!(matches!(refused(&scene.dir()), StoreError::Unavailable { .. }));
}
