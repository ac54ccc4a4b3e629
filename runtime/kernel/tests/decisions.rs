//! Every way in which the decision can end, each with its receipt.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chio_core::dpop;
use chio_core::hash::hash_json;
use chio_json::{Json, Signed};
use chio_kernel::{CallerSession, Target, UngovernedRequest};
use chio_spec::{
    ChioScope, Constraint, Decision, DpopNonce, ErrorCode, Operation, ResourceGrant, ServerId, ToolCallError,
    ToolCallResult, ToolName,
};
use chio_store::Revocation;
use fixture::*;
use serde_json::json;

fn denied(outcome: &chio_kernel::Outcome) -> (&str, &str) {
    match &outcome.decision {
        Decision::Deny(denial) => (&denial.guard, &denial.reason),
        other => panic!("not denied: {other:?}"),
    }
}

fn wire(outcome: &chio_kernel::Outcome) -> &ToolCallError {
    match &outcome.result {
        ToolCallResult::Err(error) => &error.error,
        other => panic!("not an error: {other:?}"),
    }
}

#[tokio::test]
async fn an_allowed_call_reaches_its_tool_and_leaves_evidence_of_every_step() {
    let f = Fixture::new();
    let outcome = f.call(request(&token("cap-1", grant("srv", "echo")), "echo", json!({"x": 1}))).await;
    assert_eq!(outcome.decision, Decision::Allow);
    assert!(outcome.logged && outcome.error.is_none());
    assert_eq!(f.server.calls(), 1);
    let names: Vec<_> = evidence(&outcome)
        .into_iter()
        .map(|(name, passed)| {
            assert!(passed);
            name
        })
        .collect();
    assert_eq!(
        names,
        [
            "emergency_stop",
            "structure",
            "signature",
            "validity_window",
            "revocation",
            "subject_binding",
            "scope",
            "tool_registry",
            "forbidden-path",
            "admission",
            "dispatch"
        ]
    );
    let view = receipt(&outcome);
    assert_eq!(view.action.parameters.get(), "{\"x\":1}");
    assert_eq!(view.content_hash, hash_json(&Json::from_value(&json!({"x": 1}))).unwrap());
    assert_eq!(metadata(&outcome)["attribution"]["grant_index"], 0);
    assert_eq!(metadata(&outcome)["request"], json!({"id": "req-1", "surface": "test"}));
}

#[tokio::test]
async fn a_malformed_token_is_a_denial_whose_receipt_keeps_only_a_digest() {
    let f = Fixture::new();
    let malformed = Signed::from_text("{\"id\":7}".to_owned()).unwrap();
    let outcome = f.call(request(&malformed, "echo", json!({"secret": "s"}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::CapabilityMalformed));
    assert!(matches!(wire(&outcome), ToolCallError::CapabilityDenied(_)));
    assert!(!outcome.receipt.text().contains("secret") && outcome.receipt.text().contains("chio_digest"));
    assert_eq!(f.server.calls(), 0);
}

#[tokio::test]
async fn a_tampered_token_and_an_untrusted_issuer_are_denied() {
    let f = Fixture::new();
    let good = token("cap-1", grant("srv", "echo"));
    let tampered = Signed::from_text(good.text().replace("\"echo\"", "\"*\"")).unwrap();
    let outcome = f.call(request(&tampered, "echo", json!({}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::CapabilitySignatureInvalid));

    let template = chio_core::capability::CapabilityTemplate {
        id: chio_spec::CapabilityId::new("cap-2").unwrap(),
        subject: agent().public().hex(),
        scope: scope(grant("srv", "echo")),
        issued_at: NOW,
        expires_at: NOW + 10,
        delegation_chain: vec![],
    };
    let foreign = chio_core::capability::issue(&key(77), template).unwrap();
    let outcome = f.call(request(&foreign, "echo", json!({}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::CapabilityIssuerUntrusted));
    assert_eq!(f.server.calls(), 0);
}

#[tokio::test]
async fn outside_the_window_either_way_is_capability_expired() {
    let token = token("cap-1", grant("srv", "echo"));
    let at = async |now| {
        let f = Fixture::new();
        f.clock.0.store(now, Ordering::SeqCst);
        f.call(request(&token, "echo", json!({}))).await
    };
    let late = at(NOW + 1000).await;
    assert_eq!(
        (late.error, wire(&late)),
        (Some(ErrorCode::CapabilityExpired), &ToolCallError::CapabilityExpired)
    );
    assert_eq!(at(NOW + 999).await.decision, Decision::Allow);
    assert_eq!(at(NOW - 10).await.decision, Decision::Allow);
    let early = at(NOW - 11).await;
    let not_yet = Some(ErrorCode::CapabilityNotYetValid);
    assert_eq!((early.error, wire(&early)), (not_yet, &ToolCallError::CapabilityExpired));
}

#[tokio::test]
async fn a_clock_that_went_back_denies_instead_of_reviving_expired_tokens() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "echo"));
    f.clock.0.store(NOW + 1000, Ordering::SeqCst);
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.error, Some(ErrorCode::CapabilityExpired));
    f.clock.0.store(NOW + 900, Ordering::SeqCst);
    let outcome = f.call(request(&token, "echo", json!({}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::InternalError));
    assert_eq!(f.server.calls(), 0);
}

#[tokio::test]
async fn a_stranger_writes_neither_text_nor_arguments_into_the_log() {
    let f = Fixture::new();
    let long = "x".repeat(60_000);
    let hostile = Signed::from_text(format!("{{\"{long}\":1}}")).unwrap();
    let outcome = f.call(request(&hostile, "echo", json!({"secret": long}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::CapabilityMalformed));
    assert!(outcome.receipt.text().len() < 8_000, "{}", outcome.receipt.text().len());
    let larger = Signed::from_text(format!("{{\"{}\":1}}", "x".repeat(70_000))).unwrap();
    let outcome = f.call(request(&larger, "echo", json!({}))).await;
    assert_eq!(denied(&outcome).1, "capability token is too large");
}

#[tokio::test]
async fn stopping_an_agent_stops_what_it_delegated() {
    let f = Fixture::new();
    let root = token("cap-root", delegable("srv", "*"));
    let child = child(&agent(), &root, "cap-child", key(3).public().hex(), scope(grant("srv", "echo")));
    let presented = || {
        let mut request = request(&child, "echo", json!({}));
        request.ancestors = vec![root.clone()];
        request
    };
    assert_eq!(f.call(presented()).await.decision, Decision::Allow);
    f.store.stop(Some(agent().public().hex().to_string()), NOW).await.unwrap();
    assert_eq!(f.call(presented()).await.error, Some(ErrorCode::EmergencyStop));
}

#[tokio::test]
async fn a_tool_server_that_cannot_say_what_it_offers_is_a_denial() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    f.server.broken.store(true, Ordering::SeqCst);
    let outcome = f.call(request(&token, "echo", json!({}))).await;
    assert_eq!((outcome.error, denied(&outcome).0), (Some(ErrorCode::ToolServerError), "tool_registry"));
}

#[tokio::test]
async fn a_revoked_token_is_denied_also_when_its_signature_is_cached() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "echo"));
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.decision, Decision::Allow);
    let revocation = Revocation { capability_id: "cap-1".into(), reason: "test".into(), revoked_at: NOW };
    assert!(f.store.revoke(revocation).await.unwrap());
    let outcome = f.call(request(&token, "echo", json!({}))).await;
    assert_eq!(wire(&outcome), &ToolCallError::CapabilityRevoked);
    assert_eq!(denied(&outcome).0, "revocation");
    assert_eq!(f.server.calls(), 1);
}

#[tokio::test]
async fn two_offline_attenuations_are_admitted_and_a_revoked_root_ends_them() {
    let f = Fixture::new();
    let (middle, leaf) = (key(3), key(4));
    let root = token("cap-root", delegable("srv", "*").with_max_invocations(5));
    let second = child(
        &agent(),
        &root,
        "cap-mid",
        middle.public().hex(),
        scope(delegable("srv", "echo").with_max_invocations(5)),
    );
    let third = child(
        &middle,
        &second,
        "cap-leaf",
        leaf.public().hex(),
        scope(grant("srv", "echo").with_max_invocations(2)),
    );
    let presented = || {
        let mut request = request(&third, "echo", json!({}));
        request.ancestors = vec![root.clone(), second.clone()];
        request
    };
    let unknown = f.call(request(&third, "echo", json!({}))).await;
    assert_eq!(unknown.error, Some(ErrorCode::DelegationAncestorUnknown));

    assert_eq!(f.call(presented()).await.decision, Decision::Allow);
    // Now the store knows the parents.
    assert_eq!(f.call(request(&third, "echo", json!({}))).await.decision, Decision::Allow);
    let spent = f.call(presented()).await;
    assert_eq!(spent.error, Some(ErrorCode::BudgetExhausted));
    assert_eq!(denied(&spent).0, "budget");
    assert_eq!(f.store.budget("cap-root", 0).await.unwrap().settled, 2);

    let revocation = Revocation { capability_id: "cap-root".into(), reason: "test".into(), revoked_at: NOW };
    f.store.revoke(revocation).await.unwrap();
    let dead = f.call(presented()).await;
    assert_eq!(dead.error, Some(ErrorCode::DelegationAncestorRevoked));
    assert_eq!(wire(&dead), &ToolCallError::CapabilityRevoked);
}

#[tokio::test]
async fn many_children_do_not_multiply_a_budget() {
    let f = Fixture::new();
    let root = token("cap-root", delegable("srv", "echo").with_max_invocations(3));
    let mut allowed = 0;
    for index in 0..4_u8 {
        let holder = key(20 + index).public().hex();
        let child = child(
            &agent(),
            &root,
            &format!("cap-{index}"),
            holder,
            scope(grant("srv", "echo").with_max_invocations(3)),
        );
        for _ in 0..2 {
            let mut request = request(&child, "echo", json!({}));
            request.ancestors = vec![root.clone()];
            allowed += u32::from(f.call(request).await.decision == Decision::Allow);
        }
    }
    assert_eq!(allowed, 3);
}

#[tokio::test]
async fn a_session_is_bound_to_the_first_subject_that_verifies() {
    let f = Fixture::new();
    let caller = CallerSession::new();
    let mine = token("cap-1", grant("srv", "echo"));
    let stolen = token_of("cap-2", scope(grant("srv", "echo")), key(5).public().hex());
    let mut first = request(&mine, "echo", json!({}));
    first.caller = Arc::clone(&caller);
    assert_eq!(f.call(first).await.decision, Decision::Allow);
    let mut second = request(&stolen, "echo", json!({}));
    second.caller = Arc::clone(&caller);
    let outcome = f.call(second).await;
    assert_eq!((outcome.error, denied(&outcome).0), (Some(ErrorCode::SubjectMismatch), "subject_binding"));
    assert_eq!(caller.capabilities(NOW), [mine]);
    assert!(caller.capabilities(NOW + 1000).is_empty());
}

#[tokio::test]
async fn scope_constraints_and_unknown_tools_are_denied_by_name() {
    let f = Fixture::new();
    let narrow = token("cap-1", grant("srv", "echo").with_constraints(vec![Constraint::MaxLength(3)]));
    let outside = f.call(request(&narrow, "fail", json!({}))).await;
    assert_eq!((outside.error, denied(&outside).0), (Some(ErrorCode::ScopeExceeded), "scope"));
    let long = f.call(request(&narrow, "echo", json!({"x": "four"}))).await;
    assert_eq!(long.error, Some(ErrorCode::ConstraintViolated));
    assert_eq!(f.call(request(&narrow, "echo", json!({"x": "abc"}))).await.decision, Decision::Allow);
    let unknown = f.call(request(&token("cap-2", grant("*", "*")), "nothing", json!({}))).await;
    assert_eq!((unknown.error, denied(&unknown).0), (Some(ErrorCode::ToolNotRegistered), "tool_registry"));
    assert!(matches!(wire(&unknown), ToolCallError::CapabilityDenied(_)));
    assert_eq!(f.server.calls(), 1);
}

#[tokio::test]
async fn a_grant_that_asks_for_a_proof_gets_a_fresh_one_each_time() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "echo").with_dpop_required(true));
    let arguments = json!({"x": 1});
    let missing = f.call(request(&token, "echo", arguments.clone())).await;
    assert_eq!((missing.error, denied(&missing).0), (Some(ErrorCode::DpopRequired), "dpop"));
    let proof = |holder: &chio_core::keys::SigningKey, nonce: &str| {
        let claims = dpop::DpopClaims {
            capability_id: token.view().unwrap().id.clone(),
            tool_server: ServerId::new("srv").unwrap(),
            tool_name: ToolName::new("echo").unwrap(),
            action_hash: hash_json(&Json::from_value(&arguments)).unwrap(),
            nonce: DpopNonce::new(nonce).unwrap(),
            issued_at: NOW,
        };
        dpop::make(holder, claims).unwrap()
    };
    let with = |proof| {
        let mut request = request(&token, "echo", arguments.clone());
        request.dpop_proof = Some(proof);
        request
    };
    assert_eq!(f.call(with(proof(&agent(), "n1"))).await.decision, Decision::Allow);
    let replayed = f.call(with(proof(&agent(), "n1"))).await;
    assert_eq!(replayed.error, Some(ErrorCode::DpopReplayed));
    assert_eq!(f.call(with(proof(&agent(), "n2"))).await.decision, Decision::Allow);
    let forged = f.call(with(proof(&key(5), "n3"))).await;
    assert_eq!(forged.error, Some(ErrorCode::DpopInvalid));
    let mut other_arguments = request(&token, "echo", json!({"x": 2}));
    other_arguments.dpop_proof = Some(proof(&agent(), "n4"));
    assert_eq!(f.call(other_arguments).await.error, Some(ErrorCode::DpopInvalid));
}

#[tokio::test]
async fn a_guard_denial_names_the_real_guard_and_its_rule() {
    let f = Fixture::new();
    let outcome =
        f.call(request(&token("cap-1", grant("srv", "*")), "echo", json!({"file": "a/../.env"}))).await;
    assert_eq!(denied(&outcome).0, "forbidden-path");
    assert_eq!(outcome.error, Some(ErrorCode::GuardDenied));
    let ToolCallError::PolicyDenied(denial) = wire(&outcome) else { panic!() };
    assert_eq!(denial.guard, "forbidden-path");
    assert_eq!(metadata(&outcome)["error"], json!({"code": 3100, "name": "guard_denied"}));
    assert!(metadata(&outcome)["rule"]["id"].is_string());
    assert_eq!(evidence(&outcome).last().unwrap(), &("forbidden-path".to_owned(), false));
    assert_eq!(f.server.calls(), 0);
}

#[tokio::test]
async fn the_emergency_stop_is_the_first_step_and_ends_running_calls() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    let (kernel, hanging) = (Arc::clone(&f.kernel), request(&token, "hang", json!({})));
    let running = tokio::spawn(async move { kernel.call(hanging).await });
    while f.server.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    f.store.stop(Some(agent().public().hex().to_string()), NOW).await.unwrap();
    let stopped = running.await.unwrap();
    assert!(matches!(stopped.decision, Decision::Cancelled(_)), "{:?}", stopped.decision);
    let outcome = f.call(request(&token, "echo", json!({}))).await;
    assert_eq!((outcome.error, denied(&outcome).0), (Some(ErrorCode::EmergencyStop), "emergency_stop"));
    f.store.resume(Some(agent().public().hex().to_string())).await.unwrap();
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.decision, Decision::Allow);
    f.store.stop(None, NOW).await.unwrap();
    let outcome = f.call(request(&token, "echo", json!({}))).await;
    assert_eq!(evidence(&outcome), [("emergency_stop".to_owned(), false)]);
}

#[tokio::test]
async fn a_tool_server_error_or_panic_is_a_denial_and_still_charged() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*").with_max_invocations(2));
    let failed = f.call(request(&token, "fail", json!({}))).await;
    assert_eq!(wire(&failed), &ToolCallError::ToolServerError("tool server error: no such file".into()));
    let panicked = f.call(request(&token, "panic", json!({}))).await;
    assert!(matches!(wire(&panicked), ToolCallError::ToolServerError(_)));
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.error, Some(ErrorCode::BudgetExhausted));
}

#[tokio::test]
async fn a_call_that_never_reached_its_server_is_a_denial_and_not_charged() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*").with_max_invocations(1));
    let unreached = f.call(request(&token, "unreachable", json!({}))).await;
    assert_eq!(unreached.error, Some(ErrorCode::ServerUnavailable));
    assert!(matches!(unreached.decision, Decision::Deny(_)));
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.decision, Decision::Allow);
}

#[tokio::test]
async fn upstream_death_and_a_short_stream_are_incomplete() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    let died = f.call(request(&token, "die", json!({}))).await;
    assert!(matches!(died.decision, Decision::Incomplete(_)));
    assert_eq!(died.error, Some(ErrorCode::ToolInterrupted));
    let short = f.call(request(&token, "short_stream", json!({}))).await;
    let ToolCallResult::Incomplete(result) = &short.result else { panic!("{:?}", short.result) };
    assert_eq!(result.chunks_received, 2);
}

#[tokio::test]
async fn a_deadline_makes_the_call_incomplete_and_tells_the_server() {
    let f = Fixture::with_policy("kernel: { tool_timeout: 1 }\n");
    let outcome = f.call(request(&token("cap-1", grant("srv", "*")), "hang", json!({}))).await;
    assert_eq!(outcome.error, Some(ErrorCode::ToolDeadlineExceeded));
    assert!(matches!(outcome.decision, Decision::Incomplete(_)));
    assert_eq!(f.server.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_caller_that_is_gone_leaves_a_cancelled_receipt() {
    let f = Fixture::new();
    let hanging = request(&token("cap-1", grant("srv", "*")), "hang", json!({}));
    let _ = tokio::time::timeout(Duration::from_millis(200), f.kernel.call(hanging)).await.unwrap_err();
    for _ in 0..100 {
        let query = chio_store::Query { outcome: Some(chio_store::Outcome::Cancelled), ..Default::default() };
        if f.store.receipts(query).await.unwrap().len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no receipt of the cancelled call");
}

#[tokio::test]
async fn a_call_that_was_cancelled_while_it_waited_costs_nothing() {
    let f = Fixture::new();
    let request = request(&token("cap-1", grant("srv", "echo").with_max_invocations(1)), "echo", json!({}));
    request.cancel.cancel();
    let outcome = f.call(request).await;
    assert!(matches!(outcome.decision, Decision::Cancelled(_)));
    assert_eq!(f.server.calls(), 0);
    let usage = f.store.budget("cap-1", 0).await.unwrap();
    assert_eq!((usage.settled, usage.reserved), (0, 0));
}

#[tokio::test]
async fn streams_are_hashed_chunk_by_chunk() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    let (request_with_chunks, mut chunks) = with_chunks(request(&token, "stream", json!({})));
    let outcome = f.call(request_with_chunks).await;
    let ToolCallResult::StreamComplete(result) = &outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(result.total_chunks, 2);
    assert_eq!(chunks.recv().await.unwrap().get(), "{\"a\":1}");
    assert_eq!(chunks.recv().await.unwrap().get(), "{\"b\":2}");
    // The public value for these two chunks.
    let public = "cbcf92dd6bcfbe2502f96ea45d6b4d836e73597c7d91177feb7908be88c79b1e";
    assert_eq!(receipt(&outcome).content_hash.to_string(), public);
    let collected = f.call(request(&token, "stream", json!({}))).await;
    let ToolCallResult::Ok(result) = &collected.result else { panic!() };
    assert_eq!(result.value.get(), "[{\"a\":1},{\"b\":2}]");
    assert_eq!(receipt(&collected).content_hash.to_string(), public);
    let endless = f.call(request(&token, "endless", json!({}))).await;
    assert!(matches!(endless.decision, Decision::Deny(_)));
}

#[tokio::test]
async fn a_result_that_is_too_large_or_ambiguous_is_withheld() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    let mut small = request(&token, "echo", json!({"x": "0123456789"}));
    small.result_limit = 10;
    let outcome = f.call(small).await;
    assert_eq!(outcome.error, Some(ErrorCode::ToolResultTooLarge));
    let twice = f.call(request(&token, "twice", json!({}))).await;
    assert_eq!(twice.error, Some(ErrorCode::ToolServerError));
}

#[tokio::test]
async fn large_arguments_are_recorded_by_digest() {
    let f = Fixture::with_policy("kernel: { receipt_parameter_limit: 16 }\n");
    let outcome =
        f.call(request(&token("cap-1", grant("srv", "*")), "echo", json!({"x": "0123456789abcdef"}))).await;
    assert_eq!(outcome.decision, Decision::Allow);
    let parameters = receipt(&outcome).action.parameters.to_value().unwrap();
    assert_eq!(parameters["chio_digest"]["bytes"], 24);
}

#[tokio::test]
async fn a_second_token_under_a_known_id_is_denied() {
    let f = Fixture::new();
    assert_eq!(
        f.call(request(&token("cap-1", grant("srv", "echo")), "echo", json!({}))).await.decision,
        Decision::Allow
    );
    let other = token("cap-1", grant("srv", "*"));
    assert_eq!(f.call(request(&other, "echo", json!({}))).await.error, Some(ErrorCode::CapabilityIdConflict));
}

#[tokio::test]
async fn resources_need_a_resource_grant_and_pass_the_guards() {
    let f = Fixture::new();
    let scope = ChioScope::new()
        .with_resource_grants(vec![ResourceGrant::new(vec![Operation::Read], "file:///*".to_owned())]);
    let token = token_of("cap-1", scope, agent().public().hex());
    let read = |uri: &str, subscribe| {
        let mut request = request(&token, "x", json!({"uri": uri}));
        let method = ToolName::new(if subscribe { "resources/subscribe" } else { "resources/read" }).unwrap();
        request.target = Target::Resource { method, uri: uri.to_owned(), subscribe };
        request
    };
    let allowed = f.call(read("file:///srv/a.txt", false)).await;
    assert_eq!(allowed.decision, Decision::Allow);
    assert_eq!(receipt(&allowed).tool_name.as_str(), "resources/read");
    assert_eq!(f.call(read("file:///srv/a.txt", true)).await.error, Some(ErrorCode::ScopeExceeded));
    assert_eq!(f.call(read("http://x/a", false)).await.error, Some(ErrorCode::ScopeExceeded));
    assert_eq!(f.call(read("file:///srv/%2eenv", false)).await.error, Some(ErrorCode::GuardDenied));
}

#[tokio::test]
async fn what_is_not_governed_is_refused_with_a_receipt() {
    let f = Fixture::new();
    let refusal = UngovernedRequest {
        request_id: "s1".to_owned(),
        surface: "test",
        caller: None,
        capability: None,
        server_id: ServerId::new("srv").unwrap(),
        method: ToolName::new("sampling/createMessage").unwrap(),
        params: Json::from_value(&json!({"messages": []})),
    };
    let outcome = f.kernel.refuse(refusal).await;
    f.check_receipt(&outcome).await;
    assert_eq!(outcome.error, Some(ErrorCode::MethodNotGoverned));
}

#[tokio::test]
async fn a_hundred_concurrent_calls_on_a_budget_of_ten_admit_exactly_ten() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "slow").with_max_invocations(10));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (kernel, request) = (Arc::clone(&f.kernel), request(&token, "slow", json!({})));
            tokio::spawn(async move { kernel.call(request).await.decision })
        })
        .collect();
    let mut allowed = 0;
    for call in calls {
        allowed += u32::from(call.await.unwrap() == Decision::Allow);
    }
    assert_eq!((allowed, f.server.calls()), (10, 10));
    assert_eq!(f.store.head().await.unwrap().size, 100);
}

#[tokio::test]
async fn checkpoints_chain_and_verify() {
    let f = Fixture::new();
    let token = token("cap-1", grant("srv", "*"));
    for _ in 0..3 {
        f.call(request(&token, "echo", json!({}))).await;
        f.kernel.checkpoint().await.unwrap().expect("there is news");
    }
    assert!(f.kernel.checkpoint().await.unwrap().is_none());
    let checkpoints = f.store.checkpoints().await.unwrap();
    assert_eq!(checkpoints.iter().map(|checkpoint| checkpoint.tree_size).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn the_self_test_passes_on_a_sound_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let store = chio_store::SqliteStore::open(dir.path(), &chio_store::SqliteOptions::default()).unwrap();
    chio_kernel::self_test(Arc::new(key(9)), Arc::new(store)).await.unwrap();
}
