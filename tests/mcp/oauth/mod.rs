//! Logging in at the edge's own authorization server, by programs that nobody of us wrote: the authorization role of
//! the official conformance suite, the stock client, and the published SDK.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::edge::{Edge, fixture, open_policy};
use crate::home::{Home, finish};
use crate::{peers, suite};

/// Warnings of the suite that are no fault of the server, and why.
///
/// `authorization-server-metadata-cimd`: a client id that is a URL would make the edge fetch whatever address a
/// stranger names, before anybody approved anything. Registration is open instead, and costs no request.
const WARNINGS: &[&str] = &["authorization-server-metadata-cimd"];

/// What an edge whose callers log in is started with.
fn edge(home: &Home, auto_approve: bool) -> Edge {
    let policy = open_policy();
    let fixture = fixture(None);
    let mut arguments = vec!["--policy", policy.to_str().unwrap(), "--server-id", "fixture", "--"];
    arguments.extend(fixture.iter().map(String::as_str));
    Edge::start(home, json!({"mcp": {"auth": {"oauth": {"auto_approve": auto_approve}}}}), &arguments)
}

#[test]
fn the_official_suite_finds_no_fault_with_the_authorization_server() {
    let Some(suite) = suite::installed() else { return };
    let home = Home::new();
    let edge = edge(&home, true);
    let results = tempfile::tempdir().unwrap();
    let callback = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();

    let mut command = Command::new(suite.node());
    command.arg(suite.program()).args(["authorization", "--url", &format!("http://{}", edge.address)]);
    command.args(["--client-id", "chio-cli", "--spec-version", "2025-11-25", "-p", &callback, "-o"]);
    command.arg(results.path()).current_dir(results.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("/oauth/authorize?") {
            // The browser's part: the redirect ends at the suite's own callback.
            let mut visit = Command::new(suite.node());
            visit.args([
                "--input-type=module",
                "-e",
                "await (await fetch(process.argv[1])).text()",
                line.trim(),
            ]);
            let visited = finish(visit, Duration::from_secs(30));
            assert!(visited.status.success(), "{}", visited.stderr);
        }
        output.push_str(&line);
        output.push('\n');
    }
    assert!(child.wait().unwrap().success(), "{output}");

    let checks = checks(results.path());
    let passed = checks.iter().filter(|check| check["status"] == "SUCCESS").count();
    assert_eq!(passed, 2, "{checks:#?}");
    for check in checks.iter().filter(|check| check["status"] != "SUCCESS") {
        let id = check["id"].as_str().unwrap();
        assert!(check["status"] == "WARNING" && WARNINGS.contains(&id), "nobody has justified: {check:#}");
    }
    edge.end();
}

/// All checks of a run of the suite.
fn checks(results: &Path) -> Vec<Value> {
    let mut checks = Vec::new();
    for folder in std::fs::read_dir(results).unwrap() {
        let listed = std::fs::read_to_string(folder.unwrap().path().join("checks.json")).unwrap();
        checks.extend(serde_json::from_str::<Vec<Value>>(&listed).unwrap());
    }
    checks
}

/// Runs the stock client and gives what it found.
fn flow(edge: &Edge, more: &[&str]) -> Option<Value> {
    let mut command = Command::new(peers::python()?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/oauth/flow.py"));
    command.args([&format!("http://{}/mcp", edge.address), "test_simple_text"]).args(more);
    let ran = finish(command, Duration::from_secs(120));
    assert!(ran.status.success(), "{}\n{}", ran.stdout, ran.stderr);
    Some(serde_json::from_str(&ran.stdout).unwrap())
}

/// What every login leads to.
fn assert_logged_in(found: &Value, edge: &Edge) {
    let base = format!("http://{}", edge.address);
    for visit in ["first", "second"] {
        assert_eq!(found[visit]["is_error"], false, "{found:#}");
    }
    assert_eq!((&found["refreshed"], &found["rotated"]), (&json!(true), &json!(true)), "{found:#}");
    assert_eq!(found["issuer_in_answer"], json!(base));
    assert_eq!(found["claims"]["aud"], json!(format!("{base}/mcp")));
    assert_eq!(found["asked"][0]["resource"], json!(format!("{base}/mcp")));
    assert_eq!(found["asked"][0]["scope"], "chio.read chio.invoke");
    assert_eq!(found["exchanged"]["scope"], "chio.read");
}

#[test]
fn the_stock_client_logs_in_refreshes_and_asks_for_more_scope() {
    let home = Home::new();
    let edge = edge(&home, true);
    let Some(found) = flow(&edge, &["--scope", "chio.read"]) else { return };
    assert_logged_in(&found, &edge);
    assert_eq!(found["client_id"], "chio-cli");
    assert_eq!(found["third"]["is_error"], false, "{found:#}");
    assert_eq!(found["asked_for_more"], json!(["chio.read chio.invoke"]));
    edge.end();

    // Receipts name who called, and no token.
    let receipts = home.receipts();
    assert!(!receipts.is_empty());
    let principal = format!("{}#local", found["claims"]["iss"].as_str().unwrap());
    for receipt in receipts {
        let text = receipt.to_string();
        assert!(text.contains(&principal) && !text.contains("eyJ"), "{text}");
    }
}

#[test]
fn a_client_that_registers_itself_logs_in_with_the_operators_code() {
    let home = Home::new();
    let edge = edge(&home, false);
    let started = Instant::now();
    // The line before speaks of a code too, and each may be seen in parts.
    while !edge.stderr().contains("approves the next login") {
        assert!(started.elapsed() < Duration::from_secs(30), "no code was shown: {}", edge.stderr());
        std::thread::sleep(Duration::from_millis(20));
    }
    let terminal = home.side("terminal");
    std::fs::write(&terminal, edge.stderr()).unwrap();
    let Some(found) = flow(&edge, &["--register", "--code-file", terminal.to_str().unwrap()]) else { return };
    assert_logged_in(&found, &edge);
    assert!(found["client_id"].as_str().unwrap().starts_with("dcr-"));
    let terminal = edge.stderr();
    assert!(!terminal.contains("eyJ") && !terminal.contains("rtk-"), "no token is logged: {terminal}");
    edge.end();
}
