//! A client, the edge, the kernel, a store and a real server over real pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(unreachable_pub)]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chio_mcp::edge::End;
use chio_mcp::error::CloseReason;
use chio_spec::Decision;
use serde_json::{Value, json};

use support::{House, initialize_params, receipt_id, text};

const SAFE: &str = r"
guards:
  forbidden_path: {}
  tool_access: { enabled: true, default_action: allow, block: [hidden] }
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 300 }
    resources:
      - { uri: 'test://*', operations: [read, subscribe], ttl: 300 }
    prompts:
      - { prompt: '*', operations: [get], ttl: 300 }
";

#[tokio::test]
async fn initialization_is_the_servers_own_less_what_is_not_governed() {
    let mut house = House::open(SAFE);
    let client = &mut house.client;
    // Only `ping` and unknown methods are answered otherwise before.
    assert_eq!(client.ask("ping", json!({})).await["result"], json!({}));
    assert_eq!(client.ask("server/discover", json!({})).await["error"]["code"], -32601);
    let early = client.ask("tools/list", json!({})).await;
    assert_eq!(early["error"]["code"], -32002);
    assert_eq!(early["error"]["data"]["chioError"]["code"], 1001);
    assert_eq!(early["error"]["data"]["chioError"]["retry"]["strategy"], "reinitialize");

    let answer = client.ask("initialize", initialize_params("test")).await["result"].clone();
    assert_eq!(answer["protocolVersion"], "2025-11-25");
    assert_eq!(answer["serverInfo"]["name"], "scripted");
    assert_eq!(answer["instructions"], "be kind");
    let capabilities: Vec<_> = answer["capabilities"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(capabilities, ["completions", "logging", "prompts", "resources", "tools"]);
    assert_eq!(client.ask("tools/list", json!({})).await["error"]["code"], -32002);
    client.notify("notifications/initialized", json!({})).await;
    assert_eq!(client.ask("initialize", initialize_params("test")).await["error"]["code"], -32600);

    let seen: Value = serde_json::from_str(text(&client.call("seen", json!({})).await)).unwrap();
    assert_eq!(seen["initialized"], 1);
    // The policy grants it nothing of what the client can do, and what is not known is never passed on.
    assert_eq!(seen["initialize"]["capabilities"], json!({}));
    assert_eq!(seen["initialize"]["clientInfo"]["name"], "test");
    assert_eq!(house.close().await, End::Client(CloseReason::Eof));
}

#[tokio::test]
async fn a_refused_initialization_is_the_servers_own_error_and_may_be_tried_again() {
    let mut house = House::open(SAFE);
    let refused = house.client.ask("initialize", initialize_params("unwelcome")).await;
    assert_eq!(refused["error"], json!({"code": -32600, "message": "go away"}));
    house.client.initialize().await;
    house.close().await;
}

#[tokio::test]
async fn a_client_may_write_ahead() {
    let mut house = House::open(SAFE);
    let client = &mut house.client;
    let initialize = client.start("initialize", initialize_params("test")).await;
    client.notify("notifications/initialized", json!({})).await;
    let again = client.start("initialize", initialize_params("test")).await;
    let call = client.start("tools/call", json!({"name": "echo"})).await;
    assert_eq!(text(&client.answer(call).await["result"]), "{}");
    assert_eq!(client.answer(initialize).await["result"]["serverInfo"]["name"], "scripted");
    assert_eq!(client.answer(again).await["error"]["code"], -32600);
    house.close().await;
}

#[tokio::test]
async fn lists_show_what_may_be_used() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let tools = client.ask("tools/list", json!({})).await["result"].clone();
    let names: Vec<_> = tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names.len(), 18, "{names:?}");
    for name in ["hidden", "*", "task_only"] {
        assert!(!names.contains(&json!(name)), "{name}");
    }
    assert_eq!(tools["_meta"], json!({"page": "first"}));
    assert_eq!(client.ask("tools/list", json!({"cursor": "two"})).await["error"]["code"], -32602);

    // A definition keeps its bytes, also numbers that a parser would rewrite.
    let id = client.start("tools/list", json!({})).await;
    let line = client.line().await;
    assert!(
        line.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name": "echo""#))
    );
    assert!(line.contains(r#""x-kept": 1.0"#));

    let resources = client.ask("resources/list", json!({})).await["result"].clone();
    assert_eq!(resources["resources"], json!([{"uri": "test://one", "name": "one"}]));
    assert_eq!(resources["nextCursor"], "more");
    assert_eq!(client.ask("prompts/list", json!({})).await["result"]["prompts"][0]["name"], "greet");
    let templates = client.ask("resources/templates/list", json!({})).await;
    assert_eq!(
        templates["result"]["resourceTemplates"],
        json!([{"uriTemplate": "test://{id}", "name": "t"}])
    );
    assert_eq!(client.ask("logging/setLevel", json!({"level": "debug"})).await["result"], json!({}));
    // None of that is an action.
    assert_eq!(house.receipts().await.len(), 0);
    house.close().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_answered_by_its_id() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let padding = "p".repeat(chio_mcp::stdio::MAX_LINE_BYTES);
    client
        .send_line(&format!(
            r#"{{"jsonrpc":"2.0","id":99,"method":"tools/call","params":{{"name":"{padding}"}}}}"#
        ))
        .await;
    assert_eq!(client.answer(99).await["error"]["code"], -32600);
    // And the session goes on.
    client.call("echo", json!({})).await;
    house.close().await;
}

#[tokio::test]
async fn nothing_passes_under_an_emergency_stop() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let governed = [
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("prompts/list", json!({})),
        ("logging/setLevel", json!({"level": "debug"})),
    ];
    house.store.stop(None, 1).await.unwrap();
    for (method, params) in &governed {
        let refused = client.ask(method, params.clone()).await;
        assert_eq!(refused["error"]["data"]["chioError"]["name"], "emergency_stop", "{method}: {refused}");
    }
    house.store.resume(None).await.unwrap();
    for (method, params) in governed {
        assert!(client.ask(method, params).await["result"].is_object(), "{method}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_changed_list_is_announced_and_listed_anew() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    assert!(!client.ask("tools/list", json!({})).await.to_string().contains("late"));
    client.call("change", json!({})).await;
    assert_eq!(client.aside()[0]["method"], "notifications/tools/list_changed");
    assert!(client.ask("tools/list", json!({})).await.to_string().contains("late"));
    assert_eq!(text(&client.call("late", json!({})).await), "called late");
    house.close().await;
}

#[tokio::test]
async fn every_call_has_its_receipt() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let echoed = client.call("echo", json!({"a": [1, "two"]})).await;
    assert_eq!(text(&echoed), r#"{"a": [1, "two"]}"#);
    assert_eq!(echoed["_meta"]["chio.dev/decision"], "allow");
    let failed = client.call("failing", json!({})).await;
    assert_eq!(failed["isError"], true);
    assert_eq!(failed["_meta"]["chio.dev/decision"], "allow");
    let denied = client.call("read_text_file", json!({"path": "/home/me/project/.env"})).await;
    assert_eq!(denied["isError"], true);
    assert_eq!(denied["_meta"]["chio.dev/decision"], "deny");
    assert_eq!(denied["_meta"]["chio.dev/error"]["code"], 3100);
    assert!(text(&denied).ends_with(&format!("(receipt {})", receipt_id(&denied))));
    let hidden = client.call("hidden", json!({})).await;
    assert_eq!(hidden["_meta"]["chio.dev/decision"], "deny");
    let unknown = client.call("no_such_tool", json!({})).await;
    assert_eq!(unknown["_meta"]["chio.dev/error"]["name"], "tool_not_registered");
    // No arguments at all is an empty object.
    let bare = client.ask("tools/call", json!({"name": "echo"})).await["result"].clone();
    assert_eq!(text(&bare), "{}");

    let results = [&echoed, &failed, &denied, &hidden, &unknown, &bare];
    let receipts = house.receipts().await;
    let ids: Vec<_> = receipts.iter().map(|receipt| receipt.id.as_str()).collect();
    assert_eq!(ids, results.map(receipt_id));
    let tools: Vec<_> = receipts.iter().map(|receipt| receipt.tool_name.as_str()).collect();
    assert_eq!(tools, ["echo", "failing", "read_text_file", "hidden", "no_such_tool", "echo"]);
    assert_eq!(receipts[0].tool_server.as_str(), "scripted");
    house.close().await;
}

#[tokio::test]
async fn relayed_json_keeps_its_bytes() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let sent =
        r#"{"name":"line","arguments":{ "n":1152921504606846977, "f":1.50, "e":"\u00e9\ud83d\ude00" }}"#;
    client
        .send_line(&format!(r#"{{"jsonrpc":"2.0","id":"\u0061b","method":"tools/call","params":{sent}}}"#))
        .await;
    let line = client.line().await;
    assert!(line.starts_with(r#"{"jsonrpc":"2.0","id":"\u0061b","result":"#), "{line}");
    let answer: Value = serde_json::from_str(&line).unwrap();
    let arguments = r#"{ "n":1152921504606846977, "f":1.50, "e":"\u00e9\ud83d\ude00" }"#;
    assert!(text(&answer["result"]).contains(arguments), "{line}");

    let id = client.start("tools/call", json!({"name": "own_meta"})).await;
    let line = client.line().await;
    let unchanged = r#""structuredContent":{"big":1152921504606846977,"f":1.50}"#;
    assert!(
        line.contains(unchanged) && line.contains(r#"{"own":1.0,"chio.dev/receiptId":"rcpt-"#),
        "{id} {line}"
    );
    assert!(!line.contains("forged"));
    let odd = client.call("odd_meta", json!({})).await;
    assert_eq!(odd["_meta"]["chio.dev/decision"], "allow");
    house.close().await;
}

#[tokio::test]
async fn the_servers_own_errors_come_through_with_their_receipt() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let refused = client.ask("tools/call", json!({"name": "refusing"})).await["error"].clone();
    assert_eq!((&refused["code"], &refused["message"]), (&json!(-32602), &json!("no such thing")));
    assert_eq!(refused["data"]["why"], "because");
    let missing = client.ask("resources/read", json!({"uri": "test://missing"})).await["error"].clone();
    assert_eq!((&missing["code"], &missing["data"]["uri"]), (&json!(-32002), &json!("test://missing")));
    let receipts = house.receipts().await;
    assert_eq!(refused["data"]["chio.dev/receiptId"], receipts[0].id.as_str());
    assert_eq!(missing["data"]["chio.dev/receiptId"], receipts[1].id.as_str());
    house.close().await;
}

#[tokio::test]
async fn answers_that_break_the_protocol_are_failures_of_the_server() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    for tool in ["unreadable", "broken", "huge"] {
        let result = client.call(tool, json!({})).await;
        assert_eq!(result["isError"], true, "{tool}");
        assert_eq!(result["_meta"]["chio.dev/decision"], "deny", "{tool}");
        assert_eq!(result["_meta"]["chio.dev/error"]["name"], "tool_server_error", "{tool}: {result}");
    }
    assert_eq!(text(&client.call("echo", json!({})).await), "{}");
    assert_eq!(house.receipts().await.len(), 4);
    house.close().await;
}

#[tokio::test]
async fn resources_prompts_and_completions_are_governed() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let read = client.ask("resources/read", json!({"uri": "test://one", "odd": 1})).await["result"].clone();
    assert_eq!(read["contents"][0]["text"], r#"{"uri": "test://one"}"#);
    for (method, params) in [
        ("resources/read", json!({"uri": "secret://two"})),
        ("resources/subscribe", json!({"uri": "secret://two"})),
        ("resources/read", json!({"uri": "test://home/.ssh/id_rsa"})),
    ] {
        let error = client.ask(method, params).await["error"].clone();
        assert!(error["code"] == -32010 || error["code"] == -32011, "{error}");
        let id = error["data"]["receiptId"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().ends_with(&format!("(receipt {id})")));
        assert!(error["data"]["chioError"]["code"].is_u64());
    }
    let prompt = client.ask("prompts/get", json!({"name": "greet", "arguments": {"who": "me"}})).await;
    assert_eq!(
        prompt["result"]["messages"][0]["content"]["text"],
        r#"{"arguments": {"who": "me"}, "name": "greet"}"#
    );
    let reference = json!({"type": "ref/prompt", "name": "greet"});
    let argument = json!({"name": "who", "value": "m"});
    let completion = client.ask("completion/complete", json!({"ref": reference, "argument": argument})).await;
    assert!(completion["result"]["completion"]["values"][0].as_str().unwrap().contains("ref/prompt"));
    let foreign = json!({"ref": {"type": "ref/resource", "uri": "secret://{id}"}, "argument": argument});
    assert_eq!(client.ask("completion/complete", foreign).await["error"]["code"], -32010);

    assert_eq!(client.ask("resources/subscribe", json!({"uri": "test://one"})).await["result"], json!({}));
    client.call("noise", json!({"uri": "test://one/below"})).await;
    let updates = client.aside();
    assert!(updates.iter().any(|told| told["params"]["uri"] == "test://one/below"), "{updates:?}");
    assert_eq!(client.ask("resources/unsubscribe", json!({"uri": "test://one"})).await["result"], json!({}));
    client.call("noise", json!({"uri": "test://one"})).await;
    assert_eq!(client.aside().len(), 1);

    let methods: Vec<_> =
        house.receipts().await.iter().map(|receipt| receipt.tool_name.as_str().to_owned()).collect();
    assert_eq!(
        methods,
        [
            "resources/read",
            "resources/read",
            "resources/subscribe",
            "resources/read",
            "prompts/get",
            "completion/complete",
            "completion/complete",
            "resources/subscribe",
            "noise",
            "noise",
        ]
    );
    house.close().await;
}

#[tokio::test]
async fn noise_on_the_servers_output_never_reaches_the_client() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    assert_eq!(text(&client.call("noise", json!({})).await), "quiet");
    let told = client.aside();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["method"], "notifications/message");
    house.close().await;
}

#[tokio::test]
async fn progress_carries_the_clients_own_token() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    for token in [json!("tok-\u{1F600}"), json!(7), json!("7")] {
        let params = json!({"name": "progress", "_meta": {"progressToken": token}});
        let answer = client.ask("tools/call", params).await;
        // The server saw a token of ours.
        assert!(text(&answer["result"]).parse::<u64>().is_ok());
        let told = client.aside();
        let tokens: Vec<_> = told.iter().map(|told| told["params"]["progressToken"].clone()).collect();
        assert_eq!(tokens, vec![token; 3]);
        assert_eq!(told[2]["params"]["progress"], 3);
    }
    assert_eq!(text(&client.call("progress", json!({})).await), "null");
    assert!(client.aside().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server_and_receipted() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    let id = client.start("tools/call", json!({"name": "slow"})).await;
    // Others are not held up.
    assert_eq!(text(&client.call("echo", json!({})).await), "{}");
    client.notify("notifications/cancelled", json!({"requestId": id, "reason": "changed my mind"})).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen: Value = serde_json::from_str(text(&client.call("seen", json!({})).await)).unwrap();
        if !seen["cancelled"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "the server was not told");
    }
    // A cancelled request gets no answer.
    assert!(client.aside().iter().all(|message| message["id"] != id));
    let receipts = house.receipts().await;
    assert!(receipts.iter().any(|receipt| matches!(receipt.decision, Decision::Cancelled(_))));
    house.close().await;
}

#[tokio::test]
async fn what_the_server_asks_of_the_client_is_refused_with_a_receipt() {
    let mut house = House::ready(SAFE).await;
    for method in ["sampling/createMessage", "elicitation/create", "roots/list", "tools/call"] {
        let answer = house.client.call("ask", json!({"method": method})).await;
        let answer: Value = serde_json::from_str(text(&answer)).unwrap();
        assert_eq!(answer["code"], -32601, "{answer}");
        let name = if method == "tools/call" { "method_not_governed" } else { "scope_exceeded" };
        assert_eq!(answer["data"]["chioError"]["name"], name);
        let receipts = house.receipts().await;
        let denial =
            receipts.iter().find(|receipt| answer["data"]["receiptId"] == receipt.id.as_str()).unwrap();
        assert_eq!(denial.tool_name.as_str(), method);
        assert!(matches!(denial.decision, Decision::Deny(_)));
    }
    let pong = house.client.call("ask", json!({"method": "ping"})).await;
    assert_eq!(text(&pong), "{}");
    // Nothing of it reached the client.
    assert!(house.client.aside().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_dying_server_leaves_incomplete_receipts_and_ends_the_session() {
    let mut house = House::ready(SAFE).await;
    let slow = house.client.start("tools/call", json!({"name": "slow"})).await;
    let die = house.client.start("tools/call", json!({"name": "die"})).await;
    for id in [slow, die] {
        let answer = house.client.answer(id).await;
        assert_eq!(answer["result"]["isError"], true);
        assert_eq!(answer["result"]["_meta"]["chio.dev/decision"], "incomplete", "{answer}");
    }
    let receipts = house.receipts().await;
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|receipt| matches!(receipt.decision, Decision::Incomplete(_))));
    assert_eq!(house.close().await, End::Server);
}

#[tokio::test]
async fn a_client_that_leaves_gets_what_is_quick_and_cancels_the_rest() {
    let mut house = House::ready(SAFE).await;
    house.client.start("tools/call", json!({"name": "slow", "arguments": {"seconds": 60}})).await;
    house.client.call("echo", json!({})).await;
    let store = house.store.clone();
    let started = Instant::now();
    assert_eq!(house.close().await, End::Client(CloseReason::Eof));
    assert!(started.elapsed() < Duration::from_secs(20));
    let decisions: Vec<_> = store
        .receipts(chio_store::Query::default())
        .await
        .unwrap()
        .iter()
        .map(|stored| serde_json::from_str::<Value>(&stored.text).unwrap()["decision"]["verdict"].clone())
        .collect();
    assert_eq!(decisions, ["allow", "cancelled"]);
}

#[tokio::test]
async fn a_stop_answers_and_receipts_what_is_in_work() {
    let mut house = House::ready(SAFE).await;
    let id = house.client.start("tools/call", json!({"name": "slow"})).await;
    house.client.call("echo", json!({})).await;
    house.stop.cancel();
    let answer = house.client.answer(id).await;
    assert_eq!(answer["result"]["_meta"]["chio.dev/decision"], "cancelled");
    assert_eq!(house.close().await, End::Stopped);
}

#[tokio::test]
async fn a_server_that_nobody_holds_any_more_is_ended() {
    let mut house = House::ready(SAFE).await;
    house.client.call("echo", json!({})).await;
    let held = Arc::downgrade(&house.servers.members()[0].running().unwrap());
    drop(house.client);
    house.edge.await.unwrap();
    drop(house.servers);
    // Dropping the last handle closes the pipes, and with them ends the process.
    while held.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_that_are_not_well_formed_are_refused_before_the_kernel() {
    let mut house = House::ready(SAFE).await;
    let client = &mut house.client;
    for (method, params, code) in [
        ("tools/call", json!({}), -32602),
        ("tools/call", json!({"name": 1}), -32602),
        ("tools/call", json!({"name": ""}), -32602),
        ("tools/call", json!({"name": "echo", "arguments": []}), -32602),
        ("tools/call", json!({"name": "echo", "_meta": 1}), -32602),
        ("resources/read", json!({}), -32602),
        ("prompts/get", json!({"name": 3}), -32602),
        ("completion/complete", json!({"ref": {"type": "ref/else"}}), -32602),
        ("tasks/list", json!({}), -32601),
    ] {
        let answer = client.ask(method, params.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{method} {params}: {answer}");
    }
    for (line, code) in [
        ("[]", -32600),
        ("nonsense", -32700),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":[]}"#, -32600),
    ] {
        client.send_line(line).await;
        let answer = client.receive().await;
        assert_eq!(answer["error"]["code"], code, "{line}");
        assert!(answer.get("id").is_none(), "{answer}");
    }
    // Names twice: two parsers could read two tools.
    client
        .send_line(
            r#"{"jsonrpc":"2.0","id":90,"method":"tools/call","params":{"name":"echo","name":"hidden"}}"#,
        )
        .await;
    assert_eq!(client.receive().await["error"]["code"], -32602);
    // Arguments that read two ways are denied by the kernel, with a receipt.
    client
        .send_line(
            r#"{"jsonrpc":"2.0","id":91,"method":"tools/call","params":{"name":"echo","arguments":{"a":1,"a":2}}}"#,
        )
        .await;
    let denied = client.receive().await["result"].clone();
    assert_eq!(denied["_meta"]["chio.dev/decision"], "deny");
    assert_eq!(house.receipts().await.len(), 1);
    house.close().await;
}
