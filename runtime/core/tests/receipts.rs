//! Receipts: what a kernel signs, and what a stranger can tell from the text alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::hash::{NULL_CONTENT_HASH, hash_json, sha256};
use chio_core::keys::SigningKey;
use chio_core::receipt::{ReceiptDraft, SignerTrust, StreamHasher, action, content_hash, trust, verify};
use chio_json::{Json, Signed, canonical};
use chio_spec::{
    Decision, DecisionDeny, GuardEvidence, Receipt, ReceiptId, ReceiptMetadata, ReceiptRequest, ServerId,
    ToolName,
};
use fixture::*;

fn kernel() -> SigningKey {
    SigningKey::from_seed([0x17; 32])
}

fn draft(arguments: &str) -> ReceiptDraft {
    ReceiptDraft {
        id: ReceiptId::new("rcpt-1").unwrap(),
        timestamp: START,
        capability_id: id("cap-1"),
        tool_server: ServerId::new("files").unwrap(),
        tool_name: ToolName::new("read").unwrap(),
        action: action(&Json::from_text(arguments.to_owned()).unwrap(), 32 * 1024).unwrap(),
        decision: Decision::Allow,
        content_hash: content_hash(Some(&Json::from_text(r#"{"ok":true}"#.to_owned()).unwrap())).unwrap(),
        policy_hash: sha256(b"policy"),
        evidence: Vec::new(),
        metadata: ReceiptMetadata::new(),
    }
}

fn evidence(name: &str, verdict: bool) -> GuardEvidence {
    GuardEvidence::new(name, verdict).with_details("because")
}

#[test]
fn a_signed_receipt_is_canonical_and_verifies() {
    let receipt = draft(r#"{ "path" : "/a", "n": 1.0 }"#).sign(&kernel()).unwrap();
    assert_eq!(canonical::scan(receipt.text().as_bytes()).unwrap(), receipt.text());
    let report = verify(receipt.text());
    assert!(report.valid(), "{:?}", report.reasons);
    assert!(report.reasons.is_empty());
    assert_eq!(report.decision.as_deref(), Some("allow"));
    assert_eq!(report.signer_key, Some(hex(&kernel())));
    let view = receipt.view().unwrap();
    assert_eq!(view.action.parameters.get(), r#"{"n":1,"path":"/a"}"#);
    assert!(!receipt.text().contains("metadata") && !receipt.text().contains("evidence"));
}

#[test]
fn every_decision_and_every_optional_member_is_signed_and_read_back() {
    let deny = DecisionDeny::new("forbidden_path", "path is forbidden");
    let decisions = [("deny", Decision::Deny(deny)), ("allow", Decision::Allow)];
    let more = ["cancelled", "incomplete"].map(|verdict| {
        let text = format!(r#"{{"verdict":"{verdict}","reason":"because \"signature\" \u0007"}}"#);
        (verdict, Decision::from_json(&text).unwrap())
    });
    for (verdict, decision) in decisions.into_iter().chain(more) {
        let receipt = ReceiptDraft {
            decision,
            evidence: vec![evidence("capability", true), evidence("forbidden_path", false)],
            metadata: ReceiptMetadata::new().with_request(ReceiptRequest::new("req-1", "native")),
            ..draft("null")
        };
        let receipt = receipt.sign(&kernel()).unwrap();
        let report = verify(receipt.text());
        assert!(report.valid(), "{verdict}: {:?}", report.reasons);
        assert_eq!(report.decision.as_deref(), Some(verdict));
        let view = receipt.view().unwrap();
        let read = Signed::<Receipt>::from_text(receipt.text().to_owned()).unwrap();
        assert_eq!(read.view().unwrap(), view, "whoever signed it sees what others read");
        assert_eq!(view.evidence.len(), 2);
        let metadata: ReceiptMetadata = view.metadata.as_ref().unwrap().parse().unwrap();
        assert_eq!(metadata.request.unwrap().id, "req-1");
    }
}

/// The signature is put into the text where it belongs, whatever the arguments and names look like.
#[test]
fn arguments_that_look_like_a_signature_member_do_not_confuse_signing() {
    let zeros = "0".repeat(128);
    let receipt = ReceiptDraft {
        tool_name: ToolName::new(format!(r#"x","signature":"{zeros}","y"#)).unwrap(),
        ..draft(&format!(r#"{{"a":{{"signature":"{zeros}","x":1}},"signature":"{zeros}","x":1}}"#))
    };
    let receipt = receipt.sign(&kernel()).unwrap();
    let report = verify(receipt.text());
    assert!(report.valid(), "{:?}", report.reasons);
    assert!(receipt.view().unwrap().action.parameters.get().contains(&zeros));
}

#[test]
fn signing_is_deterministic() {
    assert_eq!(draft("{}").sign(&kernel()).unwrap(), draft("{}").sign(&kernel()).unwrap());
}

#[test]
fn a_time_that_the_wire_cannot_carry_is_refused() {
    assert!(ReceiptDraft { timestamp: 1 << 53, ..draft("{}") }.sign(&kernel()).is_err());
}

#[test]
fn trust_tells_integrity_from_origin() {
    let receipt = draft("{}").sign(&kernel()).unwrap();
    let report = verify(receipt.text());
    assert_eq!(trust(&report, &[hex(&authority()), hex(&kernel())]), SignerTrust::Trusted);
    assert_eq!(trust(&report, &[hex(&authority())]), SignerTrust::IntegrityOnly);
    assert_eq!(trust(&report, &[]), SignerTrust::IntegrityOnly);
    let tampered = verify(&receipt.text().replace("files", "mails"));
    assert_eq!(trust(&tampered, &[hex(&kernel())]), SignerTrust::Invalid);
}

/// A receipt whose parameters were exchanged together with their hash is caught by the signature; one signed
/// with a wrong hash by the hash. Neither is trusted.
#[test]
fn a_signed_receipt_with_a_wrong_parameter_hash_is_not_valid() {
    let mut wrong = draft("{}");
    wrong.action.parameter_hash = sha256(b"other");
    let report = verify(wrong.sign(&kernel()).unwrap().text());
    assert!(report.signature_valid && !report.parameter_hash_valid);
    assert_eq!(trust(&report, &[hex(&kernel())]), SignerTrust::Invalid);
    assert_eq!(report.reasons.len(), 1);
}

#[test]
fn white_space_and_member_order_do_not_matter_to_verification() {
    let receipt = draft(r#"{"big":18446744073709551615,"beyond":9007199254740993}"#).sign(&kernel()).unwrap();
    let value: serde_json::Value = serde_json::from_str(receipt.text()).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    assert!(verify(&pretty).valid(), "{:?}", verify(&pretty).reasons);
    let mut members: Vec<String> =
        value.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    members.reverse();
    assert!(verify(&format!("{{{}}}", members.join(" , "))).valid());
}

#[test]
fn verification_reports_on_foreign_malformed_input_and_never_fails() {
    let good = draft("{}").sign(&kernel()).unwrap().text().to_owned();
    let key = hex(&kernel()).to_string();
    let malformed = [
        String::new(),
        "\u{feff}{}".to_owned(),
        "[]".to_owned(),
        "5".to_owned(),
        "{}".to_owned(),
        r#"{"action":[],"decision":"allow","kernel_key":7,"signature":{}}"#.to_owned(),
        good.replace(&key, "not-a-public-key"),
        good.replace(&key, &key.to_uppercase()),
        good.replace(&key, &"00".repeat(32)),
        good.replace("\"verdict\":\"allow\"", "\"verdict\":\"maybe\""),
        good.replace("\"id\"", "\"timestamp\""),
        good.replacen('{', r#"{"algorithm":"p256","#, 1),
        format!("{good}{good}"),
        good[..good.len() - 1].to_owned(),
    ];
    for text in malformed {
        let report = verify(&text);
        assert!(!report.signature_valid && !report.valid(), "{text:.60}");
        assert!(!report.reasons.is_empty());
        assert_eq!(trust(&report, &[hex(&kernel())]), SignerTrust::Invalid);
    }
    // An explicit default algorithm is no change.
    assert!(verify(&good.replacen('{', r#"{"algorithm":"ed25519","#, 1)).valid());
}

#[test]
fn small_arguments_are_kept_whole_in_canonical_form() {
    let arguments = Json::from_text(r#"{ "b": 1e0, "a": 9007199254740993 }"#.to_owned()).unwrap();
    let kept = action(&arguments, 32).unwrap();
    assert_eq!(kept.parameters.get(), r#"{"a":9007199254740993,"b":1}"#);
    assert_eq!(kept.parameter_hash, hash_json(&arguments).unwrap());
}

#[test]
fn large_arguments_become_their_digest() {
    let arguments = Json::from_text(r#"{ "b": 1e0, "a": 9007199254740993 }"#.to_owned()).unwrap();
    let size = arguments.canonical().unwrap().len();
    assert_eq!(action(&arguments, size).unwrap().parameters.get(), arguments.canonical().unwrap());

    let digested = action(&arguments, size - 1).unwrap();
    let hash = hash_json(&arguments).unwrap();
    let expected = format!(r#"{{"chio_digest":{{"bytes":{size},"sha256":"{hash}"}}}}"#);
    assert_eq!(digested.parameters.get(), expected);
    assert_eq!(digested.parameter_hash, sha256(expected.as_bytes()));

    let receipt = ReceiptDraft { action: digested, ..draft("{}") }.sign(&kernel()).unwrap();
    assert!(verify(receipt.text()).valid());
}

#[test]
fn a_limit_of_zero_always_gives_the_digest() {
    for arguments in ["null", "{}", "0", r#""""#] {
        let digested = action(&Json::from_text(arguments.to_owned()).unwrap(), 0).unwrap();
        assert!(digested.parameters.get().starts_with(r#"{"chio_digest":"#), "{arguments}");
    }
}

#[test]
fn arguments_without_a_canonical_text_are_refused() {
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for arguments in [r#"{"a":1,"a":2}"#, r#""\ud800""#, &deep] {
        assert!(action(&Json::from_text(arguments.to_owned()).unwrap(), 1 << 20).is_err());
    }
}

#[test]
fn a_call_without_output_has_the_hash_of_null() {
    assert_eq!(content_hash(None).unwrap(), NULL_CONTENT_HASH);
    assert_eq!(content_hash(Some(&Json::null())).unwrap(), NULL_CONTENT_HASH);
    assert_eq!(sha256(b"null"), NULL_CONTENT_HASH);
}

#[test]
fn a_stream_is_hashed_over_the_hexadecimal_chunk_hashes() {
    let chunks = [r#"{"a": 1}"#, r#""text""#, "[1,2]"];
    let mut hasher = StreamHasher::new();
    let mut concatenated = String::new();
    for chunk in chunks {
        let chunk = Json::from_text(chunk.to_owned()).unwrap();
        concatenated.push_str(&hash_json(&chunk).unwrap().to_string());
        hasher.push(&chunk).unwrap();
    }
    assert!(hasher.push(&Json::from_text(r#"{"a":1,"a":1}"#.to_owned()).unwrap()).is_err());
    assert_eq!((hasher.chunks(), hasher.total_bytes()), (3, 18));
    let (hash, stream) = hasher.finish(None);
    assert_eq!(hash, sha256(concatenated.as_bytes()));
    assert_eq!((stream.chunks_expected, stream.chunks_received, stream.total_bytes), (None, 3, 18));
    assert_eq!(stream.chunk_hashes.len(), 3);

    let (empty, _) = StreamHasher::new().finish(Some(0));
    assert_eq!(empty, sha256(b""));
}

#[test]
fn equal_drafts_of_different_kernels_differ_only_in_key_and_signature() {
    let (one, other) = (draft("{}").sign(&kernel()).unwrap(), draft("{}").sign(&authority()).unwrap());
    let strip = |receipt: &Signed<Receipt>| {
        let mut value: serde_json::Value = serde_json::from_str(receipt.text()).unwrap();
        value["kernel_key"] = "".into();
        value["signature"] = "".into();
        value
    };
    assert_ne!(one, other);
    assert_eq!(strip(&one), strip(&other));
}
