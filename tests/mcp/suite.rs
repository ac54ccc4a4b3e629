//! The official conformance suite against the edge, with the fixture behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::edge::{Edge, open_policy, policy_without};
use crate::home::{Home, finish};
use crate::peers;
use crate::schema::Judge;
use crate::tee::Tee;

/// The suite, and the runtime that it needs.
const PACKAGES: &[&str] = &["node@22.23.3", "@modelcontextprotocol/conformance@0.2.0-alpha.12"];

/// What the registry must have given us.
const INTEGRITY: &str =
    "sha512-eXtZFgmtZiU5SsvXty+RGXGnyIqEVm3GLU/HZmg1wMjtKOocPZZgD9HQKd30oJhio5UB0wFJmsc6r8u48Q+EYA==";

/// Scenarios that the suite runs against a server of revision 2025-11-25: thirty that it scores, three that it does not.
const SCENARIOS: usize = 33;

/// Warnings that are no fault of the edge: scenario, check, and why.
const WARNINGS: &[(&str, &str, &str)] = &[];

/// Requests of a client that leave a receipt.
pub const GOVERNED: &[&str] =
    &["tools/call", "resources/read", "resources/subscribe", "prompts/get", "completion/complete"];

/// Requests of a server that leave a receipt.
pub const ASKED: &[&str] = &["sampling/createMessage", "elicitation/create", "roots/list"];

/// The installed suite.
pub struct Suite {
    folder: PathBuf,
}

/// Installs the suite, unless it cannot be had here.
pub fn installed() -> Option<Suite> {
    let folder = peers::npm_with("suite", PACKAGES)?;
    let lock = std::fs::read_to_string(folder.join("node_modules/.package-lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    let found = &lock["packages"]["node_modules/@modelcontextprotocol/conformance"]["integrity"];
    assert_eq!(found, INTEGRITY, "this is not the suite that was reviewed");
    Some(Suite { folder })
}

/// What one check of the suite said.
#[derive(Clone, Debug)]
struct Check {
    scenario: String,
    id: String,
    status: String,
    message: String,
}

impl Suite {
    pub fn node(&self) -> PathBuf {
        self.folder.join("node_modules/.bin/node")
    }

    pub fn program(&self) -> PathBuf {
        self.folder.join("node_modules/@modelcontextprotocol/conformance/dist/index.js")
    }

    /// Runs every scenario of the revision and gives all checks.
    fn run(&self, url: &str) -> Vec<Check> {
        let results = tempfile::tempdir().unwrap();
        let mut command = Command::new(self.node());
        command.arg(self.program()).args(["server", "--url", url, "--requirements", "2025-11-25", "-o"]);
        command.arg(results.path()).current_dir(results.path());
        let ran = finish(command, Duration::from_secs(300));
        let summary = ran.stdout.split("=== SUMMARY ===").nth(1).unwrap_or_default();
        println!("{summary}");
        let mut checks = Vec::new();
        for folder in std::fs::read_dir(results.path()).unwrap() {
            let folder = folder.unwrap();
            let name = folder.file_name().into_string().unwrap();
            // server-<scenario>-<time>
            let scenario = name.strip_prefix("server-").unwrap().split("-20").next().unwrap().to_owned();
            let listed = std::fs::read_to_string(folder.path().join("checks.json")).unwrap();
            let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
            let text = |check: &Value, member: &str| check[member].as_str().unwrap_or_default().to_owned();
            checks.extend(listed.iter().map(|check| Check {
                scenario: scenario.clone(),
                id: text(check, "id"),
                status: text(check, "status"),
                message: text(check, "errorMessage"),
            }));
        }
        let scenarios: BTreeSet<&str> = checks.iter().map(|check| check.scenario.as_str()).collect();
        assert_eq!(scenarios.len(), SCENARIOS, "{}\n{}", ran.stdout, ran.stderr);
        checks
    }
}

/// Scenarios with a failed check, and what it found.
fn failed(checks: &[Check]) -> BTreeMap<&str, String> {
    let failed = checks.iter().filter(|check| check.status == "FAILURE");
    failed.map(|check| (check.scenario.as_str(), format!("{}: {}", check.id, check.message))).collect()
}

/// How many messages of these methods the fixture recorded in a direction.
pub fn recorded(record: &Path, direction: &str, methods: &[&str]) -> usize {
    let lines = std::fs::read_to_string(record).unwrap();
    let mut count = 0;
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let Ok(message) = serde_json::from_str::<Value>(entry["message"].as_str().unwrap()) else { continue };
        let is_request = message.get("id").is_some();
        let method = message["method"].as_str().unwrap_or_default();
        count += usize::from(entry["direction"] == direction && is_request && methods.contains(&method));
    }
    count
}

/// Answers are streams, and silent streams are closed early, so that the scenarios about streams have something to look
/// at.
fn streams() -> Value {
    json!({"mcp": {"streams": {"answer_within_ms": 0, "close_silent_after_ms": 50}}})
}

#[test]
fn the_official_suite_finds_no_fault_and_every_governed_request_has_its_receipt() {
    let (Some(suite), Some(judge)) = (installed(), Judge::load()) else { return };
    let home = Home::new();
    let record = home.side("record");
    let edge = Edge::of_fixture(&home, streams(), &open_policy(), Some(&record));
    let tee = Tee::before(&edge.address);
    let checks = suite.run(&tee.url());

    assert!(failed(&checks).is_empty(), "{:#?}", failed(&checks));
    for check in checks.iter().filter(|check| check.status == "WARNING") {
        let known = WARNINGS.iter().any(|(scenario, id, _)| check.scenario == *scenario && check.id == *id);
        assert!(known, "a warning that nobody has justified: {check:?}");
    }
    let skipped = checks.iter().find(|check| check.status == "SKIPPED");
    assert!(skipped.is_none(), "the suite skipped a check: {skipped:?}");
    judge.approve(&tee);

    edge.end();
    let calls = tee.answered(GOVERNED);
    let asked = recorded(&record, "out", ASKED);
    assert_eq!(recorded(&record, "in", GOVERNED), calls, "what clients sent is what reached the server");
    assert!(calls > 20 && asked >= 4, "{calls} calls, {asked} requests of the server");
    let receipts = home.receipts();
    assert_eq!(receipts.len(), calls + asked);
    assert!(receipts.iter().all(|receipt| receipt["decision"]["verdict"] == "allow"), "{receipts:#?}");
    assert_eq!(home.fsck(), receipts.len() as u64);
    home.verify_each();
    println!("{} checks, {} receipts", checks.len(), receipts.len());
}

#[test]
fn a_tool_that_the_policy_denies_fails_its_scenario_and_no_other() {
    let Some(suite) = installed() else { return };
    let home = Home::new();
    let policy = policy_without(&home, &["test_image_content"]);
    let edge = Edge::of_fixture(&home, json!({}), &policy, None);
    let tee = Tee::before(&edge.address);
    let checks = suite.run(&tee.url());

    let failed = failed(&checks);
    assert_eq!(failed.keys().copied().collect::<Vec<_>>(), ["tools-call-image"], "{failed:#?}");
    edge.end();
    let denied: Vec<Value> =
        home.receipts().into_iter().filter(|receipt| receipt["decision"]["verdict"] == "deny").collect();
    assert_eq!(denied.len(), 1, "{denied:#?}");
    assert_eq!(denied[0]["tool_name"], "test_image_content");
    home.verify_each();
}
