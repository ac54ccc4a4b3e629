//! Sessions as operators see them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chio_policy::Identity;
use chio_spec::{
    ErrorCode, McpAdminAuthContext, McpAdminAuthKind, McpAdminEndedLifecycle, McpAdminEndedSession,
    McpAdminLifecycle, McpAdminReconnect, McpAdminSession, McpAdminSessionState, McpAdminSessions,
    ReceiptCallerMethod,
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{json_body, millis, safe};
use crate::refusal::Refusal;
use crate::router::Edge;
use crate::sessions::{Ended, Session, State as Life};

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 200;

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<String>,
}

/// The newest sessions that are not over, and those that ended last.
pub(super) async fn list(State(edge): State<Arc<Edge>>, Query(page): Query<Page>) -> Response {
    let limit = match page.limit.as_deref().map(str::parse::<usize>) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => {
            let text = format!("`limit` must be a number from 1 to {MOST}");
            return Refusal::new(ErrorCode::InvalidParams, text).into_response();
        }
    };
    let (active_count, active) = edge.registry.live(limit);
    let (terminal_count, terminal) = edge.registry.ended(limit);
    let idle = edge.registry.idle_limit();
    let body = McpAdminSessions::new(
        safe(active_count),
        active.iter().map(|session| live(session, idle)).collect(),
        safe(terminal_count),
        terminal.iter().map(ended).collect(),
    );
    json_body(StatusCode::OK, &body)
}

/// Takes nothing new on a session, and ends it when what is in flight is done.
pub(super) async fn drain(State(edge): State<Arc<Edge>>, Path(id): Path<String>) -> Response {
    let Some(session) = edge.registry.any(&id) else { return not_found(&edge, &id) };
    edge.registry.drain(&session);
    json_body(StatusCode::ACCEPTED, &state_of(&session))
}

/// Ends a session now. Calls in flight are cancelled, each with its receipt.
pub(super) async fn shutdown(State(edge): State<Arc<Edge>>, Path(id): Path<String>) -> Response {
    let Some(session) = edge.registry.any(&id) else { return not_found(&edge, &id) };
    edge.registry.end(&session, Life::Closed);
    json_body(StatusCode::OK, &state_of(&session))
}

fn state_of(session: &Session) -> McpAdminSessionState {
    McpAdminSessionState::new(&*session.id, session.life().state.into())
}

fn not_found(edge: &Edge, id: &str) -> Response {
    let text = match edge.registry.ended_as(id) {
        Some(state) => format!("the session is over: {}", state.as_str()),
        None => "there is no such session".to_owned(),
    };
    Refusal::new(ErrorCode::SessionNotFound, text).into_response()
}

fn live(session: &Session, idle_limit: Duration) -> McpAdminSession {
    let life = session.life();
    let log = session.streams.lock();
    let (holding, idle, ago) = (log.holding(), log.idle(), log.active_ago());
    drop(log);
    let now = SystemTime::now();
    let expires = idle.and_then(|idle| now.checked_add(idle_limit.saturating_sub(idle)));
    let drains = life.drain_until.map(|until| now + until.saturating_duration_since(Instant::now()));
    let terminal = Life::ALL.into_iter().filter(|state| state.is_terminal()).map(Into::into).collect();
    let lifecycle = McpAdminLifecycle::new(
        millis(session.created_at),
        drains.map(millis),
        expires.map(millis),
        millis(now.checked_sub(ago).unwrap_or(now)),
        session.protocol_version().map(str::to_owned),
        McpAdminReconnect::new("replay_window", true, life.state.serves(), terminal),
        life.state.into(),
    );
    McpAdminSession::new(
        auth_context(&session.identity),
        safe(holding.pending_bytes),
        safe(holding.dropped),
        safe(holding.in_flight),
        lifecycle,
        safe(holding.streams),
        &*session.id,
    )
}

fn ended(ended: &Ended) -> McpAdminEndedSession {
    let lifecycle =
        McpAdminEndedLifecycle::new(millis(ended.created_at), millis(ended.ended_at), ended.state.into());
    McpAdminEndedSession::new(auth_context(&ended.identity), lifecycle, &*ended.id)
}

/// Who opened a session. Nothing that could be used in its place.
fn auth_context(identity: &Identity) -> McpAdminAuthContext {
    let kind = match identity.method {
        ReceiptCallerMethod::Anonymous => McpAdminAuthKind::Anonymous,
        ReceiptCallerMethod::Local => McpAdminAuthKind::Local,
        ReceiptCallerMethod::StaticBearer => McpAdminAuthKind::StaticBearer,
        ReceiptCallerMethod::OauthBearer => McpAdminAuthKind::OAuthBearer,
    };
    let mut context = McpAdminAuthContext::new(kind, identity.principal.as_str());
    if identity.method == ReceiptCallerMethod::OauthBearer {
        context.issuer.clone_from(&identity.issuer);
        context.subject.clone_from(&identity.subject);
        context.client_id.clone_from(&identity.client_id);
        context.scopes.extend(identity.scopes.iter().cloned());
    }
    context
}
