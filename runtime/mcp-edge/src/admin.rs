//! What an operator can ask and do, under `/admin`.
//!
//! Health is open to everybody and says nothing that is not on the label. Everything else needs the admin token, and
//! does not exist where there is none: a token of a client never opens it.

mod sessions;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chio_core::hash::sha256;
use chio_json::wire::safe_integer;
use chio_mcp::servers::{Owner, ServerStatus};
use chio_spec::{
    ErrorCode, McpAdminFailure, McpAdminHealth, McpAdminServer, McpAdminServers, McpServerOwner,
};
use serde::Serialize;

use crate::refusal::{Refusal, json_response};
use crate::router::{Edge, Peer, method_not_allowed};

/// The routes that need the admin token; none where there is no token.
pub(crate) fn routes(edge: &Arc<Edge>) -> Router<Arc<Edge>> {
    let health = Router::new().route("/admin/health", get(health).fallback(get_only));
    if edge.config.admin_token.is_none() {
        return health;
    }
    let guarded = Router::new()
        .route("/admin/sessions", get(sessions::list).fallback(get_only))
        .route("/admin/sessions/{id}/drain", post(sessions::drain).fallback(post_only))
        .route("/admin/sessions/{id}/shutdown", post(sessions::shutdown).fallback(post_only))
        .route("/admin/servers", get(servers).fallback(get_only))
        .route("/admin/metrics", get(metrics).fallback(get_only))
        .route_layer(from_fn_with_state(Arc::clone(edge), admitted));
    health.merge(guarded)
}

async fn health() -> Response {
    json_body(StatusCode::OK, &McpAdminHealth::new("ok", env!("CARGO_PKG_VERSION")))
}

async fn servers(State(edge): State<Arc<Edge>>) -> Response {
    let servers = edge.host.servers().iter().map(server).collect();
    json_body(StatusCode::OK, &McpAdminServers::new(servers))
}

async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    let servers = edge.host.servers();
    let restarts = servers.iter().map(|server| (server.id.to_string(), server.restarts));
    let text = edge.metrics.text(&edge.registry.census(), restarts);
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

fn server(server: &ServerStatus) -> McpAdminServer {
    let failure = server.last_failure.as_ref();
    McpAdminServer::new(
        server.id.as_str(),
        failure.map(|failure| McpAdminFailure::new(millis(failure.at), failure.reason.as_str())),
        match server.owner {
            Owner::Session => McpServerOwner::Session,
            Owner::Shared => McpServerOwner::Shared,
        },
        safe(server.restarts),
        server.retry_in.map(|pause| safe(pause.as_millis())),
        safe(server.running),
        safe(server.unattributed),
    )
}

async fn get_only() -> Response {
    method_not_allowed("GET").into_response()
}

async fn post_only() -> Response {
    method_not_allowed("POST").into_response()
}

/// Passes who presents the admin token.
async fn admitted(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    if edge.config.admin_token.as_ref().is_some_and(|token| presents(request.headers(), token)) {
        return next.run(request).await;
    }
    if let Some(Peer(peer)) =
        request.extensions().get::<Peer>().filter(|_| request.headers().contains_key(AUTHORIZATION))
        && let Err(refusal) = edge.wrong_credential(Peer(*peer))
    {
        return refusal.into_response();
    }
    Refusal::new(ErrorCode::AuthMissingOrInvalid, "the admin endpoints need the admin token as bearer token")
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        .into_response()
}

/// Whether the one `Authorization` header holds this token. Hashes are compared, so that the time it takes says
/// nothing about the token.
fn presents(headers: &HeaderMap, token: &str) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let Some((scheme, presented)) = value.filter(|_| values.next().is_none()) else { return false };
    scheme.eq_ignore_ascii_case("bearer")
        && sha256(presented.trim_matches(' ').as_bytes()) == sha256(token.as_bytes())
}

/// Milliseconds since 1970.
fn millis(at: SystemTime) -> u64 {
    safe(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
}

/// A number, or the largest that JSON carries exactly.
fn safe(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX).min(safe_integer::MAX)
}

fn json_body(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => json_response(status, text.into()),
        Err(_) => Refusal::new(ErrorCode::InternalError, "the answer cannot be written").into_response(),
    }
}
