//! Manifests: what is signed, and what is reported about foreign ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::manifest::{sign, verify};
use chio_json::{Json, canonical};
use chio_spec::{ManifestSchema, ServerId, ToolDefinition, ToolManifest, ToolName};
use fixture::*;

fn tool(name: &str) -> ToolDefinition {
    let schema = Json::from_text(r#"{ "type": "object" }"#.to_owned()).unwrap();
    ToolDefinition::new("Reads a file", false, schema, None, ToolName::new(name).unwrap())
}

fn manifest(tools: Vec<ToolDefinition>) -> ToolManifest {
    ToolManifest::new(
        None,
        "Files",
        hex(&authority()),
        None,
        ManifestSchema::ChioManifestV1,
        ServerId::new("files").unwrap(),
        tools,
        "1.0.0",
    )
}

fn signed() -> String {
    canonical::to_string(&sign(&authority(), manifest(vec![tool("read"), tool("write")])).unwrap()).unwrap()
}

#[test]
fn a_signed_manifest_verifies() {
    let report = verify(&signed());
    assert!(report.valid(), "{:?}", report.reasons);
    assert!(report.reasons.is_empty());
    assert_eq!(report.signer_key, Some(hex(&authority())));
}

#[test]
fn a_tampered_manifest_keeps_its_structure_and_loses_its_signature() {
    for (from, to) in [("Reads a file", "Reads every file"), ("1.0.0", "1.0.1"), ("\"object\"", "\"array\"")]
    {
        let report = verify(&signed().replace(from, to));
        assert!(report.structure_valid && !report.signature_valid, "{from}");
    }
}

#[test]
fn two_tools_of_one_name_and_no_tools_are_refused() {
    let twice = sign(&authority(), manifest(vec![tool("read"), tool("read")])).unwrap();
    let report = verify(&canonical::to_string(&twice).unwrap());
    assert!(report.signature_valid && !report.structure_valid);
    let none = signed().replace(r#""tools":["#, r#""tools":[],"t":["#);
    assert!(!verify(&none).structure_valid);
}

#[test]
fn an_embedded_key_that_is_not_the_signers_is_reported() {
    let other = sign(&holder(0), manifest(vec![tool("read")])).unwrap();
    let report = verify(&canonical::to_string(&other).unwrap());
    assert!(report.signature_valid && report.embedded_public_key_valid);
    assert!(!report.embedded_public_key_matches_signer && !report.valid());

    let key = hex(&authority()).to_string();
    let embedded = format!(r#""public_key":"{key}""#);
    for bad in ["not-a-public-key", &"00".repeat(32), &key.to_uppercase()] {
        let report = verify(&signed().replace(&embedded, &format!(r#""public_key":"{bad}""#)));
        assert!(report.structure_valid && !report.embedded_public_key_valid, "{bad}");
        assert!(!report.embedded_public_key_matches_signer && !report.signature_valid);
    }
}

/// Signed bytes are the value as received, members that this version does not know included.
#[test]
fn an_unknown_member_is_signed_too_and_breaks_the_structure() {
    let text = signed().replace(r#""name":"Files""#, r#""name":"Files","x":1"#);
    let report = verify(&text);
    assert!(!report.structure_valid && !report.signature_valid);
}

#[test]
fn verification_reports_on_foreign_malformed_input_and_never_fails() {
    let key = hex(&authority()).to_string();
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"manifest":5}"#.to_owned(),
        r#"{"manifest":{},"signature":"","signer_key":""}"#.to_owned(),
        signed().replace(&format!(r#""signer_key":"{key}""#), r#""signer_key":"x""#),
        signed().replace(r#""schema":"chio.manifest.v1""#, r#""schema":"chio.manifest.v2""#),
        signed().replace(r#""version""#, r#""name""#),
    ] {
        let report = verify(&text);
        assert!(!report.valid() && !report.reasons.is_empty(), "{text:.60}");
    }
}
