//! Hosted sessions over several servers in this process: initialization, merged lists, routing, capabilities.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(unreachable_pub, dead_code)]
mod hall;

use std::sync::Arc;
use std::time::Duration;

use chio_core::capability::{CapabilityTemplate, issue};
use chio_core::keys::SigningKey;
use chio_mcp::channel::Route;
use chio_mcp::edge::Mode;
use chio_mcp::servers::Owner;
use chio_spec::{
    CapabilityId, ChioErrorEntry, ChioProtocol, ChioScope, Decision, McpResultMeta, Operation, ServerId,
    ToolGrant, ToolName,
};
use serde_json::{Value, json};

use hall::{HOSTED, Hall, Script, issuer, text};

const OPEN: &str = r"
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 300 }
    resources:
      - { uri: '*', operations: [read, subscribe], ttl: 300 }
    prompts:
      - { prompt: '*', operations: [get], ttl: 300 }
";

const NOTHING: &str = "capabilities: { default: { tools: [] } }";

fn request(version: &Value) -> Value {
    json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}})
}

#[tokio::test]
async fn the_version_must_match_exactly() {
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Script::with_tools("one", &["whoami"]))]);
    let mut client = hall.session(HOSTED);
    let refused = client.ask("initialize", request(&json!("2025-06-18"))).await["error"].clone();
    assert_eq!(refused["code"], -32600);
    assert_eq!(refused["data"]["supported"], json!(["2025-11-25"]));
    assert_eq!(refused["data"]["requested"], "2025-06-18");
    assert_eq!(refused["data"]["requestedProtocolVersion"], "2025-06-18");
    assert_eq!(refused["data"]["supportedProtocolVersions"], json!(["2025-11-25"]));
    assert_eq!(refused["data"]["chioError"]["code"], 1000);
    let wrong = client.ask("initialize", request(&json!(20251125))).await["error"].clone();
    assert_eq!(wrong["data"]["chioError"]["code"], 1002);
    assert_eq!(wrong["data"]["chioError"]["parameter"], "protocolVersion");
    // Absent means the one there is.
    let absent = json!({"capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
    let answer = client.ask("initialize", absent).await["result"].clone();
    assert_eq!(answer["protocolVersion"], "2025-11-25");
    let protocol = &answer["capabilities"]["experimental"]["chioProtocol"];
    assert_eq!(
        *protocol,
        json!({
            "supportedProtocolVersions": ["2025-11-25"], "selectedProtocolVersion": "2025-11-25",
            "compatibility": "exact_match", "downgradeBehavior": "reject",
            "errorRegistry": {"schema": "chio.error-registry.v1", "path": "spec/errors/chio-error-registry.v1.json"},
        })
    );
    client.leave().await;

    let mut client = hall.session(Mode::Hosted { counter_offer: true });
    let answer = client.ask("initialize", request(&json!("2026-07-28"))).await["result"].clone();
    assert_eq!(answer["protocolVersion"], "2025-11-25");
    client.leave().await;
}

#[tokio::test]
async fn an_only_server_lends_the_edge_its_name_and_several_do_not() {
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Script::with_tools("one", &["whoami"]))]);
    let mut client = hall.session(HOSTED);
    let answer = client.initialize(json!({})).await;
    assert_eq!(answer["serverInfo"]["name"], "one");
    assert_eq!(answer["instructions"], "be kind");
    assert_eq!(answer["capabilities"]["tools"], json!({"listChanged": true}));
    assert!(answer["capabilities"].get("tasks").is_none());
    client.leave().await;

    let servers = ["one", "two"].map(|name| (name, Owner::Session, Script::with_tools(name, &["whoami"])));
    let scripts: Vec<_> = servers.iter().map(|(.., script)| Arc::clone(script)).collect();
    let hall = Hall::open(OPEN, servers.to_vec());
    let mut client = hall.session(HOSTED);
    let answer = client.initialize(json!({})).await;
    assert_eq!(answer["serverInfo"]["name"], "chio");
    assert!(answer["capabilities"]["tasks"]["requests"]["tools"]["call"].is_object());
    // They start when they are needed.
    assert!(scripts.iter().all(|script| script.seen("initialize").is_empty()));
    client.leave().await;
}

#[tokio::test]
async fn a_shared_server_announces_nothing_that_reaches_nobody() {
    let hall = Hall::open(OPEN, vec![("one", Owner::Shared, Script::with_tools("one", &["whoami"]))]);
    let mut client = hall.session(HOSTED);
    let answer = client.initialize(json!({"sampling": {}})).await;
    assert_eq!(answer["capabilities"]["tools"], json!({}));
    assert_eq!(answer["capabilities"]["resources"], json!({"subscribe": true}));
    assert!(answer["capabilities"].get("logging").is_none());
    assert_eq!(client.ask("logging/setLevel", json!({"level": "info"})).await["error"]["code"], -32601);
    client.leave().await;
}

#[tokio::test]
async fn nothing_but_ping_is_answered_before_the_session_is_ready() {
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Script::with_tools("one", &["whoami"]))]);
    let mut client = hall.session(HOSTED);
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
    for method in ["tools/list", "tools/call", "tasks/list"] {
        let early = client.ask(method, json!({})).await["error"].clone();
        assert_eq!((&early["code"], &early["data"]["chioError"]["code"]), (&json!(-32002), &json!(1001)));
    }
    assert_eq!(client.ask("server/discover", json!({})).await["error"]["code"], -32601);
    client.leave().await;
}

#[tokio::test]
async fn names_of_several_servers_are_prefixed_only_on_collision() {
    let git = Arc::new(Script {
        name: "git",
        tools: vec!["whoami", "log"],
        prompts: vec!["greet", "only"],
        ..Script::default()
    });
    let files = Arc::new(Script {
        name: "files",
        tools: vec!["whoami", "list"],
        prompts: vec!["greet"],
        ..Script::default()
    });
    let hall = Hall::open(OPEN, vec![("git", Owner::Session, git), ("files", Owner::Session, files)]);
    let mut client = hall.client(json!({})).await;
    assert_eq!(client.names("tools/list", "tools").await, ["git__whoami", "log", "files__whoami", "list"]);
    assert_eq!(text(&client.call("git__whoami", json!({})).await), "git");
    assert_eq!(text(&client.call("files__whoami", json!({})).await), "files");
    client.call("list", json!({})).await;
    let ambiguous = client.call("whoami", json!({})).await;
    assert_eq!(
        (&ambiguous["isError"], &ambiguous["_meta"]["chio.dev/decision"]),
        (&json!(true), &json!("deny"))
    );
    assert!(text(&ambiguous).contains("git__whoami, files__whoami"), "{ambiguous}");

    assert_eq!(client.names("prompts/list", "prompts").await, ["git__greet", "only", "files__greet"]);
    let prompt = client.ask("prompts/get", json!({"name": "files__greet"})).await;
    assert_eq!(prompt["result"]["description"], "files \"greet\"");
    let reference = json!({"type": "ref/prompt", "name": "git__greet"});
    let argument = json!({"name": "who", "value": ""});
    let completed = client.ask("completion/complete", json!({"ref": reference, "argument": argument})).await;
    assert_eq!(completed["result"]["completion"]["values"][0], "git");
    assert!(!completed.to_string().contains("git__"));

    // Receipts know the server and its own name.
    let receipts = hall.receipts().await;
    let called: Vec<_> =
        receipts.iter().map(|receipt| (receipt.tool_server.as_str(), receipt.tool_name.as_str())).collect();
    assert_eq!(
        called,
        [
            ("git", "whoami"),
            ("files", "whoami"),
            ("files", "list"),
            ("chio", "whoami"),
            ("files", "prompts/get"),
            ("git", "completion/complete"),
        ]
    );
    client.leave().await;
}

#[tokio::test]
async fn a_call_of_what_no_server_offers_is_denied_and_receipted() {
    let servers = ["one", "two"].map(|name| (name, Owner::Session, Script::with_tools(name, &["whoami"])));
    let hall = Hall::open(OPEN, servers.to_vec());
    let mut client = hall.client(json!({})).await;
    let denied = client.call("none", json!({"a": 1})).await;
    assert_eq!((&denied["isError"], &denied["_meta"]["chio.dev/decision"]), (&json!(true), &json!("deny")));
    assert_eq!(denied["_meta"]["chio.dev/error"]["name"], "tool_not_registered", "{denied}");
    assert!(text(&denied).contains("there is no tool named none"), "{denied}");
    let argument = json!({"name": "a", "value": ""});
    let reference =
        |kind: &str, key: &str| json!({"ref": {"type": kind, key: "x://none"}, "argument": argument});
    for (method, params, code) in [
        // A result of the tool would not be understood where a task was asked for.
        ("tools/call", json!({"name": "none", "task": {}}), -32602),
        ("prompts/get", json!({"name": "none"}), -32602),
        ("resources/read", json!({"uri": "x://none"}), -32002),
        ("resources/subscribe", json!({"uri": "x://none"}), -32002),
        ("completion/complete", reference("ref/prompt", "name"), -32602),
        ("completion/complete", reference("ref/resource", "uri"), -32002),
    ] {
        let answer = client.ask(method, params).await;
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{method}: {answer}");
        assert_eq!(error["data"]["chioError"]["name"], "tool_not_registered", "{answer}");
        assert!(error["data"]["receiptId"].is_string(), "{answer}");
    }
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 7);
    for receipt in &receipts {
        assert!(matches!(receipt.decision, Decision::Deny(_)), "{:?}", receipt.decision);
        assert_eq!(receipt.tool_server.as_str(), "chio");
    }
    assert_eq!(receipts[0].tool_name.as_str(), "none");
    client.leave().await;

    // Without a grant it is denied for that.
    let hall = Hall::open(NOTHING, servers.to_vec());
    let mut client = hall.client(json!({})).await;
    let denied = client.call("none", json!({})).await;
    assert_eq!(denied["_meta"]["chio.dev/error"]["name"], "scope_exceeded", "{denied}");
    assert_eq!(hall.receipts().await.len(), 1);
    client.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_before_any_list_waits_for_a_server_that_is_still_starting() {
    let slow = |start| Arc::new(Script { name: "slow", tools: vec!["late"], start, ..Script::default() });
    let well = Script::with_tools("well", &["whoami"]);
    let never = Duration::from_secs(3600);
    let hall = Hall::open(
        OPEN,
        vec![
            ("never", Owner::Session, slow(never)),
            ("slow", Owner::Session, slow(Duration::from_secs(4))),
            ("well", Owner::Session, well),
        ],
    );
    let mut client = hall.client(json!({})).await;
    // Neither does it wait for one that does not come.
    assert_eq!(client.call("late", json!({})).await["isError"], Value::Null);
    client.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_after_the_list_is_announced() {
    let slow =
        Script { name: "slow", tools: vec!["late"], start: Duration::from_secs(17), ..Script::default() };
    let well = Script::with_tools("well", &["whoami"]);
    let servers = vec![("slow", Owner::Session, Arc::new(slow)), ("well", Owner::Session, well)];
    let hall = Hall::open(OPEN, servers);
    let mut client = hall.client(json!({})).await;
    assert_eq!(client.names("tools/list", "tools").await, ["whoami"]);
    client.told("notifications/tools/list_changed").await;
    assert_eq!(client.names("tools/list", "tools").await, ["late", "whoami"]);
    client.leave().await;
}

#[tokio::test]
async fn one_servers_failure_fails_no_other() {
    let broken =
        Arc::new(Script { name: "broken", tools: vec!["whoami"], broken: true, ..Script::default() });
    let well = Script::with_tools("well", &["whoami"]);
    let hall = Hall::open(OPEN, vec![("broken", Owner::Session, broken), ("well", Owner::Session, well)]);
    let mut client = hall.client(json!({})).await;
    assert_eq!(client.names("tools/list", "tools").await, ["whoami"]);
    assert_eq!(text(&client.call("whoami", json!({})).await), "well");
    client.leave().await;
}

#[tokio::test]
async fn a_call_to_a_server_that_is_not_there_has_a_clear_error_and_a_receipt() {
    let one = Script::with_tools("one", &["die", "whoami"]);
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.client(json!({})).await;
    let died = client.call("die", json!({})).await;
    assert_eq!(died["_meta"]["chio.dev/decision"], "incomplete");
    let (_, route) = client.told("notifications/tools/list_changed").await;
    assert!(matches!(route, Route::Unrelated | Route::UnrelatedOr(_)), "{route:?}");
    let away = client.call("whoami", json!({})).await;
    assert_eq!(away["isError"], true);
    assert_eq!(away["_meta"]["chio.dev/error"]["name"], "server_unavailable", "{away}");
    // It is started again once it was left alone for a moment.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(text(&client.call("whoami", json!({})).await), "one");
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 3);
    assert!(matches!(receipts[0].decision, Decision::Incomplete(_)));
    assert!(matches!(receipts[1].decision, Decision::Deny(_)));
    assert_eq!(one.seen("initialize").len(), 2);
    client.leave().await;
}

#[tokio::test]
async fn long_lists_come_in_pages_of_a_thousand() {
    let names: Vec<&'static str> =
        (0..2100).map(|number| &*Box::leak(format!("tool{number}").into_boxed_str())).collect();
    let hall = Hall::open(
        OPEN,
        vec![
            ("one", Owner::Session, Script::with_tools("one", &names)),
            ("two", Owner::Session, Script::with_tools("two", &["whoami"])),
        ],
    );
    let mut client = hall.client(json!({})).await;
    let mut params = json!({});
    let mut sizes = Vec::new();
    loop {
        let page = client.ask("tools/list", params).await["result"].clone();
        sizes.push(page["tools"].as_array().unwrap().len());
        let Some(next) = page.get("nextCursor") else { break };
        params = json!({"cursor": next});
    }
    assert_eq!(sizes, [1000, 1000, 101]);
    let mut other = hall.client(json!({})).await;
    let cursor = client.ask("tools/list", json!({})).await["result"]["nextCursor"].clone();
    for cursor in [cursor, json!("forged"), json!(7)] {
        assert_eq!(other.ask("tools/list", json!({"cursor": cursor})).await["error"]["code"], -32602);
    }
    client.leave().await;
    other.leave().await;
}

#[tokio::test]
async fn resources_go_to_the_server_they_belong_to() {
    let script = |name, resources: &[&'static str], templates: &[&'static str]| {
        Arc::new(Script {
            name,
            tools: vec!["say"],
            resources: resources.to_vec(),
            templates: templates.to_vec(),
            ..Script::default()
        })
    };
    let one = script("one", &["a://x", "shared://x"], &["t://{id}"]);
    let two = script("two", &["b://x", "shared://x"], &["t://{id}/deep"]);
    let hall = Hall::open(
        OPEN,
        vec![("one", Owner::Session, Arc::clone(&one)), ("two", Owner::Session, Arc::clone(&two))],
    );
    let mut client = hall.client(json!({})).await;
    assert_eq!(client.names("resources/list", "resources").await, ["a://x", "shared://x", "b://x"]);
    for (uri, owner) in
        [("a://x", "one"), ("b://x", "two"), ("shared://x", "one"), ("t://1", "one"), ("t://1/deep", "two")]
    {
        let read = client.ask("resources/read", json!({"uri": uri})).await;
        assert_eq!(read["result"]["contents"][0]["text"], owner, "{uri}");
    }
    let nowhere = client.ask("resources/read", json!({"uri": "z://1"})).await["error"].clone();
    assert_eq!((&nowhere["code"], &nowhere["data"]["uri"]), (&json!(-32002), &json!("z://1")));

    // A subscription is the session's and the server's it went to.
    assert_eq!(client.ask("resources/subscribe", json!({"uri": "b://x"})).await["result"], json!({}));
    let updated = |uri: &str| json!({"method": "notifications/resources/updated", "params": {"uri": uri}});
    client.call("one__say", updated("b://x")).await;
    client.call("two__say", updated("a://x")).await;
    client.call("two__say", updated("b://x")).await;
    let told = client.heard();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0["params"]["uri"], "b://x");
    assert_eq!(client.ask("resources/unsubscribe", json!({"uri": "b://x"})).await["result"], json!({}));
    client.call("two__say", updated("b://x")).await;
    assert!(client.heard().is_empty());
    assert_eq!(two.seen("resources/unsubscribe").len(), 1);
    assert!(one.seen("resources/subscribe").is_empty());
    client.leave().await;
}

#[tokio::test]
async fn subscriptions_outlive_a_restart_of_their_server() {
    let one = Script::with_tools("one", &["die", "say"]);
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.client(json!({})).await;
    for uri in ["a://x", "a://y"] {
        assert_eq!(client.ask("resources/subscribe", json!({"uri": uri})).await["result"], json!({}));
    }
    client.ask("resources/unsubscribe", json!({"uri": "a://y"})).await;
    client.call("die", json!({})).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let updated = json!({"method": "notifications/resources/updated", "params": {"uri": "a://x"}});
    client.call("say", updated).await;
    client.told("notifications/resources/updated").await;
    let begun = std::time::Instant::now();
    while one.seen("resources/subscribe").len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", one.seen("resources/subscribe"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(one.seen("resources/subscribe")[2], json!({"uri": "a://x"}));
    // Each of the three was decided, also the one that was made again. Its receipt comes after its answer.
    loop {
        let receipts = hall.receipts().await;
        let decided =
            receipts.iter().filter(|receipt| receipt.tool_name.as_str() == "resources/subscribe").count();
        if decided == 3 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{decided} were decided");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.leave().await;
}

#[tokio::test]
async fn the_log_level_reaches_all_servers_also_those_that_start_later() {
    let servers = ["one", "two"].map(|name| (name, Owner::Session, Script::with_tools(name, &["say", name])));
    let scripts: Vec<_> = servers.iter().map(|(.., script)| Arc::clone(script)).collect();
    let hall = Hall::open(OPEN, servers.to_vec());
    let mut client = hall.client(json!({})).await;
    assert_eq!(client.ask("logging/setLevel", json!({"level": "loud"})).await["error"]["code"], -32602);
    assert_eq!(client.ask("logging/setLevel", json!({"level": "debug"})).await["result"], json!({}));
    client
        .call("one__say", json!({"method": "notifications/message", "params": {"level": "info", "data": 1}}))
        .await;
    for script in &scripts {
        assert_eq!(script.seen("logging/setLevel"), [json!({"level": "debug"})], "{}", script.name);
    }
    // With several servers a message says whose it is; it goes on the stream of the only call in its hands.
    let (said, route) = client.told("notifications/message").await;
    assert_eq!(said["params"], json!({"level": "info", "data": 1, "logger": "one"}));
    assert!(matches!(route, Route::Within(_)), "{route:?}");
    let sub =
        json!({"method": "notifications/message", "params": {"level": "info", "data": 1, "logger": "sub"}});
    client.call("two__say", sub).await;
    assert_eq!(client.told("notifications/message").await.0["params"]["logger"], "two/sub");
    client.leave().await;
}

fn capability(subject: &SigningKey, server: &str, tools: &[&str]) -> Value {
    let grant = |tool: &&str| {
        ToolGrant::new(vec![Operation::Invoke], ServerId::new(server).unwrap(), ToolName::new(*tool).unwrap())
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let template = CapabilityTemplate {
        id: CapabilityId::new(format!("cap-{}", uuid::Uuid::now_v7())).unwrap(),
        subject: subject.public().hex(),
        scope: ChioScope::new().with_grants(tools.iter().map(grant).collect()),
        issued_at: now,
        expires_at: now + 300,
        delegation_chain: Vec::new(),
    };
    let token = issue(&issuer(), template).unwrap();
    serde_json::from_str(token.text()).unwrap()
}

#[tokio::test]
async fn a_presented_capability_counts_instead_of_the_default_and_never_travels_on() {
    let one = Script::with_tools("one", &["meta", "whoami"]);
    let hall = Hall::open(NOTHING, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.client(json!({})).await;
    assert!(client.names("tools/list", "tools").await.is_empty());
    let denied = client.call("meta", json!({})).await;
    assert_eq!(denied["_meta"]["chio.dev/decision"], "deny");

    let holder = SigningKey::from_seed([5; 32]);
    let token = capability(&holder, "one", &["meta"]);
    let meta = json!({"chio.dev/capability": token, "chio.dev/other": 1, "kept": true});
    let called = client.ask("tools/call", json!({"name": "meta", "_meta": meta})).await["result"].clone();
    assert_eq!(text(&called), r#"{"kept":true}"#);
    assert_eq!(called["_meta"]["chio.dev/decision"], "allow");
    // A list shows what the presented capability covers.
    let list = client.ask("tools/list", json!({"_meta": meta})).await["result"]["tools"].clone();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], "meta");
    let beyond = client.ask("tools/call", json!({"name": "whoami", "_meta": meta})).await["result"].clone();
    assert_eq!(beyond["_meta"]["chio.dev/error"]["name"], "scope_exceeded");

    // The first one that verified binds the session, and a changed one shows and does nothing.
    let thief = capability(&SigningKey::from_seed([6; 32]), "one", &["meta", "whoami"]);
    let mut forged = token.clone();
    forged["scope"]["grants"][0]["tool_name"] = json!("whoami");
    for bad in [thief, forged] {
        let meta = json!({"chio.dev/capability": bad});
        let list = client.ask("tools/list", json!({"_meta": meta})).await["result"]["tools"].clone();
        assert_eq!(list, json!([]));
        let denied =
            client.ask("tools/call", json!({"name": "whoami", "_meta": meta})).await["result"].clone();
        assert_eq!(denied["_meta"]["chio.dev/decision"], "deny");
    }
    for meta in [
        json!({"chio.dev/capability": "text"}),
        json!({"chio.dev/ancestors": []}),
        json!({"chio.dev/dpopProof": {}}),
        json!({"chio.dev/capability": {}, "chio.dev/ancestors": {}}),
        json!({"chio.dev/capability": {}, "chio.dev/dpopProof": {}}),
    ] {
        let refused = client.ask("tools/call", json!({"name": "meta", "_meta": meta})).await;
        assert_eq!(refused["error"]["code"], -32602, "{meta}");
    }
    assert!(!one.seen.lock().unwrap().iter().any(|(_, params)| params.to_string().contains("chio.dev")));
    client.leave().await;
}

#[tokio::test]
async fn model_metadata_is_admitted_as_asserted_only() {
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Script::with_tools("one", &["meta"]))]);
    let mut client = hall.client(json!({})).await;
    let model = json!({"model_id": "m", "safety_tier": "high", "provenance_class": "verified"});
    let call = |meta: Value| json!({"name": "meta", "_meta": meta});
    let called = client.ask("tools/call", call(json!({"modelMetadata": model}))).await["result"].clone();
    let sent: Value = serde_json::from_str(text(&called)).unwrap();
    assert_eq!(sent["modelMetadata"]["provenance_class"], "asserted");
    let same = json!({"modelMetadata": model, "chioModelMetadata": model});
    assert!(client.ask("tools/call", call(same)).await["result"].is_object());
    for bad in [
        json!({"modelMetadata": model, "chioModelMetadata": {"model_id": "other"}}),
        json!({"modelMetadata": "m"}),
        json!({"chioModelMetadata": {"safety_tier": "high"}}),
        json!({"chioModelMetadata": {"model_id": "m", "safety_tier": "extreme"}}),
    ] {
        assert_eq!(client.ask("tools/call", call(bad.clone())).await["error"]["code"], -32602, "{bad}");
    }
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 2);
    for receipt in receipts {
        let receipt = serde_json::to_value(&receipt).unwrap();
        assert_eq!(
            receipt["metadata"]["model_metadata"],
            json!({"model_id": "m", "safety_tier": "high", "provenance_class": "asserted"})
        );
        assert_eq!(receipt["metadata"]["request"]["session_id"], "a-session");
    }
    client.leave().await;
}

/// The members that are ours, as the specification has them: the generated types know no others.
fn ours(meta: &Value) -> McpResultMeta {
    let ours = meta.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("chio.dev/"));
    let ours: serde_json::Map<_, _> = ours.map(|(key, value)| (key.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(ours)).unwrap()
}

#[tokio::test]
async fn what_is_added_to_mcp_has_the_form_that_the_specification_gives_it() {
    let one = Script::with_tools("one", &["whoami", "failing", "die"]);
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, one)]);
    let mut client = hall.session(HOSTED);
    let refused = client.ask("initialize", request(&json!("1"))).await;
    serde_json::from_value::<ChioErrorEntry>(refused["error"]["data"]["chioError"].clone()).unwrap();
    let wrong = client.ask("initialize", request(&json!(1))).await;
    serde_json::from_value::<ChioErrorEntry>(wrong["error"]["data"]["chioError"].clone()).unwrap();
    let answer = client.initialize(json!({})).await;
    let protocol = answer["capabilities"]["experimental"]["chioProtocol"].clone();
    serde_json::from_value::<ChioProtocol>(protocol).unwrap();
    // Completed, failed, denied, interrupted, without a server.
    for tool in ["whoami", "failing", "unknown", "die", "whoami"] {
        ours(&client.call(tool, json!({})).await["_meta"]);
    }
    client.leave().await;
}

#[tokio::test]
async fn a_server_that_hangs_holds_up_no_call_to_the_others() {
    let hangs = Arc::new(Script { name: "hangs", hangs: true, ..Script::default() });
    let well = Script::with_tools("well", &["whoami"]);
    let hall = Hall::open(OPEN, vec![("hangs", Owner::Session, hangs), ("well", Owner::Session, well)]);
    let mut client = hall.client(json!({})).await;
    let begun = std::time::Instant::now();
    assert_eq!(text(&client.call("whoami", json!({})).await), "well");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // From now on it is known whose it is.
    let begun = std::time::Instant::now();
    client.call("whoami", json!({})).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    client.stop.cancel();
}

#[tokio::test]
async fn only_we_speak_under_our_names_and_every_answer_names_its_receipt() {
    let one = Script::with_tools("one", &["die"]);
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.client(json!({})).await;
    let meta = client.ask("resources/read", json!({"uri": "a://x"})).await["result"]["_meta"].clone();
    let receipts = hall.receipts().await;
    let id = serde_json::to_value(&receipts[0]).unwrap()["id"].clone();
    assert_eq!(meta, json!({"own": 1, "chio.dev/receiptId": id, "chio.dev/decision": "allow"}));
    // What was never subscribed to needs no end that a server would hear of.
    assert_eq!(client.ask("resources/unsubscribe", json!({"uri": "a://x"})).await["result"], json!({}));
    assert!(one.seen("resources/unsubscribe").is_empty());
    client.call("die", json!({})).await;
    let away = client.ask("resources/read", json!({"uri": "a://x"})).await["error"].clone();
    assert_eq!(away["data"]["chioError"]["name"], "server_unavailable", "{away}");
    let receipts = hall.receipts().await;
    assert_eq!(receipts.len(), 3);
    assert!(matches!(receipts[2].decision, Decision::Deny(_)), "{:?}", receipts[2].decision);
    client.leave().await;
}

#[tokio::test]
async fn a_relayed_initialization_carries_no_capability_to_the_server() {
    let one = Script::with_tools("one", &["whoami"]);
    let hall = Hall::open(OPEN, vec![("one", Owner::Session, Arc::clone(&one))]);
    let mut client = hall.session(Mode::Relay);
    let mut params = request(&json!("2025-11-25"));
    params["_meta"] = json!({"chio.dev/capability": {"secret": 1}, "kept": true});
    params["odd"] = json!(1);
    assert!(client.ask("initialize", params).await["result"].is_object());
    let mut told = request(&json!("2025-11-25"));
    told["_meta"] = json!({"kept": true});
    assert_eq!(one.seen("initialize"), [told]);
    client.leave().await;
}
