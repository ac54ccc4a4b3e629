//! `chio wrap` as a process: how it ends, and what is left of what it started.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::home::Home;
use crate::processes::{MARK, all_gone, eventually, kill_9, marked};
use crate::server::workshop;

/// Longest that one answer, or the end, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `chio wrap` and the lines it writes.
struct Wrap {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: std::path::PathBuf,
}

impl Wrap {
    fn start(home: &Home, mark: &str, server: &[String]) -> Self {
        let stderr = home.side("wrap.stderr");
        let mut command = home.command(&["wrap", "--server-id", "shop", "--"]);
        command.args(server).env(MARK, mark).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(std::fs::File::create(&stderr).unwrap()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, stderr }
    }

    fn say(&mut self, message: Value) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{message}").unwrap();
        stdin.flush().unwrap();
    }

    /// The next line with the id given.
    fn answer(&self, id: u64) -> Value {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer: {}", self.stderr()));
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == id {
                return message;
            }
        }
    }

    fn initialize(&mut self) {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}});
        self.say(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}));
        assert!(self.answer(0)["result"].is_object());
        self.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the wrap did not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Wrap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mark(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[test]
fn the_end_of_input_ends_the_wrap_in_order_and_leaves_nothing_behind() {
    let home = Home::new();
    let mark = mark("eof");
    let mut wrap = Wrap::start(&home, &mark, &workshop(&home.side("shop")));
    wrap.initialize();
    wrap.call(1, "count", json!({"n": 1}));
    assert!(wrap.answer(1)["result"]["_meta"]["chio.dev/receiptId"].is_string());
    assert!(marked(&mark).len() >= 2, "the wrapped server does not run");

    // The last call and the end of input come together; the call is answered all the same.
    wrap.call(2, "count", json!({"n": 2}));
    drop(wrap.stdin.take());
    assert!(wrap.answer(2)["result"].is_object());
    assert_eq!(wrap.wait().code(), Some(0), "{}", wrap.stderr());
    all_gone(&mark);
    assert_eq!(home.receipts().len(), 2);
    assert_eq!(home.fsck(), 2);
}

#[test]
fn a_call_that_outlives_its_client_ends_with_a_receipt() {
    let home = Home::new();
    let mark = mark("outlived");
    let folder = home.side("shop");
    let mut wrap = Wrap::start(&home, &mark, &workshop(&folder));
    wrap.initialize();
    wrap.call(1, "linger", json!({"seconds": 50}));
    eventually("the call is under way", PATIENCE, || folder.join("lingering").exists());
    drop(wrap.stdin.take());
    assert_eq!(wrap.wait().code(), Some(0), "{}", wrap.stderr());
    all_gone(&mark);
    let receipts = home.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0]["decision"]["verdict"], "cancelled");
}

#[test]
fn a_killed_wrap_leaves_no_process_behind_and_its_open_call_is_incomplete() {
    let home = Home::new();
    let mark = mark("killed");
    let folder = home.side("shop");
    let mut wrap = Wrap::start(&home, &mark, &workshop(&folder));
    wrap.initialize();
    wrap.call(1, "linger", json!({"seconds": 50}));
    eventually("the call is under way", PATIENCE, || folder.join("lingering").exists());
    assert!(marked(&mark).len() >= 3, "wrap, supervisor and server: {:?}", marked(&mark));

    kill_9(i32::try_from(wrap.child.id()).unwrap());
    wrap.wait();
    all_gone(&mark);

    // The next kernel of this home puts on record what nobody will ever know.
    let mut next = Wrap::start(&home, &mark, &workshop(&folder));
    next.initialize();
    drop(next.stdin.take());
    assert_eq!(next.wait().code(), Some(0));
    let receipts = home.receipts();
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    assert_eq!(receipts[0]["decision"]["verdict"], "incomplete");
    assert_eq!(receipts[0]["action"]["parameters"], json!({"seconds": 50}));
    home.verify_each();
    assert_eq!(home.fsck(), 1);
    all_gone(&mark);
}

/// A server that ignores the end of input and requests to end, and a daemon of it in a session of its own.
fn stubborn(home: &Home) -> Vec<String> {
    workshop(&home.side("shop")).into_iter().chain(["stubborn".to_owned()]).collect()
}

#[test]
fn a_stubborn_server_and_its_daemon_end_with_the_wrap() {
    let home = Home::new();
    let mark = mark("stubborn");
    let mut wrap = Wrap::start(&home, &mark, &stubborn(&home));
    wrap.initialize();
    assert!(marked(&mark).len() >= 4, "wrap, supervisor, server and daemon: {:?}", marked(&mark));
    drop(wrap.stdin.take());
    assert_eq!(wrap.wait().code(), Some(0), "{}", wrap.stderr());
    all_gone(&mark);
}

#[test]
fn a_stubborn_server_and_its_daemon_end_with_a_wrap_that_is_killed() {
    let home = Home::new();
    let mark = mark("stubborn-killed");
    let mut wrap = Wrap::start(&home, &mark, &stubborn(&home));
    wrap.initialize();
    assert!(marked(&mark).len() >= 4, "wrap, supervisor, server and daemon: {:?}", marked(&mark));
    kill_9(i32::try_from(wrap.child.id()).unwrap());
    wrap.wait();
    all_gone(&mark);
}

#[test]
fn a_killed_wrap_leaves_nothing_of_a_server_that_npx_started() {
    let Some(npm) = crate::peers::npm() else { return };
    let home = Home::new();
    let mark = mark("npx-killed");
    let folder = home.side("");
    std::os::unix::fs::symlink(npm.join("node_modules"), home.side("node_modules")).unwrap();
    let server =
        ["npx", "-y", "@modelcontextprotocol/server-filesystem", folder.to_str().unwrap()].map(str::to_owned);
    let mut wrap = Wrap::start(&home, &mark, &server);
    wrap.initialize();
    assert!(marked(&mark).len() >= 3, "wrap, supervisor and server: {:?}", marked(&mark));
    kill_9(i32::try_from(wrap.child.id()).unwrap());
    wrap.wait();
    all_gone(&mark);
}

#[test]
fn a_server_that_dies_ends_the_wrap_with_an_error() {
    let home = Home::new();
    let mark = mark("died");
    let mut wrap = Wrap::start(&home, &mark, &workshop(&home.side("shop")));
    wrap.initialize();
    wrap.call(1, "die", json!({}));
    let answer = wrap.answer(1);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(answer["result"]["_meta"]["chio.dev/decision"], "incomplete", "{answer}");
    assert_eq!(wrap.wait().code(), Some(1));
    assert!(wrap.stderr().contains("status 7"), "{}", wrap.stderr());
    all_gone(&mark);
    assert_eq!(home.receipts()[0]["decision"]["verdict"], "incomplete");
}

#[test]
fn a_server_that_does_not_exist_is_named() {
    let home = Home::new();
    let ran = home.run(&["wrap", "--", "no-such-program-anywhere"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no-such-program-anywhere") && ran.stderr.contains("PATH"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty(), "standard output belongs to the protocol: {}", ran.stdout);
}
