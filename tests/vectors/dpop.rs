//! Proofs of possession.

use chio_core::dpop::{DpopFault, Expected, verify};
use chio_core::hash::hash_json;
use chio_core::keys::PublicKey;
use chio_json::{Json, strict};
use chio_spec::DpopProof;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{HOLDER, NOW, STRANGER, hash, public, signature, tampered, text, with};

pub(crate) enum Dpop {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    proof: String,
    call: Call,
    fault: Option<String>,
    /// The nonce may be forgotten after this moment.
    keep_until: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Call {
    capability_id: String,
    tool_server: String,
    tool_name: String,
    arguments: String,
    subject: String,
    now: u64,
}

impl Family for Dpop {
    const NAME: &'static str = "dpop";
    const ABOUT: &'static str = "Whether `proof` covers `call`, made under a capability whose subject is `subject`: \
        null, or the first `fault` in the order key, action, time, signature. A proof counts from 30 seconds before \
        to 300 seconds after it was made; its nonce must be remembered until `keep_until`.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let arguments = json!({"id": 9_007_199_254_740_993_u64, "path": "/srv/a"});
        let body = json!({
            "action_hash": hash(&arguments),
            "agent_key": public(HOLDER),
            "capability_id": "cap-root",
            "issued_at": NOW,
            "nonce": "n-1",
            "schema": "chio.dpop_proof.v1",
            "tool_name": "read",
            "tool_server": "files",
        });
        let call = Call {
            capability_id: "cap-root".into(),
            tool_server: "files".into(),
            tool_name: "read".into(),
            arguments: r#"{ "path": "/srv/a", "id": 9007199254740993 }"#.into(),
            subject: public(HOLDER),
            now: NOW,
        };
        let proof = proof(&body, HOLDER);
        let case = |id: &str, about: &str, proof: &Value, call: Call, fault: Option<&str>| {
            let keep_until = fault.is_none().then_some(NOW + 330);
            named(id, about, Case { proof: text(proof), call, fault: fault.map(Into::into), keep_until })
        };
        let at = |id, about, now, fault| case(id, about, &proof, Call { now, ..call.clone() }, fault);
        let mut cases = vec![
            case("valid", "the arguments need not be canonical", &proof, call.clone(), None),
            at("time-skew", "the caller's clock is half a minute ahead", NOW - 30, None),
            at("time-future", "one second more", NOW - 31, Some("from_the_future")),
            at("time-last", "five minutes old", NOW + 300, None),
            at("time-expired", "one second more", NOW + 301, Some("expired")),
            case(
                "other-arguments",
                "one digit differs",
                &proof,
                Call { arguments: r#"{"id":9007199254740992,"path":"/srv/a"}"#.into(), ..call.clone() },
                Some("action_hash"),
            ),
            case(
                "other-capability",
                "",
                &proof,
                Call { capability_id: "cap-1".into(), ..call.clone() },
                Some("capability_id"),
            ),
            case(
                "other-server",
                "",
                &proof,
                Call { tool_server: "mail".into(), ..call.clone() },
                Some("tool_server"),
            ),
            case(
                "other-tool",
                "",
                &proof,
                Call { tool_name: "write".into(), ..call.clone() },
                Some("tool_name"),
            ),
            case(
                "other-subject",
                "the thief's token belongs to somebody else",
                &proof,
                Call { subject: public(STRANGER), ..call.clone() },
                Some("wrong_key"),
            ),
            case(
                "other-signer",
                "the subject's name, a stranger's signature",
                &self::proof(&body, STRANGER),
                call.clone(),
                Some("signature"),
            ),
            case(
                "tampered-nonce",
                "a fresh nonce under an old signature",
                &tampered(&proof, "/body/nonce"),
                call.clone(),
                Some("signature"),
            ),
            case(
                "tampered-time",
                "a fresh time under an old signature",
                &tampered(&proof, "/body/issued_at"),
                call.clone(),
                Some("signature"),
            ),
            case("tampered-signature", "", &tampered(&proof, "/signature"), call.clone(), Some("signature")),
        ];
        for (id, about, body) in [
            ("unknown-version", "another kind of proof", with(&body, "schema", json!("chio.dpop_proof.v2"))),
            ("empty-nonce", "a nonce has at least one character", with(&body, "nonce", json!(""))),
            ("long-nonce", "and at most 256", with(&body, "nonce", json!("n".repeat(257)))),
            ("unknown-member", "a closed object", with(&body, "note", json!(1))),
        ] {
            cases.push(case(id, about, &self::proof(&body, HOLDER), call.clone(), Some("malformed")));
        }
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let Ok(proof) = strict::from_str::<DpopProof>(&case.proof) else {
            return same("fault", case.fault.as_deref(), Some("malformed"));
        };
        let arguments = Json::from_text(case.call.arguments.clone()).unwrap();
        let expected = Expected {
            capability_id: &case.call.capability_id,
            tool_server: &case.call.tool_server,
            tool_name: &case.call.tool_name,
            action_hash: &hash_json(&arguments).unwrap(),
            subject: &PublicKey::parse(&case.call.subject).unwrap(),
            now: case.call.now,
        };
        match verify(&proof, &expected) {
            Ok(claim) => {
                same("fault", case.fault.as_deref(), None)?;
                same("nonce", proof.body.nonce.to_string(), claim.nonce)?;
                same("keep_until", case.keep_until, Some(claim.keep_until))
            }
            Err(fault) => same("fault", case.fault.as_deref(), Some(name(&fault))),
        }
    }
}

fn proof(body: &Value, signer: u8) -> Value {
    json!({"body": body, "signature": signature(body, signer)})
}

fn name(fault: &DpopFault) -> &'static str {
    match fault {
        DpopFault::WrongKey { .. } => "wrong_key",
        DpopFault::WrongAction { field } => field,
        DpopFault::FromTheFuture { .. } => "from_the_future",
        DpopFault::Expired { .. } => "expired",
        DpopFault::Signature => "signature",
        _ => "another fault",
    }
}
