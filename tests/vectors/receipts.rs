//! Receipts.

use chio_core::receipt::{SignerTrust, trust, verify};
use chio_json::strict;
use chio_spec::Receipt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{
    AUTHORITY, HOLDER, KERNEL, NOW, STRANGER, hash, public, sign, tampered, text, with, without,
};

pub(crate) enum Receipts {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    receipt: String,
    trusted: Vec<String>,
    expected: Expected,
}

#[derive(Serialize, Deserialize)]
struct Expected {
    signature_valid: bool,
    parameter_hash_valid: bool,
    decision: Option<String>,
    trust: String,
    conforms: bool,
}

impl Family for Receipts {
    const NAME: &'static str = "receipts";
    const ABOUT: &'static str = "What `receipt`, in exactly this text, proves: whether the key that it names signed it, \
        whether `parameter_hash` is the hash of the parameters in it, the verdict (null when it is none of the four), \
        and the `trust` of a reader who trusts the keys in `trusted`: `trusted`, `integrity_only` (valid, by a key \
        that nothing vouches for) or `invalid`. `conforms`: whether it is a `chio.receipt.v1` and nothing else.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let receipt = sign(body(), KERNEL);
        let mut cases = sound(&receipt);
        for member in receipt.as_object().unwrap().keys() {
            let spoilt = tampered(&receipt, &format!("/{member}"));
            let conforms = !matches!(member.as_str(), "action" | "decision");
            let verdict = Some("allow");
            cases.push(case(
                &format!("tampered-{member}"),
                "changed after it was signed",
                &text(&spoilt),
                (false, true, verdict, "invalid", conforms),
            ));
        }
        cases.extend(odd(&receipt));
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let report = verify(&case.receipt);
        let trusted: Vec<_> = case.trusted.iter().map(|key| key.parse().unwrap()).collect();
        let signer = match trust(&report, &trusted) {
            SignerTrust::Trusted => "trusted",
            SignerTrust::IntegrityOnly => "integrity_only",
            SignerTrust::Invalid => "invalid",
        };
        same("signature_valid", case.expected.signature_valid, report.signature_valid)?;
        same("parameter_hash_valid", case.expected.parameter_hash_valid, report.parameter_hash_valid)?;
        same("decision", case.expected.decision.clone(), report.decision)?;
        same("trust", case.expected.trust.as_str(), signer)?;
        same("conforms", case.expected.conforms, strict::from_str::<Receipt>(&case.receipt).is_ok())
    }
}

type Verdicts<'a> = (bool, bool, Option<&'a str>, &'a str, bool);

fn case(id: &str, about: &str, receipt: &str, expected: Verdicts<'_>) -> Named<Case> {
    let (signature_valid, parameter_hash_valid, decision, trust, conforms) = expected;
    let decision = decision.map(Into::into);
    let expected =
        Expected { signature_valid, parameter_hash_valid, decision, trust: trust.into(), conforms };
    named(id, about, Case { receipt: receipt.into(), trusted: vec![public(KERNEL)], expected })
}

/// An allowed call, with everything that this kernel writes.
pub(crate) fn body() -> Value {
    let parameters = json!({"id": 9_007_199_254_740_993_u64, "path": "/srv/\u{e9}"});
    json!({
        "action": {"parameter_hash": hash(&parameters), "parameters": parameters},
        "capability_id": "cap-root",
        "content_hash": hash(&json!({"ok": true})),
        "decision": {"verdict": "allow"},
        "evidence": [
            {"guard_name": "capability", "verdict": true},
            {"details": "grants[0]", "guard_name": "scope", "verdict": true},
        ],
        "id": "rcpt-1",
        "kernel_key": public(KERNEL),
        "metadata": {
            "attribution": {
                "delegation_depth": 0,
                "grant_index": 0,
                "issuer_key": public(AUTHORITY),
                "subject_key": public(HOLDER),
            },
            "request": {"id": "req-1", "surface": "native"},
        },
        "policy_hash": hash(&json!({"version": 1})),
        "timestamp": NOW,
        "tool_name": "read",
        "tool_server": "files",
    })
}

fn sound(receipt: &Value) -> Vec<Named<Case>> {
    let nothing = hash(&Value::Null);
    let decided = |id: &str, about: &str, decision: Value, error: Value, content_hash: &str| {
        let verdict = decision["verdict"].as_str().unwrap().to_owned();
        let mut body = with(&with(&body(), "decision", decision), "content_hash", json!(content_hash));
        if !error.is_null() {
            body["metadata"]["error"] = error;
        }
        case(id, about, &text(&sign(body, KERNEL)), (true, true, Some(&verdict), "trusted", true))
    };
    let good = (true, true, Some("allow"), "trusted", true);
    let allowed = |id: &str, about: &str, body: Value| case(id, about, &text(&sign(body, KERNEL)), good);
    let mut foreign = body();
    foreign["kernel_key"] = json!(public(STRANGER));
    let digest = json!({"chio_digest": {"bytes": 65_536, "sha256": hash(&json!("x".repeat(65_534)))}});
    let chunks = [hash(&json!({"a": 1})), hash(&json!({"b": 2}))];
    let stream =
        json!({"chunk_hashes": chunks, "chunks_expected": null, "chunks_received": 2, "total_bytes": 14});
    let streamed = chio_core::hash::sha256(chunks.concat().as_bytes()).to_string();
    let minimal = ["evidence", "metadata"].iter().fold(body(), |body, member| without(&body, member));
    vec![
        case("allow", "an allowed call", &text(receipt), good),
        decided(
            "deny",
            "by a guard, with the rule's place",
            json!({"guard": "forbidden_path", "reason": "path is forbidden", "verdict": "deny"}),
            json!({"code": 3001, "name": "guard_denied"}),
            &nothing,
        ),
        decided(
            "cancelled",
            "the caller went away",
            json!({"reason": "the caller closed the connection", "verdict": "cancelled"}),
            Value::Null,
            &nothing,
        ),
        decided(
            "incomplete",
            "the outcome at the tool is unknown",
            json!({"reason": "the kernel ended during the call", "verdict": "incomplete"}),
            Value::Null,
            &nothing,
        ),
        allowed("stream", "the content hash covers the chunk hashes", {
            let mut body = with(&body(), "content_hash", json!(streamed));
            body["metadata"]["stream"] = stream;
            body
        }),
        allowed(
            "large-arguments",
            "only their digest is kept; the parameter hash is the hash of that",
            with(&body(), "action", json!({"parameter_hash": hash(&digest), "parameters": digest})),
        ),
        allowed("minimal", "without evidence and metadata", minimal),
        allowed(
            "trust-level",
            "a receipt that only advises, for a tenant",
            with(&with(&body(), "trust_level", json!("advisory")), "tenant_id", json!("tenant-1")),
        ),
        case(
            "algorithm",
            "the algorithm may be named, outside the signed bytes",
            &text(&with(receipt, "algorithm", json!("ed25519"))),
            good,
        ),
        case("spaced", "white space is not signed", &serde_json::to_string_pretty(receipt).unwrap(), good),
        case(
            "foreign",
            "valid, by a kernel that nothing vouches for",
            &text(&sign(foreign, STRANGER)),
            (true, true, Some("allow"), "integrity_only", true),
        ),
    ]
}

fn odd(receipt: &Value) -> Vec<Named<Case>> {
    let whole = text(receipt);
    let signed = |edit: fn(&mut Value)| {
        let mut body = body();
        edit(&mut body);
        text(&sign(body, KERNEL))
    };
    let rounded = whole.replace("9007199254740993", "9007199254740992");
    assert_ne!(rounded, whole);
    let upper = receipt["signature"].as_str().unwrap().to_uppercase();
    let allow = Some("allow");
    vec![
        case(
            "rounded-argument",
            "what a reader that keeps numbers as doubles would make of it",
            &rounded,
            (false, false, allow, "invalid", true),
        ),
        case(
            "other-signer",
            "signed by another key than it names",
            &text(&sign(receipt.clone(), STRANGER)),
            (false, true, allow, "invalid", true),
        ),
        case(
            "other-parameters",
            "signed, but the hash is of other parameters",
            &signed(|body| body["action"]["parameters"]["path"] = json!("/etc")),
            (true, false, allow, "invalid", true),
        ),
        case(
            "verdict-changed",
            "a denial for an allowance",
            &text(&with(receipt, "decision", json!({"guard": "x", "reason": "y", "verdict": "deny"}))),
            (false, true, Some("deny"), "invalid", true),
        ),
        case(
            "verdict-unknown",
            "signed, but no verdict of this protocol",
            &signed(|body| body["decision"] = json!({"verdict": "maybe"})),
            (true, true, None, "invalid", false),
        ),
        case(
            "verdict-missing",
            "signed, but undecided",
            &signed(|body| body["decision"] = json!({})),
            (true, true, None, "invalid", false),
        ),
        case(
            "unknown-member",
            "signed by a kernel of another version: valid, but not this schema",
            &signed(|body| body["note"] = json!(1)),
            (true, true, allow, "trusted", false),
        ),
        case(
            "other-algorithm",
            "only Ed25519 is known",
            &text(&with(receipt, "algorithm", json!("p256"))),
            (false, true, allow, "invalid", false),
        ),
        case(
            "weak-key",
            "a key of small order signs nothing",
            &text(&with(
                receipt,
                "kernel_key",
                json!("0100000000000000000000000000000000000000000000000000000000000000"),
            )),
            (false, true, allow, "invalid", true),
        ),
        case(
            "upper-case-signature",
            "one text for one signature",
            &text(&with(receipt, "signature", json!(upper))),
            (false, true, allow, "invalid", false),
        ),
        case(
            "signature-missing",
            "",
            &text(&without(receipt, "signature")),
            (false, true, allow, "invalid", false),
        ),
        case(
            "action-missing",
            "",
            &text(&without(receipt, "action")),
            (false, false, allow, "invalid", false),
        ),
        case(
            "duplicate-member",
            "two readers could see two verdicts",
            &whole.replacen("\"decision\"", "\"decision\":{\"verdict\":\"deny\"},\"decision\"", 1),
            (false, false, None, "invalid", false),
        ),
        case("not-an-object", "", "[]", (false, false, None, "invalid", false)),
        case("not-json", "cut short", &whole[..whole.len() - 1], (false, false, None, "invalid", false)),
    ]
}
