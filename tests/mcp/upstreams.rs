//! Stock servers behind the edge, alone and several at once, driven by the stock Python client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{driver, python_1};
use crate::edge::{Edge, fixture, open_policy};
use crate::home::{Home, finish};
use crate::peers;
use crate::schema::Judge;
use crate::suite::{ASKED, GOVERNED};
use crate::tee::Tee;

/// Longest that a plan may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a stock client saw.
pub struct Seen {
    pub answers: Vec<Value>,
    /// Requests of servers that reached it, each an object of one member.
    pub asked: Vec<Value>,
    pub notified: Vec<Value>,
    pub report: Value,
}

/// Lets the stock Python client take steps.
pub fn drive(python: &Path, url: &str, token: Option<&str>, roots: &[String], steps: Value) -> Seen {
    let plan = json!({"url": url, "token": token, "roots": roots, "steps": steps});
    let mut command = Command::new(python);
    command.arg(driver("steps.py")).arg(plan.to_string());
    let ran = finish(command, PATIENCE);
    assert!(ran.status.success(), "{}\n{}", ran.stdout, ran.stderr);
    let report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
    let list = |member: &str| report[member].as_array().unwrap().clone();
    Seen { answers: list("answers"), asked: list("asked"), notified: list("notified"), report }
}

/// The text of an answer of a tool that did not fail.
pub fn text(answer: &Value) -> &str {
    assert_ne!(answer["ok"]["isError"], true, "{answer}");
    answer["ok"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// The messages are valid, and there is one receipt for each governed request, in both directions.
fn prove(judge: &Judge, home: &Home, edge: Edge, tee: &Tee) -> Vec<Value> {
    judge.approve(tee);
    edge.end();
    let receipts = home.receipts();
    assert_eq!(receipts.len(), tee.answered(GOVERNED) + tee.asked(ASKED), "{receipts:#?}");
    assert_eq!(home.fsck(), receipts.len() as u64);
    home.verify_each();
    receipts
}

/// An edge with everything allowed before one command.
fn before(home: &Home, command: &[&str]) -> (Edge, Tee) {
    let policy = open_policy();
    let mut arguments = vec!["--policy", policy.to_str().unwrap(), "--"];
    arguments.extend(command);
    let edge = Edge::start(home, json!({}), &arguments);
    let tee = Tee::before(&edge.address);
    (edge, tee)
}

pub fn git() -> Option<PathBuf> {
    peers::python_with("mcp-server-git", &["mcp-server-git==2026.10.19"])
}

fn time() -> Option<PathBuf> {
    peers::python_with("mcp-server-time", &["mcp-server-time==2026.10.19"])
}

/// Its newest release runs with the library of the handshake era only.
fn sqlite() -> Option<PathBuf> {
    peers::python_with("mcp-server-sqlite", &["mcp-server-sqlite==2025.4.25", "mcp<2"])
}

/// A command of an installed environment.
pub fn beside(python: &Path, name: &str) -> String {
    python.parent().unwrap().join(name).display().to_string()
}

fn npm_server(npm: &Path, name: &str) -> String {
    npm.join(format!("node_modules/@modelcontextprotocol/{name}/dist/index.js")).display().to_string()
}

#[test]
fn server_everything_offers_tasks_sampling_elicitation_roots_and_subscriptions() {
    let (Some(python), Some(npm), Some(judge)) = (python_1(), peers::npm(), Judge::load()) else { return };
    let home = Home::new();
    let (edge, tee) = before(&home, &["node", &npm_server(npm, "server-everything"), "stdio"]);
    let watched = "demo://resource/dynamic/text/1";
    let steps = json!([
        {"list_tools": null},
        {"list_resources": null},
        {"list_templates": null},
        {"list_prompts": null},
        {"call": ["echo", {"message": "hi"}]},
        {"call": ["trigger-sampling-request", {"prompt": "hi", "maxTokens": 10}]},
        {"call": ["trigger-elicitation-request", {}]},
        {"call": ["trigger-long-running-operation", {"duration": 1, "steps": 3}]},
        {"task": ["simulate-research-query", {"topic": "mcp", "ambiguous": false}]},
        {"task_status": null},
        {"list_tasks": null},
        {"task_result": null},
        {"task_cancel": null},
        {"get_task": "no-such-task"},
        {"subscribe": watched},
        {"call": ["toggle-subscriber-updates", {}]},
        {"wait_notified": "notifications/resources/updated"},
        {"unsubscribe": watched},
        {"set_level": "debug"},
        {"complete": ["completable-prompt", "department", "E"]},
        {"prompt": ["args-prompt", {"city": "Paris"}]},
        {"call": ["get-roots-list", {}]},
    ]);
    let seen = drive(&python, &tee.url(), None, &["file:///tmp".to_owned()], steps);
    let answers = &seen.answers;
    for (index, answer) in answers.iter().enumerate().filter(|(index, _)| ![12, 13].contains(index)) {
        assert!(answer.get("ok").is_some(), "step {index}: {answer}");
    }
    assert_eq!(text(&answers[4]), "Echo: hi");
    assert!(text(&answers[5]).contains("sampled"), "{}", answers[5]);
    assert!(answers[6].to_string().contains("an answer"), "{}", answers[6]);
    assert_eq!(seen.report["progress"], json!([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0]]));
    assert_eq!(answers[9]["ok"]["status"], "completed", "{}", answers[9]);
    assert_eq!(answers[10]["ok"]["tasks"].as_array().unwrap().len(), 1, "{}", answers[10]);
    assert!(text(&answers[11]).contains("Research Report"), "{}", answers[11]);
    for refused in &answers[12..14] {
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    assert_eq!(answers[19]["ok"]["completion"]["values"], json!(["Engineering"]));
    assert!(text(&answers[21]).contains("file:///tmp"), "{}", answers[21]);
    for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
        assert!(seen.asked.iter().any(|asked| asked.get(method).is_some()), "no {method}: {:?}", seen.asked);
    }
    let told = |method: &str| seen.notified.iter().any(|told| told["method"] == method);
    assert!(told("notifications/tasks/status"), "{:?}", seen.notified);
    prove(&judge, &home, edge, &tee);
}

#[test]
fn server_filesystem_asks_for_roots_and_answers_with_structured_content() {
    let (Some(python), Some(npm), Some(judge)) = (python_1(), peers::npm(), Judge::load()) else { return };
    let home = Home::new();
    let folder = home.side("project");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes.md"), "remember the milk").unwrap();
    let folder = folder.canonicalize().unwrap();
    let path = folder.to_str().unwrap();
    let (edge, tee) = before(&home, &["node", &npm_server(npm, "server-filesystem"), path]);
    let steps = json!([
        {"list_tools": null},
        {"call": ["read_text_file", {"path": format!("{path}/notes.md")}]},
        {"call": ["write_file", {"path": format!("{path}/more.md"), "content": "eggs"}]},
        {"call": ["list_directory", {"path": path}]},
    ]);
    let seen = drive(&python, &tee.url(), None, &[format!("file://{path}")], steps);
    assert_eq!(text(&seen.answers[1]), "remember the milk");
    assert!(seen.answers[1]["ok"]["structuredContent"].is_object(), "{}", seen.answers[1]);
    assert!(text(&seen.answers[3]).contains("more.md"));
    assert_eq!(std::fs::read_to_string(folder.join("more.md")).unwrap(), "eggs");
    let receipts = prove(&judge, &home, edge, &tee);
    let calls = receipts.iter().filter(|receipt| receipt["tool_name"] != "roots/list");
    assert_eq!(calls.count(), 3);
}

#[test]
fn mcp_server_git_works_on_a_repository() {
    let (Some(python), Some(git), Some(judge)) = (python_1(), git(), Judge::load()) else { return };
    let home = Home::new();
    let folder = repository(&home);
    let path = folder.to_str().unwrap();
    let (edge, tee) = before(&home, &[&beside(&git, "mcp-server-git"), "--repository", path]);
    let steps = json!([
        {"list_tools": null},
        {"call": ["git_status", {"repo_path": path}]},
        {"call": ["git_log", {"repo_path": path, "max_count": 1}]},
    ]);
    let seen = drive(&python, &tee.url(), None, &[format!("file://{path}")], steps);
    assert!(text(&seen.answers[1]).contains("branch"), "{}", seen.answers[1]);
    assert!(text(&seen.answers[2]).contains("the first commit"), "{}", seen.answers[2]);
    prove(&judge, &home, edge, &tee);
}

/// A repository with one commit.
pub fn repository(home: &Home) -> PathBuf {
    let folder = home.side("repository");
    std::fs::create_dir(&folder).unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]).args(arguments);
        command.current_dir(&folder);
        let ran = finish(command, Duration::from_secs(30));
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "--quiet"]);
    std::fs::write(folder.join("file"), "content").unwrap();
    git(&["add", "file"]);
    git(&["commit", "--quiet", "-m", "the first commit"]);
    folder.canonicalize().unwrap()
}

#[test]
fn mcp_server_time_tells_the_time() {
    let (Some(python), Some(time), Some(judge)) = (python_1(), time(), Judge::load()) else { return };
    let home = Home::new();
    let (edge, tee) = before(&home, &[&beside(&time, "mcp-server-time"), "--local-timezone", "UTC"]);
    let steps = json!([
        {"list_tools": null},
        {"call": ["get_current_time", {"timezone": "Europe/Paris"}]},
        {"call": ["no_such_tool", {}]},
    ]);
    let seen = drive(&python, &tee.url(), None, &[], steps);
    assert!(text(&seen.answers[1]).contains("Europe/Paris"), "{}", seen.answers[1]);
    let unknown = &seen.answers[2];
    assert!(unknown.get("error").is_some() || unknown["ok"]["isError"] == true, "{unknown}");
    prove(&judge, &home, edge, &tee);
}

#[test]
fn mcp_server_sqlite_keeps_a_table() {
    let (Some(python), Some(sqlite), Some(judge)) = (python_1(), sqlite(), Judge::load()) else { return };
    let home = Home::new();
    let file = home.side("test.db").display().to_string();
    let (edge, tee) = before(&home, &[&beside(&sqlite, "mcp-server-sqlite"), "--db-path", &file]);
    let steps = json!([
        {"list_tools": null},
        {"call": ["create_table", {"query": "CREATE TABLE notes (text TEXT)"}]},
        {"call": ["write_query", {"query": "INSERT INTO notes VALUES ('remember the milk')"}]},
        {"call": ["read_query", {"query": "SELECT text FROM notes"}]},
        {"list_resources": null},
        {"read": "memo://insights"},
    ]);
    let seen = drive(&python, &tee.url(), None, &[], steps);
    assert!(text(&seen.answers[3]).contains("remember the milk"), "{}", seen.answers[3]);
    assert!(seen.answers[5].get("ok").is_some(), "{}", seen.answers[5]);
    prove(&judge, &home, edge, &tee);
}

#[test]
fn several_servers_stand_behind_one_edge_and_only_colliding_names_are_prefixed() {
    let (Some(python), Some(npm), Some(judge)) = (python_1(), peers::npm(), Judge::load()) else { return };
    let (Some(git), Some(time), Some(sqlite)) = (git(), time(), sqlite()) else { return };
    let home = Home::new();
    let folder = repository(&home);
    let path = folder.to_str().unwrap();
    let database = home.side("test.db").display().to_string();
    let config = json!({"servers": [
        {"id": "fixture", "command": fixture(None)},
        {"id": "everything", "command": ["node", npm_server(npm, "server-everything"), "stdio"]},
        {"id": "files", "command": ["node", npm_server(npm, "server-filesystem"), path]},
        {"id": "git", "command": [beside(&git, "mcp-server-git"), "--repository", path]},
        {"id": "time", "command": [beside(&time, "mcp-server-time"), "--local-timezone", "UTC"], "owner": "shared"},
        {"id": "sqlite", "command": [beside(&sqlite, "mcp-server-sqlite"), "--db-path", database]},
        {"id": "broken", "command": ["/no/such/program"]},
    ]});
    let policy = open_policy();
    let edge = Edge::start(&home, config, &["--policy", policy.to_str().unwrap()]);
    let tee = Tee::before(&edge.address);
    let steps = json!([
        {"until_listed": ["read_query", "read_text_file", "git_status", "get_current_time"]},
        {"call": ["fixture__echo", {"message": "one"}]},
        {"call": ["everything__echo", {"message": "two"}]},
        {"call": ["read_text_file", {"path": format!("{path}/file")}]},
        {"call": ["git_status", {"repo_path": path}]},
        {"call": ["get_current_time", {"timezone": "UTC"}]},
        {"call": ["create_table", {"query": "CREATE TABLE notes (text TEXT)"}]},
        {"list_resources": null},
        {"read": "test://static-text"},
        {"read": "memo://insights"},
        {"call": ["crash", {}]},
        {"call": ["everything__echo", {"message": "still here"}]},
    ]);
    let seen = drive(&python, &tee.url(), None, &[format!("file://{path}")], steps);
    let answers = &seen.answers;
    let tools = answers[0]["ok"]["tools"].as_array().unwrap_or_else(|| panic!("{}", answers[0]));
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in [
        "fixture__echo",
        "everything__echo",
        "read_text_file",
        "git_status",
        "get_current_time",
        "read_query",
    ] {
        assert!(names.contains(&name), "{name} is not listed: {names:?}");
    }
    assert!(!names.contains(&"echo"), "{names:?}");
    assert_eq!(text(&answers[1]), "one");
    assert_eq!(text(&answers[2]), "Echo: two");
    assert_eq!(text(&answers[3]), "content");
    for answer in &answers[4..7] {
        text(answer);
    }
    for answer in &answers[7..10] {
        assert!(answer.get("ok").is_some(), "{answer}");
    }
    assert_eq!(answers[10]["ok"]["isError"], true, "a call that its server did not survive: {}", answers[10]);
    assert_eq!(text(&answers[11]), "Echo: still here");
    let receipts = prove(&judge, &home, edge, &tee);
    let of = |server: &str, tool: &str| {
        receipts
            .iter()
            .filter(|receipt| receipt["tool_server"] == server && receipt["tool_name"] == tool)
            .count()
    };
    assert_eq!((of("fixture", "echo"), of("everything", "echo"), of("files", "read_text_file")), (1, 2, 1));
    let crashed = receipts.iter().find(|receipt| receipt["tool_name"] == "crash").unwrap();
    assert_eq!(crashed["decision"]["verdict"], "incomplete", "{crashed}");
}
