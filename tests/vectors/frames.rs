//! Frames of the native wire, as bytes.

use chio_native::NativeError;
use chio_native::frame::{Message, decode_frame, encode};
use chio_spec::{AgentMessage, KernelMessage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{HOLDER, KERNEL, NOW, chain, grant, hash, public, sign, signature, text, tools, with};
use crate::receipts;

pub(crate) enum Frames {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    family: Speaker,
    bytes: String,
    outcome: String,
}

/// Whose messages the bytes are read as.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Speaker {
    Agent,
    Kernel,
}

impl Family for Frames {
    const NAME: &'static str = "frames";
    const ABOUT: &'static str = "What a reader makes of `bytes` (hexadecimal) as messages of an agent or a kernel: \
        `message` (one whole frame, which written again gives the same bytes), `incomplete` (more must come), or \
        a reason to close: `message_too_large`, `not_canonical` or `not_of_family`.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let mut cases = agent();
        cases.extend(kernel());
        cases.extend(bad());
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let bytes: Vec<u8> = case
            .bytes
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let outcome = match case.family {
            Speaker::Agent => read::<AgentMessage>(&bytes),
            Speaker::Kernel => read::<KernelMessage>(&bytes),
        };
        same("outcome", case.outcome.as_str(), outcome)
    }
}

fn read<M: Message>(bytes: &[u8]) -> &'static str {
    match decode_frame::<M>(bytes) {
        Ok(Some((message, taken))) if taken == bytes.len() && encode(&message).unwrap() == bytes => "message",
        Ok(Some(_)) => "another text",
        Ok(None) => "incomplete",
        Err(NativeError::MessageTooLarge { .. }) => "message_too_large",
        Err(NativeError::NotCanonical(_)) => "not_canonical",
        Err(NativeError::NotOfFamily { .. }) => "not_of_family",
        Err(_) => "another fault",
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_be_bytes(), payload].concat()
}

fn case(id: &str, about: &str, family: Speaker, bytes: &[u8], outcome: &str) -> Named<Case> {
    let bytes = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    named(id, about, Case { family, bytes, outcome: outcome.into() })
}

fn good(id: &str, about: &str, family: Speaker, message: &Value) -> Named<Case> {
    case(id, about, family, &framed(text(message).as_bytes()), "message")
}

fn request() -> Value {
    json!({
        "capability_token": chain(0, &tools(&[grant("files", "read")]))[0],
        "id": "req-1",
        "params": {"id": 9_007_199_254_740_993_u64, "path": "/srv/\u{e9}"},
        "server_id": "files",
        "tool": "read",
        "type": "tool_call_request",
    })
}

fn agent() -> Vec<Named<Case>> {
    let agent = |id: &str, about: &str, message: &Value| good(id, about, Speaker::Agent, message);
    let tokens = chain(2, &tools(&[grant("files", "read")]));
    let delegated =
        with(&with(&request(), "capability_token", tokens[2].clone()), "ancestors", json!(tokens[..2]));
    let body = json!({
        "action_hash": hash(&request()["params"]),
        "agent_key": public(HOLDER),
        "capability_id": "cap-root",
        "issued_at": NOW,
        "nonce": "n-1",
        "schema": "chio.dpop_proof.v1",
        "tool_name": "read",
        "tool_server": "files",
    });
    let proof = json!({"signature": signature(&body, HOLDER), "body": body});
    vec![
        agent("agent-heartbeat", "", &json!({"type": "heartbeat"})),
        agent("agent-list-capabilities", "", &json!({"type": "list_capabilities"})),
        agent("agent-tool-call-request", "", &request()),
        agent("agent-tool-call-request-delegated", "with its ancestors", &delegated),
        agent(
            "agent-tool-call-request-proven",
            "with a proof of possession",
            &with(&request(), "dpop_proof", proof),
        ),
        agent(
            "agent-malformed-token",
            "a good frame: the token is judged later, with a receipt",
            &with(&request(), "capability_token", json!({"id": 7})),
        ),
        agent("agent-params-null", "any value is a parameter", &with(&request(), "params", Value::Null)),
    ]
}

fn kernel() -> Vec<Named<Case>> {
    let kernel = |id: &str, about: &str, message: &Value| good(id, about, Speaker::Kernel, message);
    let receipt = sign(receipts::body(), KERNEL);
    let response = |id: &str, result: Value| {
        kernel(
            id,
            "",
            &json!({"id": "req-1", "receipt": receipt, "result": result, "type": "tool_call_response"}),
        )
    };
    let failed = |id: &str, error: Value| response(id, json!({"error": error, "status": "err"}));
    let token = &chain(0, &tools(&[grant("files", "read")]))[0];
    vec![
        kernel("kernel-heartbeat", "", &json!({"type": "heartbeat"})),
        kernel("kernel-capability-list", "", &json!({"capabilities": [token], "type": "capability_list"})),
        kernel("kernel-capability-list-empty", "", &json!({"capabilities": [], "type": "capability_list"})),
        kernel("kernel-capability-revoked", "", &json!({"id": "cap-root", "type": "capability_revoked"})),
        kernel(
            "kernel-tool-call-chunk",
            "",
            &json!({"chunk_index": 0, "data": [1, u64::MAX, null], "id": "req-1", "type": "tool_call_chunk"}),
        ),
        response("kernel-response-ok", json!({"status": "ok", "value": {"text": "hello", "size": i64::MIN}})),
        response("kernel-response-ok-null", json!({"status": "ok", "value": null})),
        response("kernel-response-stream-complete", json!({"status": "stream_complete", "total_chunks": 3})),
        response(
            "kernel-response-cancelled",
            json!({"chunks_received": 1, "reason": "operator stop", "status": "cancelled"}),
        ),
        response(
            "kernel-response-incomplete",
            json!({"chunks_received": 0, "reason": "deadline", "status": "incomplete"}),
        ),
        failed(
            "kernel-error-capability-denied",
            json!({"code": "capability_denied", "detail": "capability scope does not cover this call"}),
        ),
        failed("kernel-error-capability-expired", json!({"code": "capability_expired"})),
        failed("kernel-error-capability-revoked", json!({"code": "capability_revoked"})),
        failed(
            "kernel-error-policy-denied",
            json!({"code": "policy_denied", "detail": {"guard": "forbidden_path", "reason": "path is forbidden"}}),
        ),
        failed(
            "kernel-error-tool-server-error",
            json!({"code": "tool_server_error", "detail": "the server ended"}),
        ),
        failed("kernel-error-internal-error", json!({"code": "internal_error", "detail": "store is busy"})),
    ]
}

fn bad() -> Vec<Named<Case>> {
    let beat = framed(br#"{"type":"heartbeat"}"#);
    let agent =
        |id: &str, about: &str, bytes: &[u8], outcome: &str| case(id, about, Speaker::Agent, bytes, outcome);
    let spelt =
        |id: &str, about: &str, payload: &str| agent(id, about, &framed(payload.as_bytes()), "not_canonical");
    let strange = |id: &str, about: &str, message: &Value| {
        agent(id, about, &framed(text(message).as_bytes()), "not_of_family")
    };
    let whole = text(&request());
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    vec![
        agent("bytes-none", "", &[], "incomplete"),
        agent("bytes-prefix-part", "", &beat[..3], "incomplete"),
        agent("bytes-prefix-only", "", &beat[..4], "incomplete"),
        agent("bytes-payload-part", "", &beat[..beat.len() - 1], "incomplete"),
        agent("length-largest", "16 MiB may still come", &[0x01, 0x00, 0x00, 0x00], "incomplete"),
        agent("length-one-more", "", &[0x01, 0x00, 0x00, 0x01], "message_too_large"),
        agent("length-all-ones", "", &[0xff; 4], "message_too_large"),
        agent(
            "length-of-http",
            "somebody speaks another protocol",
            b"GET / HTTP/1.1\r\n",
            "message_too_large",
        ),
        agent("payload-empty", "", &[0; 4], "not_canonical"),
        agent("payload-not-utf-8", "", &framed(b"{\"type\":\"\xff\"}"), "not_canonical"),
        spelt("spaced", "white space", r#"{"type": "heartbeat"}"#),
        spelt("newline", "a line feed at the end", "{\"type\":\"heartbeat\"}\n"),
        spelt("byte-order-mark", "", "\u{feff}{\"type\":\"heartbeat\"}"),
        spelt("escaped-tag", "an escape that is not needed", r#"{"type":"\u0068eartbeat"}"#),
        spelt("unsorted", "the tag in front", r#"{"type":"tool_call_request","id":"req-1"}"#),
        spelt("duplicate-tag", "", r#"{"type":"heartbeat","type":"heartbeat"}"#),
        spelt(
            "duplicate-in-params",
            "opaque parts are scanned too",
            &whole.replace(r#""params":{"#, r#""params":{"a":1,"a":2,"#),
        ),
        spelt("float-in-params", "1.0 is written 1", &whole.replace("9007199254740993", "1.0")),
        spelt("surrogate-in-params", "", &whole.replace("/srv/", r"/srv/\ud800")),
        spelt("deep-params", "sixty-five open arrays and objects", &whole.replace("9007199254740993", &deep)),
        spelt("two-values", "", r#"{"type":"heartbeat"}{"type":"heartbeat"}"#),
        strange("no-object", "", &json!(["heartbeat"])),
        strange("no-tag", "", &json!({})),
        strange("unknown-tag", "", &json!({"type": "hello"})),
        strange(
            "tag-of-kernel",
            "the kernel's message from an agent",
            &json!({"capabilities": [], "type": "capability_list"}),
        ),
        strange("tag-not-text", "", &json!({"type": 1})),
        strange("unknown-member", "a closed object", &with(&request(), "note", json!(1))),
        strange("unknown-member-of-heartbeat", "", &json!({"at": 1, "type": "heartbeat"})),
        strange("missing-params", "", &crate::make::without(&request(), "params")),
        strange("empty-id", "", &with(&request(), "id", json!(""))),
        strange(
            "long-id",
            "one character more than an identifier may have",
            &with(&request(), "id", json!("i".repeat(513))),
        ),
        strange(
            "empty-ancestors",
            "absent and empty are one thing, and it is written absent",
            &with(&request(), "ancestors", json!([])),
        ),
        strange(
            "null-proof",
            "an optional member is never null",
            &with(&request(), "dpop_proof", Value::Null),
        ),
    ]
}
