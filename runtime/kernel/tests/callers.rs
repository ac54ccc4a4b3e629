//! Who called, which model asked, and what a server may ask of its client.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod fixture;

use std::sync::Arc;

use chio_kernel::{CallerSession, Patience, Target};
use chio_policy::Identity;
use chio_spec::{
    ChioScope, Decision, ErrorCode, ModelId, ModelMetadata, ProvenanceClass, ReceiptCallerMethod, SafetyTier,
    ToolName,
};
use fixture::*;
use serde_json::json;

fn client_request(method: &str) -> Target {
    Target::ClientRequest { method: ToolName::new(method).unwrap() }
}

#[tokio::test]
async fn a_request_to_the_client_needs_a_grant_of_exactly_its_method() {
    let f = Fixture::new();
    for (granted, allowed) in [
        ("*", false),
        ("roots/list", false),
        ("sampling/createMessag", false),
        ("sampling/createMessage", true),
    ] {
        let token = token(&format!("cap-{granted}"), grant("*", granted));
        let mut request = request(&token, "echo", json!({"messages": []}));
        request.target = client_request("sampling/createMessage");
        let outcome = f.call(request).await;
        assert_eq!(outcome.decision == Decision::Allow, allowed, "{granted}: {:?}", outcome.decision);
        assert_eq!(receipt(&outcome).tool_name.as_str(), "sampling/createMessage");
        if !allowed {
            assert_eq!(outcome.error, Some(ErrorCode::ScopeExceeded));
        }
    }
}

#[tokio::test]
async fn a_request_to_the_client_is_denied_without_any_grant_and_leaves_a_receipt() {
    let f = Fixture::new();
    let token = token_of("cap-none", ChioScope::new(), agent().public().hex());
    let mut request = request(&token, "echo", json!({}));
    request.target = client_request("elicitation/create");
    let outcome = f.call(request).await;
    assert_eq!(outcome.error, Some(ErrorCode::ScopeExceeded));
    assert!(outcome.logged);
}

#[tokio::test]
async fn receipts_name_the_authenticated_caller_and_its_session() {
    let f = Fixture::new();
    let identity = Identity {
        issuer: Some("https://id.example".to_owned()),
        subject: Some("alice".to_owned()),
        client_id: Some("chio-cli".to_owned()),
        ..Identity::named(ReceiptCallerMethod::OauthBearer, "https://id.example#alice")
    };
    let mut request = request(&token("cap", grant("srv", "echo")), "echo", json!({}));
    request.caller = Arc::new(CallerSession::of(Arc::new(identity), Some("session-1".to_owned())));
    let metadata = metadata(&f.call(request).await);
    assert_eq!(
        metadata["caller"],
        json!({
            "client_id": "chio-cli", "issuer": "https://id.example", "method": "oauth_bearer",
            "principal": "https://id.example#alice", "subject": "alice",
        })
    );
    assert_eq!(metadata["request"]["session_id"], "session-1");
}

#[tokio::test]
async fn model_metadata_is_asserted_in_receipts_even_when_the_caller_marks_it_verified() {
    let f = Fixture::new();
    let model = ModelMetadata::new(ModelId::new("model-9").unwrap())
        .with_provenance_class(ProvenanceClass::Verified)
        .with_safety_tier(SafetyTier::High);
    let mut request = request(&token("cap", grant("srv", "echo")), "echo", json!({}));
    request.model = Some(model);
    let metadata = metadata(&f.call(request).await);
    assert_eq!(
        metadata["model_metadata"],
        json!({"model_id": "model-9", "provenance_class": "asserted", "safety_tier": "high"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_has_the_policys_task_timeout() {
    let f = Fixture::with_policy("kernel: {tool_timeout: 1, task_timeout: 5}\n");
    for (patience, seconds) in [(Patience::Call, 1), (Patience::Task, 5)] {
        let mut request = request(&token("cap", grant("srv", "hang")), "hang", json!({}));
        request.patience = patience;
        let begun = tokio::time::Instant::now();
        let outcome = f.call(request).await;
        assert_eq!(outcome.error, Some(ErrorCode::ToolDeadlineExceeded));
        assert_eq!(begun.elapsed().as_secs(), seconds);
    }
}

/// A call that waits for its own client must not keep that client's answer, or anybody else, from being decided.
#[tokio::test]
async fn calls_whose_tools_run_keep_nobody_from_being_decided() {
    let f = Fixture::new();
    let token = token("cap", grant("*", "*"));
    let cancel = tokio_util::sync::CancellationToken::new();
    let hanging: Vec<_> = (0..2100)
        .map(|_| {
            let mut request = request(&token, "hang", json!({}));
            request.cancel = cancel.clone();
            let kernel = Arc::clone(&f.kernel);
            tokio::spawn(async move { kernel.call(request).await })
        })
        .collect();
    while f.server.calls() < 2100 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(f.call(request(&token, "echo", json!({}))).await.decision, Decision::Allow);
    cancel.cancel();
    for call in hanging {
        assert!(call.await.unwrap().logged);
    }
}
