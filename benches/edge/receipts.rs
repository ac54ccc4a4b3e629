//! The receipts that an edge left: counted after every run, and one in a hundred verified.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::{Connection, OpenFlags};

/// How many receipts there are for each one that is verified.
const EACH: u64 = 100;

/// How many receipts the store of an edge holds.
pub(crate) fn count(home: &Path) -> u64 {
    let count: i64 = open(home)
        .query_row("SELECT count(*) FROM receipts", [], |row| row.get(0))
        .expect("the number of receipts");
    u64::try_from(count).expect("a number of receipts")
}

/// Verifies one receipt in a hundred with the program itself, against the key of the edge; gives how many.
pub(crate) fn verify(home: &Path) -> usize {
    let store = open(home);
    let mut rows =
        store.prepare(&format!("SELECT text FROM receipts WHERE leaf % {EACH} = 0")).expect("a query");
    let texts: Vec<String> =
        rows.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("receipts");
    let mut child = Command::new(env!("CARGO_BIN_EXE_chio"))
        .env("CHIO_HOME", home)
        .args(["receipt", "verify", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chio receipt verify");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(texts.join("\n").as_bytes()).expect("receipts handed over");
    drop(input);
    let ran = child.wait_with_output().expect("its end");
    assert!(
        ran.status.success(),
        "receipts do not verify: {}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    texts.len()
}

fn open(home: &Path) -> Connection {
    Connection::open_with_flags(home.join("chio.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the store of the edge")
}
