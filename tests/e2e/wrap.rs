//! `chio wrap` before real servers, driven by the stock Python client.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::driver::{Session, drive, foreign_verdicts};
use crate::home::Home;
use crate::peers;
use crate::server::workshop;

/// The member of a result's `_meta` that names the receipt.
const RECEIPT: &str = "chio.dev/receiptId";

/// A project with a secret in it.
fn project(home: &Home) -> PathBuf {
    let folder = home.side("project");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notes.md"), "remember the milk").unwrap();
    std::fs::write(folder.join(".env"), "PASSWORD=swordfish").unwrap();
    // Resolved, as the server resolves it.
    folder.canonicalize().unwrap()
}

/// The receipt ids that answers name.
fn receipt_ids<'a>(answers: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    answers.into_iter().filter_map(|answer| answer["ok"]["_meta"][RECEIPT].as_str()).collect()
}

/// The verdicts in the log, oldest first.
fn verdicts(receipts: &[Value]) -> Vec<&str> {
    receipts.iter().map(|receipt| receipt["decision"]["verdict"].as_str().unwrap()).collect()
}

fn text(answer: &Value) -> &str {
    answer["ok"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

fn is_error(answer: &Value) -> bool {
    answer["ok"]["isError"] == true
}

/// Every receipt verifies here and with the published verifier, and the log is in order.
fn proven(python: &Path, home: &Home, verdicts: &[&str]) {
    home.verify_each();
    assert_eq!(home.fsck(), u64::try_from(verdicts.len()).unwrap());
    let foreign = foreign_verdicts(python, home);
    assert_eq!(foreign.len(), verdicts.len());
    for (report, verdict) in foreign.iter().zip(verdicts) {
        let expected = json!({"signature_valid": true, "parameter_hash_valid": true, "decision": verdict});
        assert_eq!(report, &expected);
    }
}

#[test]
fn the_filesystem_server_is_governed_and_every_call_has_its_receipt() {
    let (Some(python), Some(npm)) = (peers::python(), peers::npm()) else { return };
    let home = Home::new();
    let project = project(&home);
    let at = |name: &str| project.join(name).display().to_string();
    // `npx` finds the installed package in the folder it is started in.
    let command = ["--", "npx", "-y", "@modelcontextprotocol/server-filesystem", project.to_str().unwrap()];
    let session = drive(
        python,
        &home,
        npm,
        &command,
        json!([
            {"list_tools": null},
            {"call": ["read_text_file", {"path": at("notes.md")}]},
            {"call": ["read_text_file", {"path": at(".env")}]},
            {"call": ["read_multiple_files", {"paths": [at("notes.md"), at(".env")]}]},
            {"call": ["move_file", {"source": at(".env"), "destination": at("stolen.txt")}]},
            {"call": ["move_file", {"source": at("notes.md"), "destination": at(".env")}]},
            {"call": ["write_file", {"path": at("more.md"), "content": "eggs"}]},
            {"call": ["read_text_file", {"path": at("no-such-file")}]},
            {"told": "tools "},
        ]),
    );
    let Session { answers, stderr, .. } = &session;

    let tools: Vec<&str> = answers[0]["ok"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    for tool in ["read_text_file", "read_multiple_files", "move_file", "write_file"] {
        assert!(tools.contains(&tool), "{tool} is not listed: {tools:?}");
    }
    assert_eq!(text(&answers[1]), "remember the milk");
    for denied in &answers[2..6] {
        assert!(is_error(denied), "{denied}");
        assert!(!denied.to_string().contains("swordfish"), "the secret came out: {denied}");
        assert_eq!(denied["ok"]["_meta"]["chio.dev/decision"], "deny");
        let id = denied["ok"]["_meta"][RECEIPT].as_str().unwrap();
        assert!(text(denied).contains(id), "the model is not told the receipt: {denied}");
        assert!(text(denied).len() < 200, "the reason is not short: {denied}");
    }
    assert!(!is_error(&answers[6]), "{}", answers[6]);
    // The server says that it failed, and that is an answer: the call was made.
    assert!(is_error(&answers[7]), "{}", answers[7]);
    assert_eq!(std::fs::read_to_string(project.join(".env")).unwrap(), "PASSWORD=swordfish");
    assert!(project.join("notes.md").exists() && !project.join("stolen.txt").exists());

    let receipts = home.receipts();
    let expected = ["allow", "deny", "deny", "deny", "deny", "allow", "allow"];
    assert_eq!(verdicts(&receipts), expected);
    let logged: Vec<&str> = receipts.iter().map(|receipt| receipt["id"].as_str().unwrap()).collect();
    assert_eq!(receipt_ids(answers), logged);
    for receipt in &receipts {
        assert_eq!(receipt["tool_server"], "server-filesystem");
        if receipt["decision"]["verdict"] == "deny" {
            assert_eq!(receipt["decision"]["guard"], "forbidden-path");
        }
    }
    proven(python, &home, &expected);

    for line in ["policy ", "tools ", "key ", "store ", "next "] {
        assert!(stderr.lines().any(|found| found.starts_with(line)), "no line {line:?} in: {stderr}");
    }
}

#[test]
fn a_tool_that_the_policy_blocks_is_neither_listed_nor_callable() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let policy = home.side("policy.yaml");
    let rules = "\
guards:
  tool_access:
    block: [hidden]
capabilities:
  default:
    tools:
      - {server: '*', tool: '*'}
";
    std::fs::write(&policy, rules).unwrap();
    let shop = workshop(&home.side("shop"));
    let mut command = vec!["--policy", policy.to_str().unwrap(), "--server-id", "shop", "--"];
    command.extend(shop.iter().map(String::as_str));
    let steps = json!([{"list_tools": null}, {"call": ["hidden", {}]}, {"call": ["echo", {"a": 1}]}, {"call": ["no-such-tool", {}]}, {"told": "tools "}]);
    let session = drive(python, &home, &home.side(""), &command, steps);

    let tools = session.answers[0]["ok"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"echo") && !names.contains(&"hidden"), "{names:?}");
    assert!(is_error(&session.answers[1]), "{}", session.answers[1]);
    assert_eq!(text(&session.answers[2]), r#"{"a": 1}"#);
    assert!(is_error(&session.answers[3]), "{}", session.answers[3]);
    let receipts = home.receipts();
    assert_eq!(verdicts(&receipts), ["deny", "allow", "deny"]);
    assert_eq!(receipts[0]["decision"]["guard"], "mcp-tool");
    assert_eq!(receipts[0]["metadata"]["rule"]["id"], "guards.tool_access.block[0]");
    assert_eq!(receipts[0]["metadata"]["rule"]["line"], 3);
    assert!(session.stderr.contains("hidden: hidden"), "{}", session.stderr);
    proven(python, &home, &["deny", "allow", "deny"]);
}

#[test]
fn resources_and_prompts_are_governed_and_receipted() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let policy = home.side("policy.yaml");
    let rules = "\
guards:
  forbidden_path: {}
capabilities:
  default:
    tools:
      - {server: '*', tool: '*'}
    resources:
      - {uri: 'file:///srv/*', operations: [read]}
    prompts:
      - {prompt: greet}
";
    std::fs::write(&policy, rules).unwrap();
    let folder = home.side("shop");
    let shop = workshop(&folder);
    let mut command = vec!["--policy", policy.to_str().unwrap(), "--server-id", "shop", "--"];
    command.extend(shop.iter().map(String::as_str));
    let session = drive(
        python,
        &home,
        &home.side(""),
        &command,
        json!([
            {"list_resources": null},
            {"list_prompts": null},
            {"read": "file:///srv/.env"},
            {"read": "file:///elsewhere/notes.md"},
            {"prompt": ["secret", {}]},
            {"read": "file:///srv/notes.md"},
            {"prompt": ["greet", {}]},
        ]),
    );
    let answers = &session.answers;
    let prompts = answers[1]["ok"]["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 1, "{prompts:?}");
    for denied in &answers[2..5] {
        assert!(denied["error"]["data"]["receiptId"].is_string(), "{denied}");
    }
    assert_eq!(answers[5]["ok"]["contents"][0]["text"], "the content of file:///srv/notes.md");
    assert_eq!(answers[6]["ok"]["messages"][0]["content"]["text"], "hello");

    let receipts = home.receipts();
    let expected = ["deny", "deny", "deny", "allow", "allow"];
    assert_eq!(verdicts(&receipts), expected);
    let named: Vec<&str> = receipts.iter().map(|receipt| receipt["tool_name"].as_str().unwrap()).collect();
    assert_eq!(named, ["resources/read", "resources/read", "prompts/get", "resources/read", "prompts/get"]);
    assert_eq!(receipts[0]["decision"]["guard"], "forbidden-path");
    assert_eq!(receipts[3]["action"]["parameters"], json!({"uri": "file:///srv/notes.md"}));
    proven(python, &home, &expected);
}

#[test]
fn the_stock_everything_server_offers_its_resources_and_prompts_under_the_safe_preset() {
    let (Some(python), Some(npm)) = (peers::python(), peers::npm()) else { return };
    let home = Home::new();
    let command = ["--", "npx", "-y", "@modelcontextprotocol/server-everything", "stdio"];
    let listing = json!([{"list_resources": null}, {"list_prompts": null}, {"list_tools": null}]);
    let listed = drive(python, &home, npm, &command, listing).answers;
    let uri = listed[0]["ok"]["resources"][0]["uri"].as_str().unwrap_or_else(|| panic!("{listed:?}"));
    let prompts = listed[1]["ok"]["prompts"].as_array().unwrap();
    let prompt =
        prompts.iter().find(|prompt| prompt["arguments"].as_array().is_none_or(Vec::is_empty)).unwrap();
    assert!(home.receipts().is_empty(), "listing leaves no receipts");

    let steps = json!([
        {"read": uri},
        {"prompt": [prompt["name"], {}]},
        {"call": ["echo", {"message": "hello"}]},
    ]);
    let answers = drive(python, &home, npm, &command, steps).answers;
    assert!(answers[0]["ok"]["contents"].is_array(), "{}", answers[0]);
    assert!(answers[1]["ok"]["messages"].is_array(), "{}", answers[1]);
    assert!(text(&answers[2]).contains("hello"));
    assert_eq!(verdicts(&home.receipts()), ["allow"; 3]);
    proven(python, &home, &["allow"; 3]);
}

#[test]
fn what_a_server_asks_of_its_client_is_refused_with_a_receipt() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let shop = workshop(&home.side("shop"));
    let mut command = vec!["--server-id", "shop", "--"];
    command.extend(shop.iter().map(String::as_str));
    let message = json!({"role": "user", "content": {"type": "text", "text": "hi"}});
    let asked = [
        ("sampling/createMessage", json!({"messages": [message], "maxTokens": 9})),
        (
            "elicitation/create",
            json!({"message": "your password?", "requestedSchema": {"type": "object", "properties": {}}}),
        ),
        ("roots/list", json!({})),
    ];
    let steps: Vec<Value> = asked
        .iter()
        .map(|(method, params)| json!({"call": ["ask", {"method": method, "params": params}]}))
        .collect();
    let session = drive(python, &home, &home.side(""), &command, steps.into());

    assert!(session.asked.is_empty(), "the client was asked: {:?}", session.asked);
    for answer in &session.answers {
        let told: Value = serde_json::from_str(text(answer)).unwrap();
        assert_eq!(told["code"], -32601, "{told}");
    }
    let receipts = home.receipts();
    assert_eq!(verdicts(&receipts), ["deny", "allow", "deny", "allow", "deny", "allow"]);
    for ((method, _), receipt) in asked.iter().zip(receipts.iter().step_by(2)) {
        assert_eq!(receipt["tool_name"], *method);
        assert_eq!(receipt["metadata"]["error"]["name"], "scope_exceeded");
    }
    proven(python, &home, &["deny", "allow", "deny", "allow", "deny", "allow"]);
}

#[test]
fn a_call_of_every_outcome_through_the_stock_client() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let folder = home.side("shop");
    let shop = workshop(&folder);
    let mut command = vec!["--server-id", "shop", "--"];
    command.extend(shop.iter().map(String::as_str));
    let in_folder = |name: &str| folder.join(name).display().to_string();
    let session = drive(
        python,
        &home,
        &home.side(""),
        &command,
        json!([
            {"call": ["fail", {}]},
            {"call": ["break", {}]},
            {"start": ["linger", {"seconds": 50}]},
            {"wait_for": in_folder("lingering")},
            {"cancel": null},
            {"call": ["echo", {"still": "here"}]},
            {"start": ["linger", {"seconds": 51}]},
            {"call": ["echo", {"in": "between"}]},
            {"kill_from": in_folder("workshop.pid")},
            {"join": null},
        ]),
    );
    let answers = &session.answers;
    assert!(is_error(&answers[0]), "{}", answers[0]);
    assert_eq!(answers[1]["error"]["message"], "it broke, as it was asked to");
    assert!(answers[1]["error"]["data"][RECEIPT].is_string(), "{}", answers[1]);
    assert!(!is_error(&answers[5]), "{}", answers[5]);
    // The server is gone in the middle of a call: the client is told so, and does not wait.
    let last = &answers[9];
    assert!(is_error(last) && text(last).contains("the tool server ended before it answered"), "{last}");
    assert_eq!(last["ok"]["_meta"]["chio.dev/decision"], "incomplete");

    let mut receipts = home.receipts();
    // The cancelled call and the one after it end in either order.
    receipts.sort_by_key(|receipt| receipt["action"]["parameters"].to_string());
    let found: HashSet<(String, &str)> = receipts
        .iter()
        .map(|receipt| {
            let called =
                format!("{} {}", receipt["tool_name"].as_str().unwrap(), receipt["action"]["parameters"]);
            (called, receipt["decision"]["verdict"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("fail {}", "allow"),
        ("break {}", "deny"),
        (r#"linger {"seconds":50}"#, "cancelled"),
        (r#"echo {"still":"here"}"#, "allow"),
        (r#"linger {"seconds":51}"#, "incomplete"),
        (r#"echo {"in":"between"}"#, "allow"),
    ];
    assert_eq!(found, expected.map(|(called, verdict)| (called.to_owned(), verdict)).into());
    assert_eq!(receipts.len(), expected.len());
    home.verify_each();
    home.fsck();
    for report in foreign_verdicts(python, &home) {
        assert_eq!(
            (&report["signature_valid"], &report["parameter_hash_valid"]),
            (&true.into(), &true.into())
        );
    }
}

#[test]
fn the_capability_of_a_session_is_renewed_before_it_expires() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let policy = home.side("policy.yaml");
    let rules = "capabilities: {default: {tools: [{server: '*', tool: '*', ttl: 2}]}}";
    std::fs::write(&policy, rules).unwrap();
    let shop = workshop(&home.side("shop"));
    let mut command = vec!["--policy", policy.to_str().unwrap(), "--server-id", "shop", "--"];
    command.extend(shop.iter().map(String::as_str));
    let steps = json!([
        {"call": ["echo", {}]},
        {"call": ["linger", {"seconds": 3}]},
        {"call": ["echo", {}]},
    ]);
    drive(python, &home, &home.side(""), &command, steps);
    let receipts = home.receipts();
    assert_eq!(verdicts(&receipts), ["allow"; 3]);
    let capabilities: HashSet<&str> =
        receipts.iter().map(|receipt| receipt["capability_id"].as_str().unwrap()).collect();
    assert_eq!(capabilities.len(), 2, "{capabilities:?}");
    assert_eq!(home.fsck(), 3);
}

#[test]
fn two_wraps_on_one_home_write_one_log() {
    let Some(python) = peers::python() else { return };
    let home = Home::new();
    let shops = ["left", "right"].map(|name| workshop(&home.side(name)));
    let sessions: Vec<Session> = std::thread::scope(|scope| {
        let run = |name: &'static str, shop: &Vec<String>| {
            let mut command = vec!["--server-id", name, "--"];
            command.extend(shop.iter().map(String::as_str));
            let steps: Vec<Value> = (0..25)
                .map(|n| match n % 5 {
                    4 => json!({"call": ["echo", {"path": "/srv/.env", "n": n}]}),
                    _ => json!({"call": ["count", {"n": n}]}),
                })
                .collect();
            drive(python, &home, &home.side(""), &command, steps.into())
        };
        let running = [("left", &shops[0]), ("right", &shops[1])]
            .map(|(name, shop)| scope.spawn(move || run(name, shop)));
        running.map(|thread| thread.join().unwrap()).into()
    });

    let answered: HashSet<&str> = sessions.iter().flat_map(|session| receipt_ids(&session.answers)).collect();
    let receipts = home.receipts();
    let logged: HashSet<&str> = receipts.iter().map(|receipt| receipt["id"].as_str().unwrap()).collect();
    assert_eq!(answered, logged);
    assert_eq!(receipts.len(), 50);
    assert_eq!(verdicts(&receipts).iter().filter(|verdict| **verdict == "deny").count(), 10);
    let keys: HashSet<&str> =
        receipts.iter().map(|receipt| receipt["kernel_key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 1, "two kernels of one home have one key");
    assert_eq!(home.fsck(), 50);
}
