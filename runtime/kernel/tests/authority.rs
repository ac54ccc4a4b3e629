//! Capabilities for callers that present none.
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
use std::sync::atomic::Ordering;

use chio_kernel::{CallerSession, LocalAuthority, Target};
use chio_policy::Identity;
use chio_spec::{Decision, ErrorCode, ServerId, ToolName};
use chio_store::Revocation;
use fixture::*;
use serde_json::json;

const GRANTING: &str =
    "capabilities: { default: { tools: [{ server: '*', tool: '*', operations: [invoke], ttl: 300 }] } }\n";

fn authority(f: &Fixture) -> LocalAuthority {
    LocalAuthority::new(
        Arc::new(issuer()),
        Arc::clone(f.kernel.policy()),
        agent().public().hex(),
        Identity::local(),
    )
}

fn target() -> (Target, ServerId) {
    (Target::Tool(ToolName::new("echo").unwrap()), ServerId::new("srv").unwrap())
}

#[tokio::test]
async fn a_session_gets_a_capability_that_is_renewed_before_it_expires() {
    let f = Fixture::with_policy(GRANTING);
    let (authority, (target, server)) = (authority(&f), target());
    let first = authority.capability_for(&target, &server, &f.kernel).unwrap();
    f.clock.0.store(NOW + 224, Ordering::SeqCst);
    assert_eq!(authority.capability_for(&target, &server, &f.kernel).unwrap(), first);
    f.clock.0.store(NOW + 226, Ordering::SeqCst);
    let second = authority.capability_for(&target, &server, &f.kernel).unwrap();
    assert_ne!(second, first);
    let mut request = request(&second, "echo", json!({}));
    request.caller = CallerSession::bound_to(agent().public().hex());
    assert_eq!(f.call(request).await.decision, Decision::Allow);
}

#[tokio::test]
async fn a_revoked_session_stays_revoked_also_when_its_capability_was_renewed_since() {
    let f = Fixture::with_policy(GRANTING);
    let (authority, (target, server)) = (authority(&f), target());
    let first = authority.capability_for(&target, &server, &f.kernel).unwrap();
    f.clock.0.store(NOW + 226, Ordering::SeqCst);
    authority.capability_for(&target, &server, &f.kernel).unwrap();
    let capability_id = first.view().unwrap().id.as_str().to_owned();
    f.store.revoke(Revocation { capability_id, reason: "test".into(), revoked_at: NOW }).await.unwrap();
    for later in [230, 500, 5000] {
        f.clock.0.store(NOW + later, Ordering::SeqCst);
        let presented = authority.capability_for(&target, &server, &f.kernel).unwrap();
        assert_eq!(presented, first);
    }
    f.clock.0.store(NOW + 5001, Ordering::SeqCst);
    assert_ne!(f.call(request(&first, "echo", json!({}))).await.decision, Decision::Allow);
}

#[tokio::test]
async fn a_policy_without_grants_gives_a_capability_that_allows_nothing() {
    let f = Fixture::with_policy("{}\n");
    let (authority, (target, server)) = (authority(&f), target());
    let empty = authority.capability_for(&target, &server, &f.kernel).unwrap();
    assert_eq!(f.call(request(&empty, "echo", json!({}))).await.error, Some(ErrorCode::ScopeExceeded));
}

#[tokio::test]
async fn a_resource_granted_on_one_server_is_not_granted_on_another() {
    let f = Fixture::with_policy(
        "capabilities: {default: {resources: [{uri: 'file:///srv/*', server: files, operations: [read]}]}}\n",
    );
    let authority = authority(&f);
    let target = Target::Resource {
        method: ToolName::new("resources/read").unwrap(),
        uri: "file:///srv/a".to_owned(),
        subscribe: false,
    };
    for (server, granted) in [("files", true), ("srv", false)] {
        let server = ServerId::new(server).unwrap();
        assert_eq!(authority.covers(&target, &server), granted);
        let token = authority.capability_for(&target, &server, &f.kernel).unwrap();
        let mut request = request(&token, "echo", json!({}));
        request.target = target.clone();
        request.caller = CallerSession::bound_to(agent().public().hex());
        let outcome = f.call(request).await;
        // Both calls go to the fixture's server: what differs is the capability, and the one for elsewhere is empty.
        assert_eq!(outcome.decision == Decision::Allow, granted, "{:?}", outcome.decision);
    }
}
