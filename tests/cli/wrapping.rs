//! `chio wrap` and `chio demo`, from the outside.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Program;
use crate::receipts::terminate;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/server.py");

/// A client of a wrapped server.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Client {
    fn start(program: &Program, options: &[&str]) -> Client {
        let arguments = options.iter().chain(&["--", "python3", SERVER]);
        let mut command = program.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut client = Client { child, input, output, next: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        });
        let answer = client.ask("initialize", &hello);
        assert_eq!(answer["result"]["serverInfo"]["name"], "fixture", "{answer}");
        client.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn tell(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        self.tell(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the output has ended");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == self.next {
                return answer;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    fn tools(&mut self) -> Vec<String> {
        let list = self.ask("tools/list", &json!({}));
        let tools = list["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Closes the client's end, as an editor does, and waits.
    fn leave(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let ended = self.child.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }
}

#[test]
fn every_call_is_governed_and_leaves_a_receipt() {
    let program = Program::new();
    let mut client = Client::start(&program, &["wrap"]);
    assert_eq!(client.tools(), ["echo", "hang", "secret"]);
    let allowed = client.call("echo", &json!({"n": 9_007_199_254_740_993_u64}));
    assert_eq!(allowed["content"][0]["text"], r#"{"n": 9007199254740993}"#);
    let denied = client.call("echo", &json!({"anywhere": {"deep": ["a", "x/.env"]}, "path": ".env"}));
    assert_eq!(denied["isError"], true);
    let receipt = denied["_meta"]["chio.dev/receiptId"].as_str().unwrap().to_owned();
    assert!(denied["content"][0]["text"].as_str().unwrap().contains(&receipt), "{denied}");
    std::thread::sleep(Duration::from_millis(300));
    let (code, told) = client.leave();
    assert_eq!(code, Some(0), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    for (line, words) in lines.iter().zip([
        "policy  the safe preset, sha256 ",
        "key     ",
        "store   ",
        "next    chio receipt tail",
        "tools   3 allowed: echo, hang, secret; 0 hidden: none",
    ]) {
        assert!(line.starts_with(words), "{line}");
    }
    let receipts = program.run(["receipt", "list", "--json"]).expect(0);
    assert_eq!(receipts.json().as_array().unwrap().len(), 2);
    assert_eq!(receipts.json()[1]["id"], Value::from(receipt));
    assert_eq!(receipts.json()[0]["tool_server"], "server");
    program.feed(["receipt", "verify", "-"], &receipts.out).expect(0);
    program.run(["log", "fsck"]).expect(0);
}

#[test]
fn what_the_policy_blocks_is_neither_listed_nor_called() {
    let program = Program::new();
    program.run(["init"]).expect(0);
    let policy = "guards:\n  tool_access:\n    block: [secret]\ncapabilities:\n  default:\n    tools:\n      - {server: files, tool: '*'}\n";
    std::fs::write(program.home().join("policy.yaml"), policy).unwrap();
    let mut client = Client::start(&program, &["mcp", "serve", "--server-id", "files"]);
    assert_eq!(client.tools(), ["echo", "hang"]);
    assert_eq!(client.call("secret", &json!({}))["isError"], true);
    assert_eq!(client.call("echo", &json!({}))["isError"], Value::Null);
    assert_eq!(client.leave().0, Some(0));
    let denied = program.run(["receipt", "list", "--outcome", "deny", "--json"]).expect(0).json();
    assert_eq!(denied[0]["decision"]["guard"], "mcp-tool");
}

#[test]
fn two_editors_share_one_store() {
    let program = Program::new();
    let mut first = Client::start(&program, &["wrap"]);
    let mut second = Client::start(&program, &["wrap"]);
    for _ in 0..5 {
        first.call("echo", &json!({}));
        second.call("echo", &json!({}));
    }
    assert_eq!((first.leave().0, second.leave().0), (Some(0), Some(0)));
    let receipts = program.run(["receipt", "list", "--json"]).expect(0);
    assert_eq!(receipts.json().as_array().unwrap().len(), 10);
    program.feed(["receipt", "verify", "-"], &receipts.out).expect(0);
    program.run(["log", "fsck"]).expect(0);
}

#[test]
fn a_running_call_ends_with_a_receipt_when_the_wrap_is_told_to_end() {
    let program = Program::new();
    let mut client = Client::start(&program, &["wrap"]);
    client.tell(&json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": {"name": "hang", "arguments": {}}}));
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    terminate(client.child.id());
    assert_eq!(client.leave().0, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10));
    let receipts = program.run(["receipt", "list", "--json"]).expect(0).json();
    assert_eq!(receipts[0]["decision"]["verdict"], "cancelled", "{receipts}");
    program.run(["log", "fsck"]).expect(0);
}

#[test]
fn a_server_that_cannot_start_is_named() {
    let program = Program::new();
    let started = Instant::now();
    for command in ["wrap", "demo"] {
        let ran = program.run([command, "--", "no-such-program-anywhere"]).expect(1);
        assert!(ran.err.contains("`no-such-program-anywhere` could not be started"), "{}", ran.err);
        assert!(ran.err.contains("hint: "), "{}", ran.err);
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_demonstration_tells_the_whole_story_and_leaves_nothing_behind() {
    let program = Program::new();
    let scratch = tempfile::tempdir().unwrap();
    for command in [vec!["demo"], vec!["demo", "--", "python3", SERVER]] {
        let mut run = program.command(&command);
        run.env_remove("CHIO_HOME")
            .env("TMPDIR", scratch.path())
            .env("HOME", scratch.path())
            .stdin(Stdio::null());
        let ended = run.output().unwrap();
        let told = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
        for words in ["allow", "deny by forbidden-path", "valid", "checkpoint 1", "caught", "chio wrap -- "] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "{command:?}");
    }
    assert!(!program.home().exists());
}
