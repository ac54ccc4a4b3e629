//! The edge as a protected resource: what it publishes about itself (RFC 9728) and how it asks for a token (RFC 6750).

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::failure::Fault;
use super::{SCOPE_INVOKE, SCOPE_READ};

/// Path of the metadata; also served with the path of the resource after it.
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// The MCP endpoint of this edge as a resource.
pub(super) struct Resource {
    url: String,
    metadata_url: String,
    document: String,
}

impl Resource {
    /// The resource of an edge at `base`.
    pub(super) fn new(base: &str) -> Resource {
        Resource {
            url: format!("{base}/mcp"),
            metadata_url: format!("{base}{METADATA_PATH}/mcp"),
            document: String::new(),
        }
    }

    /// What a token for it must name as its audience.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Names the authorization server whose tokens are accepted.
    pub(super) fn publish(&mut self, authorization_server: &str) {
        self.document = json!({
            "resource": self.url,
            "authorization_servers": [authorization_server],
            "scopes_supported": [SCOPE_READ, SCOPE_INVOKE],
            "bearer_methods_supported": ["header"],
        })
        .to_string();
    }

    /// The two places of the metadata.
    pub(super) fn routes(&self) -> Router {
        let document = self.document.clone();
        let serve = get(async move || {
            let mut response = Response::new(Body::from(document));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        });
        Router::new().route(METADATA_PATH, serve.clone()).route(&format!("{METADATA_PATH}/mcp"), serve)
    }

    /// How to ask for a token after `fault`.
    pub(super) fn challenge(&self, fault: Fault) -> Option<HeaderValue> {
        let error = match fault {
            Fault::Missing => "",
            Fault::Invalid(_) | Fault::Over(_) => "error=\"invalid_token\", ",
            Fault::Malformed => "error=\"invalid_request\", ",
            Fault::Scope | Fault::KeysUnavailable => return None,
        };
        let text = format!(
            "Bearer {error}resource_metadata=\"{}\", scope=\"{SCOPE_READ} {SCOPE_INVOKE}\"",
            self.metadata_url
        );
        HeaderValue::from_str(&text).ok()
    }

    /// How to ask for `needed` on top of the scopes of ours that the token has: a client that asked for `needed` alone
    /// would lose the others.
    pub(super) fn insufficient(&self, held: &BTreeSet<String>, needed: &str) -> Option<HeaderValue> {
        let wanted: Vec<&str> = [SCOPE_READ, SCOPE_INVOKE]
            .into_iter()
            .filter(|scope| *scope == needed || held.contains(*scope))
            .collect();
        let text = format!(
            "Bearer error=\"insufficient_scope\", scope=\"{}\", resource_metadata=\"{}\"",
            wanted.join(" "),
            self.metadata_url
        );
        HeaderValue::from_str(&text).ok()
    }
}
