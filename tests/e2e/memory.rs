//! What a kernel must still know after it was killed: spent budgets, used proofs, revocations, stops.

use chio_core::dpop::{self, DpopClaims};
use chio_core::hash::hash_json;
use chio_json::Json;
use chio_spec::{DpopNonce, ServerId, ToolCallError, ToolCallRequest, ToolName};
use serde_json::json;

use crate::agent::{Agent, Token, call, cause, error, id, is_ok, make, now, request};
use crate::home::Home;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_stays_taken_after_a_kill() {
    let home = Home::new();
    let agent = Agent::new(&home, "agent");
    let grant = ["--server", "demo", "--tool", "echo"];
    let ten = agent.issue(&home, &[&grant[..], &["--max-invocations", "10"]].concat());
    let revoked = agent.issue(&home, &grant);
    let proven = agent.issue(&home, &[&grant[..], &["--dpop"]].concat());
    let with_nonce = |nonce: &str| with_proof(&agent, &proven, nonce);

    let server = Server::tcp(&home, &["--demo"]);
    let client = server.client().await;
    for _ in 0..6 {
        assert!(is_ok(&call(&client, &ten, "echo", &json!({})).await));
    }
    assert!(is_ok(&make(&client, with_nonce("nonce-of-before")).await));
    assert_eq!(cause(&make(&client, with_nonce("nonce-of-before")).await), "dpop_replayed");
    home.ok(&["capability", "revoke", &id(&revoked)]);
    server.kill();

    let server = Server::tcp(&home, &["--demo"]);
    let client = server.client().await;
    let mut allowed = 0;
    for _ in 0..6 {
        allowed += usize::from(is_ok(&call(&client, &ten, "echo", &json!({})).await));
    }
    assert_eq!(allowed, 4, "of ten, six were spent before the kill");
    assert_eq!(cause(&make(&client, with_nonce("nonce-of-before")).await), "dpop_replayed");
    assert!(is_ok(&make(&client, with_nonce("nonce-of-after")).await));
    assert_eq!(error(&call(&client, &revoked, "echo", &json!({})).await), &ToolCallError::CapabilityRevoked);
    home.ok(&["stop"]);
    server.kill();

    let server = Server::tcp(&home, &["--demo"]);
    assert_eq!(cause(&call(&server.client().await, &proven, "echo", &json!({})).await), "emergency_stop");
    home.fsck();
}

fn with_proof(agent: &Agent, token: &Token, nonce: &str) -> ToolCallRequest {
    let arguments = json!({"text": "mine"});
    let claims = DpopClaims {
        capability_id: token.view().unwrap().id.clone(),
        tool_server: ServerId::new("demo").unwrap(),
        tool_name: ToolName::new("echo").unwrap(),
        action_hash: hash_json(&Json::from_value(&arguments)).unwrap(),
        nonce: DpopNonce::new(nonce).unwrap(),
        issued_at: now(),
    };
    let proof = dpop::make(&agent.key(), claims).unwrap();
    request(token, "demo", "echo", &arguments).with_dpop_proof(proof)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_another_home_is_trusted_only_when_it_is_named() {
    let [home, elsewhere] = [Home::new(), Home::new()];
    let agent = Agent::new(&elsewhere, "agent");
    let token = agent.issue(&elsewhere, &["--server", "demo", "--tool", "echo"]);
    let authority = token.view().unwrap().issuer.to_string();

    let server = Server::tcp(&home, &["--demo"]);
    let refused = call(&server.client().await, &token, "echo", &json!({})).await;
    assert_eq!(cause(&refused), "capability_issuer_untrusted");
    assert!(server.end().success());

    let server = Server::tcp(&home, &["--demo", "--trust-issuer", &authority]);
    let allowed = call(&server.client().await, &token, "echo", &json!({})).await;
    assert!(is_ok(&allowed), "{allowed:?}");
}
