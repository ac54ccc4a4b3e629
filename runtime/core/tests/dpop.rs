//! Proof of possession: one proof, one call, for minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::dpop::{
    DpopClaims, DpopFault, Expected, LIFETIME_SECONDS, NonceClaim, SKEW_SECONDS, make, verify,
};
use chio_core::hash::sha256;
use chio_core::keys::PublicKey;
use chio_json::{Sha256Hex, SignatureHex};
use chio_spec::{DpopNonce, DpopProof, ErrorCode, ServerId, ToolName};
use fixture::*;

const AT: u64 = START + 1_000;

fn claims() -> DpopClaims {
    DpopClaims {
        capability_id: id("cap-1"),
        tool_server: ServerId::new("files").unwrap(),
        tool_name: ToolName::new("read").unwrap(),
        action_hash: sha256(b"{}"),
        nonce: DpopNonce::new("nonce-1").unwrap(),
        issued_at: AT,
    }
}

struct Call {
    capability_id: &'static str,
    tool_server: &'static str,
    tool_name: &'static str,
    action_hash: Sha256Hex,
    subject: PublicKey,
    now: u64,
}

fn call() -> Call {
    Call {
        capability_id: "cap-1",
        tool_server: "files",
        tool_name: "read",
        action_hash: sha256(b"{}"),
        subject: holder(0).public(),
        now: AT,
    }
}

fn check(proof: &DpopProof, call: &Call) -> Result<NonceClaim, DpopFault> {
    verify(
        proof,
        &Expected {
            capability_id: call.capability_id,
            tool_server: call.tool_server,
            tool_name: call.tool_name,
            action_hash: &call.action_hash,
            subject: &call.subject,
            now: call.now,
        },
    )
}

#[test]
fn a_proof_covers_exactly_its_call() {
    let proof = make(&holder(0), claims()).unwrap();
    let claim = check(&proof, &call()).unwrap();
    assert_eq!(claim.key, hex(&holder(0)));
    assert_eq!(claim.nonce, "nonce-1");

    let other_calls = [
        ("capability_id", Call { capability_id: "cap-2", ..call() }),
        ("tool_server", Call { tool_server: "mail", ..call() }),
        ("tool_name", Call { tool_name: "write", ..call() }),
        ("action_hash", Call { action_hash: sha256(b"[]"), ..call() }),
    ];
    for (field, call) in other_calls {
        let fault = check(&proof, &call).unwrap_err();
        assert_eq!(fault, DpopFault::WrongAction { field });
        assert_eq!(fault.code(), ErrorCode::DpopInvalid);
        assert_eq!(fault.reason(), "DPoP proof does not match this call");
    }
}

#[test]
fn a_proof_of_another_key_is_refused() {
    let proof = make(&holder(1), claims()).unwrap();
    assert!(matches!(check(&proof, &call()), Err(DpopFault::WrongKey { .. })));
    // Naming the right key does not help without its signature.
    let mut forged = proof;
    forged.body.agent_key = hex(&holder(0));
    assert_eq!(check(&forged, &call()), Err(DpopFault::Signature));
}

#[test]
fn the_lifetime_is_300_seconds_and_the_skew_30() {
    assert_eq!((LIFETIME_SECONDS, SKEW_SECONDS), (300, 30));
    let proof = make(&holder(0), claims()).unwrap();
    let at = |now| check(&proof, &Call { now, ..call() });
    assert!(matches!(at(AT - 31), Err(DpopFault::FromTheFuture { .. })));
    assert!(at(AT - 30).is_ok());
    assert!(at(AT + 300).is_ok());
    assert!(matches!(at(AT + 301), Err(DpopFault::Expired { .. })));
    assert!(at(0).is_err() && at(u64::MAX).is_err());
}

/// As long as any proof with the nonce could still be accepted, the claim is kept, even by a clock that runs
/// behind.
#[test]
fn a_nonce_is_kept_until_no_clock_within_the_skew_accepts_its_proof() {
    let proof = make(&holder(0), claims()).unwrap();
    let claim = check(&proof, &Call { now: AT - 30, ..call() }).unwrap();
    assert_eq!(claim.keep_until, AT + 330);
    assert!(check(&proof, &Call { now: claim.keep_until + 1 - SKEW_SECONDS, ..call() }).is_err());
}

#[test]
fn every_changed_member_is_refused() {
    let good = make(&holder(0), claims()).unwrap();
    let mut changed = good.clone();
    changed.body.nonce = DpopNonce::new("nonce-2").unwrap();
    assert_eq!(check(&changed, &call()), Err(DpopFault::Signature));
    let mut changed = good.clone();
    changed.body.issued_at += 1;
    assert_eq!(check(&changed, &call()), Err(DpopFault::Signature));
    for bit in (0..512).step_by(7) {
        let mut bytes = *good.signature.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut changed = good.clone();
        changed.signature = SignatureHex::from_bytes(bytes);
        assert_eq!(check(&changed, &call()), Err(DpopFault::Signature), "bit {bit}");
    }
}

#[test]
fn the_checks_run_in_the_public_order() {
    // Wrong in every way: the first check answers.
    let mut proof = make(&holder(1), DpopClaims { issued_at: 0, ..claims() }).unwrap();
    proof.body.tool_name = ToolName::new("write").unwrap();
    assert!(matches!(check(&proof, &call()), Err(DpopFault::WrongKey { .. })));
    proof.body.agent_key = hex(&holder(0));
    assert!(matches!(check(&proof, &call()), Err(DpopFault::WrongAction { field: "tool_name" })));
    proof.body.tool_name = ToolName::new("read").unwrap();
    assert!(matches!(check(&proof, &call()), Err(DpopFault::Expired { .. })));
    proof.body.issued_at = AT;
    assert_eq!(check(&proof, &call()), Err(DpopFault::Signature));
}

#[test]
fn another_version_is_not_a_proof() {
    let text = serde_json::to_string(&make(&holder(0), claims()).unwrap()).unwrap();
    assert!(serde_json::from_str::<DpopProof>(&text).is_ok());
    assert!(serde_json::from_str::<DpopProof>(&text.replace("dpop_proof.v1", "dpop_proof.v2")).is_err());
    assert!(serde_json::from_str::<DpopProof>(&text.replace("nonce-1", "")).is_err());
}
