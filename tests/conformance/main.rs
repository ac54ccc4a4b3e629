//! The conformance gate: what the running program really emits is held against the schemas, byte for byte.
//!
//! Samples are captured from the sockets and pipes of the `chio` binary, never made from the generated types: a type
//! and its serializer could be wrong together. Every frame must be canonical, valid and free of members that the public
//! protocol does not have; and every schema, with every branch of every union, must have been seen at least once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::needless_pass_by_value)] // Parameters of a call are made where they are handed over.

mod house;
#[path = "../mcp/http.rs"]
#[allow(dead_code, unreachable_pub)] // Shared with the tests of the hosted edge.
mod http;
mod samples;
mod scenes;
#[path = "../specification.rs"]
mod specification;
mod strict_shape;
mod wire;

use samples::Samples;
use specification::Specification;

/// What has no live sample, and why.
const WITHOUT_SAMPLE: &[(&str, &str)] = &[
    ("Attenuation.reduce_cost_per_invocation", "no command sets costs before there is a source of costs"),
    ("Attenuation.reduce_total_cost", "no command sets costs before there is a source of costs"),
    ("ChioErrorEntry", "the tests of the MCP edges hold what they answer to it"),
    ("ChioErrorRetry", "the tests of the MCP edges hold what they answer to it"),
    ("ChioProtocol", "the tests of the MCP edges hold what they answer to it"),
    ("ChioProtocolErrorRegistry", "the tests of the MCP edges hold what they answer to it"),
    ("ConsistencyProof", "no command prints one; the store checks them itself"),
    ("McpDecision", "the tests of the MCP edges hold what they answer to it"),
    ("McpRequestMeta", "the tests of the MCP edges hold what they answer to it"),
    ("McpResultMeta", "the tests of the MCP edges hold what they answer to it"),
    ("ModelId", "the tests of the MCP edges hold what they answer to it"),
    ("ModelMetadata", "the tests of the MCP edges hold what they answer to it"),
    ("ModelProvider", "the tests of the MCP edges hold what they answer to it"),
    ("ProvenanceClass", "the tests of the MCP edges hold what they answer to it"),
    ("ReceiptModelMetadata", "the tests of the MCP edges hold what they answer to it"),
    ("SigningAlgorithm", "the only algorithm is never named"),
    ("TrustLevel", "every receipt is mediated, which is left out"),
];

#[test]
fn everything_on_the_wire_conforms_and_every_schema_is_seen() {
    let samples = Samples::default();
    scenes::play(&samples);
    let specification = Specification::read();

    let faults = samples.faults(&specification);
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let (everything, seen) = (specification.everything(), samples.seen(&specification));
    let missing: Vec<_> = everything.difference(&seen).collect();
    let all = everything.len();
    println!("{} samples, {} of {all} schemas and branches seen", samples.len(), all - missing.len());
    let excused: Vec<&str> = WITHOUT_SAMPLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(missing, excused, "the left side has no live sample; the right side is excused for it");
}

/// The gate would notice a frame that breaks a rule.
#[test]
fn a_bad_sample_is_found_out() {
    let specification = Specification::read();
    let receipt = r#"{"action":{"parameter_hash":"","parameters":{}},"decision":{"verdict":"allow"}}"#;
    for (kind, text) in [
        ("KernelMessage", r#"{"type": "heartbeat"}"#.to_owned()),
        ("KernelMessage", r#"{"at":1,"type":"heartbeat"}"#.to_owned()),
        ("KernelMessage", r#"{"type":"heartbeat","type":"heartbeat"}"#.to_owned()),
        (
            "KernelMessage",
            format!(
                r#"{{"id":"a","receipt":{receipt},"result":{{"status":"ok"}},"type":"tool_call_response"}}"#
            ),
        ),
        ("Receipt", receipt.to_owned()),
        ("KernelCheckpoint", "{}".to_owned()),
    ] {
        let samples = Samples::default();
        samples.keep(kind, "this test", &text);
        assert!(!samples.faults(&specification).is_empty(), "{text}");
    }
    let samples = Samples::default();
    samples.keep("KernelMessage", "this test", r#"{"type":"heartbeat"}"#);
    assert!(samples.faults(&specification).is_empty());
}
