//! What everybody may know about the server: its metadata (RFC 8414) and its public key (RFC 7517).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use chio_core::keys::PublicKey;
use serde_json::json;

use super::{AuthorizationServer, answer};
use crate::auth::{SCOPE_INVOKE, SCOPE_READ};

/// The grant type of token exchange (RFC 8693).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// `GET /.well-known/oauth-authorization-server`.
pub(super) async fn server(State(server): State<Arc<AuthorizationServer>>) -> Response {
    let base = &server.issuer;
    answer::public(&json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/oauth/authorize"),
        "token_endpoint": format!("{base}/oauth/token"),
        "registration_endpoint": format!("{base}/oauth/register"),
        "jwks_uri": format!("{base}/oauth/jwks.json"),
        "scopes_supported": [SCOPE_READ, SCOPE_INVOKE],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", TOKEN_EXCHANGE],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

/// `GET /oauth/jwks.json`.
pub(super) async fn key_set(State(server): State<Arc<AuthorizationServer>>) -> Response {
    let x = URL_SAFE_NO_PAD.encode(server.key.public().hex().as_bytes());
    answer::public(&json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "x": x, "kid": server.key_id, "use": "sig", "alg": "EdDSA",
    }]}))
}

/// The name of a key that everybody computes alike (RFC 7638, RFC 8037 appendix A.3).
pub(super) fn thumbprint(key: &PublicKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.hex().as_bytes());
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(sha256(members.as_bytes()).as_bytes())
}
