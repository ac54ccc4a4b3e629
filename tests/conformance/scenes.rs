//! What is played to the program so that everything it can say is said once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chio_core::dpop::{DpopClaims, make};
use chio_core::hash::hash_json;
use chio_core::keys::SigningKey;
use chio_json::{Json, canonical};
use serde_json::{Value, json};

use crate::house::{House, Served};
use crate::http::{Request, Session};
use crate::samples::Samples;
use crate::wire::{Wire, request};

/// Stands in for an issuer whom the operator trusts besides the own authority.
const ISSUER: [u8; 32] = [0x0b; 32];
/// An agent whose key the test holds.
const AGENT: [u8; 32] = [0x20; 32];

const POLICY: &str = "kernel:\n  tool_timeout: 2\nguards:\n  forbidden_path: {}\n";

/// Plays everything.
pub(crate) fn play(samples: &Samples) {
    let house = House::new();
    let policy = house.file("policy.yaml", POLICY);
    let trusted = public(&ISSUER);
    let options = ["--policy", policy.as_str(), "--trust-issuer", trusted.as_str()];
    {
        let served = house.serve("tcp://127.0.0.1:0", &options);
        let connect = || Wire::connect(&served.address, samples);
        results(&house, connect());
        refusals(&house, connect());
        revocation(&house, connect());
        delegation(&house, samples, connect());
        possession(&house, connect());
        deadline(&house, connect());
        operator_stop(&house, connect());
        connect().spoil(b"GET / HTTP/1.1\r\n\r\n");
        connect().spoil(b"\0\0\0\x15{\"type\": \"heartbeat\"}");
        sudden_death(&house, connect(), served);
    }
    {
        let socket = format!("unix://{}", house.path("chio.sock").display());
        let served = house.serve(&socket, &options);
        let connect = || Wire::connect(&served.address, samples);
        results(&house, connect());
        refusals(&house, connect());
        revocation(&house, connect());
        failing_store(&house, connect());
    }
    over_pipes(&house, samples);
    printed(&house, samples);
    demonstration(samples);
    administration(samples);
}

fn public(seed: &[u8; 32]) -> String {
    SigningKey::from_seed(*seed).public().to_string()
}

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A token of the own authority for the test's agent.
fn issue(house: &House, options: &[&str]) -> Value {
    let agent = public(&AGENT);
    let fixed = ["capability", "issue", "--subject", &agent, "--server", "demo", "--json"];
    house.json(&[&fixed, options].concat())
}

/// A chunk, a value of every integer that a double would spoil, a failure, and signs of life.
fn results(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "*"]);
    wire.send(&json!({"type": "heartbeat"}));
    assert_eq!(wire.receive(), json!({"type": "heartbeat"}));
    let exact =
        json!({"large": u64::MAX, "small": i64::MIN, "odd": 9_007_199_254_740_993_u64, "\u{1f600}": 1e21});
    assert_eq!(
        wire.result(&request("exact", &token, "echo", exact.clone())),
        json!({"status": "ok", "value": exact})
    );
    let counted = wire.call(&request("count", &token, "count", json!({"to": 3})));
    assert_eq!(counted[3]["result"], json!({"status": "stream_complete", "total_chunks": 3}));
    assert_eq!(counted[3]["receipt"]["metadata"]["stream"]["chunks_received"], 3);
    let failed = wire.result(&request("fail", &token, "fail", json!({"message": "as asked"})));
    assert_eq!(failed["error"]["code"], "tool_server_error");
    let large = json!({"data": "x".repeat(100_000)});
    assert_eq!(wire.result(&request("large", &token, "echo", large))["status"], "ok");
    wire.send(&json!({"type": "list_capabilities"}));
    assert_eq!(wire.receive(), json!({"capabilities": [token], "type": "capability_list"}));
}

/// Each code of a denial that needs no more than a bad call.
fn refusals(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "*"]);
    let mut code = |id: &str, token: &Value, tool: &str, params: Value| {
        wire.result(&request(id, token, tool, params))["error"]["code"].clone()
    };
    assert_eq!(code("secret", &token, "echo", json!({"path": "/srv/.env"})), "policy_denied");
    assert_eq!(code("unknown-tool", &token, "nothing", json!({})), "capability_denied");
    let mut tampered = token.clone();
    tampered["expires_at"] = json!(now() + 100_000);
    assert_eq!(code("tampered", &tampered, "echo", json!({})), "capability_denied");
    assert_eq!(code("expired", &expired(), "echo", json!({})), "capability_expired");
    let once = issue(house, &["--tool", "echo", "--max-invocations", "1"]);
    assert_eq!(code("first", &once, "echo", json!({})), Value::Null);
    assert_eq!(code("second", &once, "echo", json!({})), "policy_denied");
    let malformed = wire.provoke(&request("malformed", &json!({"id": 7}), "echo", json!({})));
    assert_eq!(
        malformed["error"]["code"], "capability_denied",
        "a good frame around a bad token is answered"
    );
}

/// A good token whose hour has passed, of the issuer that is trusted besides.
fn expired() -> Value {
    let grant = json!({"operations": ["invoke"], "server_id": "demo", "tool_name": "*"});
    let mut token = json!({
        "expires_at": now() - 3600,
        "id": "cap-of-yesterday",
        "issued_at": now() - 7200,
        "issuer": public(&ISSUER),
        "scope": {"grants": [grant]},
        "subject": public(&AGENT),
    });
    let signature = SigningKey::from_seed(ISSUER).sign(canonical::from_value(&token).as_bytes());
    token["signature"] = json!(signature.to_string());
    token
}

/// The holder is told, and the next call is refused.
fn revocation(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "echo"]);
    assert_eq!(wire.result(&request("before", &token, "echo", json!({})))["status"], "ok");
    let id = token["id"].as_str().unwrap();
    house.print(&["capability", "revoke", id]);
    assert_eq!(wire.receive(), json!({"id": id, "type": "capability_revoked"}));
    let refused = wire.result(&request("after", &token, "echo", json!({})));
    assert_eq!(refused, json!({"error": {"code": "capability_revoked"}, "status": "err"}));
}

/// A token passed on twice, offline, with every restriction that a command can add.
fn delegation(house: &House, samples: &Samples, mut wire: Wire<'_>) {
    let [first, second] = [(), ()].map(|()| house.json(&["capability", "keygen", "--json"]));
    let holder = |key: &Value| key["public_key"].as_str().unwrap().to_owned();
    let root = house.json(&[
        "capability",
        "issue",
        "--subject",
        &holder(&first),
        "--server",
        "demo",
        "--tool",
        "echo",
        "--tool",
        "add",
        "--delegate",
        "--json",
    ]);
    let pass_on = |name: &str, parent: &Value, key: &Value, subject: &str, options: &[&str]| {
        let file = house.file(name, &parent.to_string());
        let key = key["key_file"].as_str().unwrap();
        let fixed = ["capability", "attenuate", file.as_str(), "--key", key, "--subject", subject, "--json"];
        let token = house.print(&[&fixed, options].concat());
        samples.keep("CapabilityToken", "chio capability attenuate", token.trim_end());
        serde_json::from_str::<Value>(&token).unwrap()
    };
    let narrowed =
        ["--tool", "echo", "--max-invocations", "5", "--add-constraint", "max_length=100", "--delegate"];
    let child = pass_on("root.json", &root, &first, &holder(&second), &narrowed);
    let grandchild = pass_on("child.json", &child, &second, &public(&AGENT), &["--ttl", "60"]);
    let mut call = request("delegated", &grandchild, "echo", json!({"text": "short"}));
    call["ancestors"] = json!([root, child]);
    assert_eq!(wire.result(&call)["status"], "ok");
    let mut long = request("too-long", &grandchild, "echo", json!({"text": "x".repeat(101)}));
    long["ancestors"] = json!([root, child]);
    assert_eq!(wire.result(&long)["error"]["code"], "capability_denied");
}

/// A call with a proof that its caller holds the subject's key.
fn possession(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "echo", "--dpop"]);
    let params = json!({"id": 9_007_199_254_740_993_u64});
    let mut call = request("proven", &token, "echo", params.clone());
    assert_eq!(wire.result(&call)["error"]["code"], "capability_denied");
    let claims = DpopClaims {
        capability_id: token["id"].as_str().unwrap().parse().unwrap(),
        tool_server: "demo".parse().unwrap(),
        tool_name: "echo".parse().unwrap(),
        action_hash: hash_json(&Json::from_value(&params)).unwrap(),
        nonce: "nonce-1".parse().unwrap(),
        issued_at: now(),
    };
    let proof = make(&SigningKey::from_seed(AGENT), claims).unwrap();
    call["dpop_proof"] = serde_json::to_value(proof).unwrap();
    assert_eq!(wire.result(&call)["status"], "ok");
    assert_eq!(wire.result(&call)["error"]["code"], "capability_denied", "a replay");
}

fn deadline(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "sleep"]);
    let result = wire.result(&request("slow", &token, "sleep", json!({"milliseconds": 60_000})));
    assert_eq!(result["status"], "incomplete");
}

/// The operator stops everything while a stream runs.
fn operator_stop(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "count"]);
    wire.send(&request("stopped", &token, "count", json!({"to": 1000, "pause_milliseconds": 20})));
    assert_eq!(wire.receive()["type"], "tool_call_chunk");
    house.print(&["stop"]);
    let response =
        std::iter::repeat_with(|| wire.receive()).find(|message| message["type"] != "tool_call_chunk");
    assert_eq!(response.unwrap()["result"]["status"], "cancelled");
    house.print(&["resume"]);
    let again = request("resumed", &token, "count", json!({"to": 0}));
    let resumed = (0..100).any(|_| {
        // A running kernel hears of what another process decides within moments.
        std::thread::sleep(Duration::from_millis(50));
        wire.result(&again)["status"] == "stream_complete"
    });
    assert!(resumed, "the stop was not lifted");
}

/// The kernel dies during a call; whoever opens the store next closes what was left open.
fn sudden_death(house: &House, mut wire: Wire<'_>, served: Served) {
    let token = issue(house, &["--tool", "count"]);
    wire.send(&request("cut-off", &token, "count", json!({"to": 1000, "pause_milliseconds": 20})));
    // A chunk shows that the tool runs, and so that the intent is durable.
    assert_eq!(wire.receive()["type"], "tool_call_chunk");
    drop(served);
}

/// The store refuses what must be durable before a tool may run.
fn failing_store(house: &House, mut wire: Wire<'_>) {
    let token = issue(house, &["--tool", "echo"]);
    let database = rusqlite::Connection::open(house.path("home").join("chio.db")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON intents BEGIN SELECT RAISE(ABORT, 'no room'); END";
    database.execute_batch(refuse).unwrap();
    let refused = wire.result(&request("unrecorded", &token, "echo", json!({})));
    assert_eq!(refused["error"]["code"], "internal_error");
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!(wire.result(&request("recorded", &token, "echo", json!({})))["status"], "ok");
}

/// The same protocol over standard input and output.
fn over_pipes(house: &House, samples: &Samples) {
    let token = issue(house, &["--tool", "*"]);
    let arguments = ["serve", "--listen", "stdio:", "--server-id", "demo", "--demo"];
    let mut command: Command = house.chio(&arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut wire = Wire::pipes(&mut child, samples);
    wire.send(&json!({"type": "list_capabilities"}));
    assert_eq!(wire.receive(), json!({"capabilities": [], "type": "capability_list"}));
    assert_eq!(
        wire.result(&request("piped", &token, "add", json!({"a": 1, "b": 2})))["value"],
        json!({"sum": 3})
    );
    drop(wire);
    assert!(child.wait().unwrap().success(), "the end of its input ends the program");
}

/// What commands print for others to use.
fn printed(house: &House, samples: &Samples) {
    let listed = house.print(&["receipt", "list", "--json"]);
    let receipts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&listed).unwrap();
    for receipt in &receipts {
        samples.keep("Receipt", "chio receipt list --json", receipt.get());
    }
    let newest: Value = serde_json::from_str(receipts.last().unwrap().get()).unwrap();
    let bundle = house.print(&["log", "prove", newest["id"].as_str().unwrap(), "--json"]);
    samples.keep("ReceiptProofBundle", "chio log prove --json", bundle.trim_end());
    let checkpoint = house.print(&["log", "checkpoint", "--json"]);
    samples.keep("KernelCheckpoint", "chio log checkpoint --json", checkpoint.trim_end());
    house.print(&["log", "fsck"]);

    let constraints: Vec<String> = CONSTRAINTS.iter().map(ToString::to_string).collect();
    let agent = public(&AGENT);
    let mut arguments =
        vec!["capability", "issue", "--subject", &agent, "--server", "demo", "--tool", "*", "--json"];
    arguments.extend(["--resource", "file:///srv/*", "--prompt", "summary*"]);
    constraints.iter().for_each(|constraint| arguments.extend(["--constraint", constraint.as_str()]));
    samples.keep("CapabilityToken", "chio capability issue --json", house.print(&arguments).trim_end());

    let key = house.json(&["capability", "keygen", "--json"]);
    let manifest = house.file("manifest.json", &manifest(&key["public_key"]).to_string());
    let signed = house.print(&["manifest", "sign", &manifest, "--key", key["key_file"].as_str().unwrap()]);
    samples.keep("SignedManifest", "chio manifest sign", signed.trim_end());
}

/// Every kind of constraint in a form that the wire knows.
const CONSTRAINTS: &[&str] = &[
    r#"{"type":"path_prefix","value":"/srv"}"#,
    r#"{"type":"domain_exact","value":"example.com"}"#,
    r#"{"type":"domain_glob","value":"*.example.com"}"#,
    r#"{"type":"regex_match","value":"^a"}"#,
    r#"{"type":"max_length","value":9007199254740991}"#,
    r#"{"type":"max_args_size","value":10}"#,
    r#"{"type":"governed_intent_required"}"#,
    r#"{"type":"require_approval_above","value":{"threshold_units":1}}"#,
    r#"{"type":"seller_exact","value":"shop"}"#,
    r#"{"type":"minimum_runtime_assurance","value":"attested"}"#,
    r#"{"type":"minimum_autonomy_tier","value":"delegated"}"#,
    r#"{"type":"custom","value":["mode","dry_run"]}"#,
    r#"{"type":"table_allowlist","value":["orders"]}"#,
    r#"{"type":"column_denylist","value":[]}"#,
    r#"{"type":"max_rows_returned","value":0}"#,
    r#"{"type":"operation_class","value":"read_only"}"#,
    r#"{"type":"audience_allowlist","value":["ops"]}"#,
    r#"{"type":"content_review_tier","value":"strict"}"#,
    r#"{"type":"max_transaction_amount_usd","value":"10.00"}"#,
    r#"{"type":"require_dual_approval","value":true}"#,
    r#"{"type":"model_constraint","value":{"allowed_model_ids":["m"],"min_safety_tier":"high"}}"#,
    r#"{"type":"memory_store_allowlist","value":["notes"]}"#,
    r#"{"type":"memory_write_deny_patterns","value":["secret"]}"#,
];

fn manifest(publisher: &Value) -> Value {
    json!({
        "description": null,
        "name": "Demo",
        "public_key": publisher,
        "required_permissions": {
            "environment_variables": null,
            "network_hosts": [],
            "read_paths": ["/srv"],
            "write_paths": null,
        },
        "schema": "chio.manifest.v1",
        "server_id": "demo",
        "tools": [{
            "description": "Returns its arguments",
            "has_side_effects": false,
            "input_schema": {"maximum": u64::MAX},
            "latency_hint": "instant",
            "name": "echo",
            "pricing": {"base_price": {"currency": "EUR", "units": 1}, "pricing_model": "flat"},
        }],
        "version": "1.0.0",
    })
}

/// A governed MCP server leaves receipts too, with the place of the rule that decided.
fn demonstration(samples: &Samples) {
    let house = House::new();
    house.print(&["demo"]);
    let listed = house.print(&["receipt", "list", "--json"]);
    let receipts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&listed).unwrap();
    assert!(!receipts.is_empty());
    for receipt in &receipts {
        samples.keep("Receipt", "chio receipt list --json after chio demo", receipt.get());
    }
}

/// What operators are told about a hosted edge, its sessions and its servers.
fn administration(samples: &Samples) {
    const TOKEN: &str = "an-admin-token-for-tests-0123456789";
    let house = House::new();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/fixture");
    let served = house.serve_http(&json!({"mcp": {"admin_token": TOKEN}, "servers": [
        {"id": "fixture", "command": ["python3", "-SB", fixture]},
        {"id": "broken", "command": ["/no/such/program"], "owner": "shared"},
    ]}));
    let ask = |kind, method, path: &str| -> Value {
        let request = Request::new(method, path).with("Authorization", &format!("Bearer {TOKEN}"));
        let reply = request.send(&served.address);
        assert!(matches!(reply.status(), 200..300), "{path}: {}", reply.text());
        samples.keep(kind, format!("{method} {path}"), reply.text());
        serde_json::from_str(&reply.text()).unwrap()
    };
    ask("McpAdminHealth", "GET", "/admin/health");
    let [first, second, third] = [(), (), ()].map(|()| Session::open(&served.address, None));
    let started = Instant::now();
    loop {
        first.ask(1, "tools/list", json!({}));
        let servers = ask("McpAdminServers", "GET", "/admin/servers");
        if servers["servers"][1]["lastFailure"].is_object() {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "nothing is said of the broken server: {servers}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(first.delete().status(), 204);
    let path = |session: &Session, what: &str| format!("/admin/sessions/{}/{what}", session.id);
    ask("McpAdminSessionState", "POST", &path(&second, "drain"));
    assert_eq!(ask("McpAdminSessionState", "POST", &path(&third, "shutdown"))["state"], "closed");
    Session::open(&served.address, None);
    let sessions = ask("McpAdminSessions", "GET", "/admin/sessions");
    assert!(sessions["activeCount"].as_u64() >= Some(1), "{sessions}");
    assert!(sessions["terminalCount"].as_u64() >= Some(2), "{sessions}");
}
