//! Nothing that a wrapped server started is alive once we are done with it, however we went.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use chio_mcp::process::{Exit, ServerCommand};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const FIXTURE: &str = env!("CARGO_BIN_EXE_chio-mcp-fixture");
const FAMILY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/family.py");
const MARK: &str = "TEST_FAMILY";

/// A mark in the environment that all relatives inherit, and by which they are counted.
fn mark() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Living processes with the mark, zombies excluded.
fn alive(mark: &str) -> usize {
    let wanted = format!("{MARK}={mark}");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let path = entry.path();
            let marked = std::fs::read(path.join("environ"))
                .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()));
            let state = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
            marked && !state.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z"))
        })
        .count()
}

fn family(mode: &str, mark: &str) -> ServerCommand {
    ServerCommand::new("python3", [FAMILY, mode]).with_env(MARK, mark).supervised_by(FIXTURE)
}

async fn wait_until_ready(stdout: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await.unwrap();
    assert_eq!(line, "ready\n");
}

async fn come_up(mark: &str, number: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive(mark) < number {
        assert!(Instant::now() < deadline, "only {} of the family came up", alive(mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn gone(mark: &str, within: Duration) {
    let deadline = Instant::now() + within;
    while alive(mark) > 0 {
        assert!(Instant::now() < deadline, "{} relatives are still alive", alive(mark));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Some of our variables are credentials, others tell where the keys are.
#[tokio::test]
async fn a_server_sees_none_of_our_own_variables() {
    let script = r#"echo "[$CHIO_HOME$CHIO_AUTH_TOKEN$CHIO_ANYTHING]$OTHER" >&2; exec cat"#;
    let mut holder = Command::new(FIXTURE);
    holder.args(["hold", "--", "sh", "-c", script]).stdin(Stdio::null()).stderr(Stdio::piped());
    holder.env("CHIO_HOME", "/keys").env("CHIO_AUTH_TOKEN", "t").env("CHIO_ANYTHING", "x").env("OTHER", "o");
    let mut holder = holder.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stderr.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "[]o\n");
}

#[tokio::test]
async fn a_program_whose_file_was_replaced_still_starts_servers() {
    let folder = tempfile::tempdir().unwrap();
    let (program, other) = (folder.path().join("program"), folder.path().join("other"));
    // Another process copies it: a file that this one has open for writing while it forks cannot be executed.
    assert!(Command::new("cp").arg(FIXTURE).arg(&program).status().await.unwrap().success());
    let mut holder = Command::new(&program);
    holder.args(["hold", "--", "sh", "-c", "echo started >&2; exec cat"]);
    holder.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut holder = holder.kill_on_drop(true).spawn().unwrap();
    std::fs::write(&other, "another version").unwrap();
    std::fs::rename(&other, &program).unwrap();
    holder.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let mut line = String::new();
    BufReader::new(holder.stderr.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n");
}

#[tokio::test]
async fn stopping_ends_the_whole_tree() {
    let mark = mark();
    let mut process = family("ignore", &mark).spawn().unwrap();
    wait_until_ready(&mut process.stdout).await;
    // The supervisor, the server and five relatives.
    come_up(&mark, 7).await;
    drop(process.stdin);
    let exit = process.handle.stop().await;
    assert_eq!(exit, Exit::Status(128 + 9));
    assert_eq!(alive(&mark), 0);
}

#[tokio::test]
async fn dropping_the_pipes_ends_the_whole_tree() {
    let mark = mark();
    let mut process = family("ignore", &mark).spawn().unwrap();
    wait_until_ready(&mut process.stdout).await;
    drop(process);
    gone(&mark, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn a_server_that_exits_takes_its_relatives_along() {
    let mark = mark();
    let mut process = family("exit", &mark).spawn().unwrap();
    wait_until_ready(&mut process.stdout).await;
    assert_eq!(process.handle.wait().await, Exit::Status(7));
    assert_eq!(alive(&mark), 0);
}

#[tokio::test]
async fn a_polite_server_may_exit_by_itself() {
    let mut process =
        ServerCommand::new("sh", ["-c", "cat >/dev/null; exit 3"]).supervised_by(FIXTURE).spawn().unwrap();
    drop(process.stdin);
    assert_eq!(process.handle.stop().await, Exit::Status(3));
    drop(process.stdout);
}

#[tokio::test]
async fn being_killed_ends_the_whole_tree() {
    let mark = mark();
    let mut holder = Command::new(FIXTURE)
        .args(["hold", "--", "python3", FAMILY, "ignore"])
        .env(MARK, &mark)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The holder, the supervisor, the server and five relatives.
    come_up(&mark, 8).await;
    // On Unix this is SIGKILL, to the holder alone.
    holder.kill().await.unwrap();
    gone(&mark, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_never_ran() {
    let mut process =
        ServerCommand::new("/nonexistent/server", [""; 0]).supervised_by(FIXTURE).spawn().unwrap();
    assert_eq!(process.handle.wait().await, Exit::NeverRan);
    let missing = ServerCommand::new("true", [""; 0]).supervised_by("/nonexistent/chio").spawn();
    assert!(missing.is_err());
}

#[tokio::test]
async fn bytes_pass_unchanged_both_ways() {
    let mut process = ServerCommand::new("cat", [""; 0]).supervised_by(FIXTURE).spawn().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let sent = bytes.clone();
    let mut stdin = process.stdin;
    let writer = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    });
    let mut received = Vec::new();
    process.stdout.read_to_end(&mut received).await.unwrap();
    writer.await.unwrap();
    assert!(received == bytes);
    assert_eq!(process.handle.wait().await, Exit::Status(0));
}
