//! Receipts on the command line: what exit code stands for which degree of certainty.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::Program;

#[test]
fn integrity_and_origin_are_told_apart() {
    let program = Program::new();
    let id = program.demonstrated();
    let text = program.run(["receipt", "show", &id, "--json"]).expect(0).out;
    let file = program.file("receipt.json", &text);
    let key = program.run(["receipt", "verify", &id, "--json"]).expect(0).json()["signer_key"].clone();
    let key = key.as_str().unwrap();
    let (_, other) = program.holder();

    program.run(["receipt", "verify", &file]).expect(0);
    program.feed(["receipt", "verify", "-"], &text).expect(0);
    program.run(["receipt", "verify", &file, "--key", key]).expect(0);
    // Who names a key wants that key.
    program.run(["receipt", "verify", &file, "--key", &other]).expect(3);
    program.run(["receipt", "verify", &file, "--key", &other, "--trust-issuer", key]).expect(0);

    let stranger = Program::new();
    let seen = stranger.run(["receipt", "verify", &file]).expect(3);
    assert!(seen.out.contains("integrity, not origin"), "{}", seen.out);
    stranger.run(["receipt", "verify", &file, "--key", key]).expect(0);

    for (from, to) in [("\"deny\"", "\"allow\""), (".env", ".nev"), ("rcpt-0", "rcpt-1")] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let report = program.run(["receipt", "verify", changed.trim(), "--json"]).expect(2).json();
        assert_eq!(report["verdict"], "invalid");
    }
    for nothing in ["[]", "{}", "{\"receipt\":{}}", "[{]"] {
        program.run(["receipt", "verify", nothing]).expect(2);
    }
    program.run(["receipt", "verify", "rcpt-unknown"]).expect(1);
}

#[test]
fn lists_are_whole_receipts_oldest_first() {
    let program = Program::new();
    program.demonstrated();
    let all = program.run(["receipt", "list", "--json"]).expect(0);
    let receipts = all.json();
    let verdicts: Vec<_> = receipts
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["decision"]["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["allow", "deny"]);
    program.feed(["receipt", "verify", "-"], &all.out).expect(0);

    let count = |options: &[&str]| {
        let arguments = ["receipt", "list", "--json"].iter().chain(options);
        program.run(arguments).expect(0).json().as_array().unwrap().len()
    };
    assert_eq!(count(&["--limit", "1", "--outcome", "deny"]), 1);
    assert_eq!(count(&["--limit", "1", "--outcome", "cancelled"]), 0);
    assert_eq!(count(&["--tool", "list_files"]), 1);
    assert_eq!(count(&["--server", "notes", "--since", "10m"]), 2);
    assert_eq!(count(&["--since", "2100-01-01"]), 0);
    let newest = program.run(["receipt", "list", "--limit", "1", "--json"]).expect(0).json();
    assert_eq!(newest[0], receipts[1]);
    let table = program.run(["receipt", "list"]).expect(0).out;
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains("forbidden-path"), "{table}");
    let page = program.run(["receipt", "show", receipts[1]["id"].as_str().unwrap()]).expect(0).out;
    assert!(page.contains("forbidden_path.patterns") && page.contains("rule"), "{page}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let program = Program::new();
    program.demonstrated();
    let shown = program.run(["receipt", "list", "--json"]).expect(0).out;
    let receipts = program.file("receipts.json", &shown);
    for arguments in [vec!["receipt", "list"], vec!["receipt", "verify", &receipts], vec!["--help"]] {
        let mut child =
            program.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}");
        assert!(ended.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    // And it does not turn "invalid" into "valid".
    let mut child = program.command(["receipt", "verify", "{}"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn tail_follows_what_other_processes_write() {
    let program = Program::new();
    let mut tail = program.command(["receipt", "tail", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    program.demonstrated();
    for verdict in ["allow", "deny"] {
        let line = lines.next().unwrap().unwrap();
        let receipt: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(receipt["decision"]["verdict"], verdict);
    }
    terminate(tail.id());
    let started = Instant::now();
    assert_eq!(tail.wait().unwrap().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Asks a process to end, as a supervisor would.
pub(crate) fn terminate(id: u32) {
    let told = std::process::Command::new("kill").arg(id.to_string()).status().unwrap();
    assert!(told.success());
}
