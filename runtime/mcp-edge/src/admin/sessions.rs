//! Sessions as operators see them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chio_policy::Identity;
use chio_spec::{ErrorCode, ReceiptCallerMethod};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{json_body, millis};
use crate::refusal::{Refusal, json_response};
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
    json_body(&json!({
        "activeCount": active_count,
        "terminalCount": terminal_count,
        "activeSessions": active.iter().map(|session| live(session, idle)).collect::<Vec<_>>(),
        "terminalSessions": terminal.iter().map(ended).collect::<Vec<_>>(),
    }))
}

/// Takes nothing new on a session, and ends it when what is in flight is done.
pub(super) async fn drain(State(edge): State<Arc<Edge>>, Path(id): Path<String>) -> Response {
    let Some(session) = edge.registry.any(&id) else { return not_found(&edge, &id) };
    edge.registry.drain(&session);
    let body = json!({"sessionId": &*session.id, "state": session.life().state.as_str()});
    json_response(StatusCode::ACCEPTED, body.to_string().into())
}

/// Ends a session now. Calls in flight are cancelled, each with its receipt.
pub(super) async fn shutdown(State(edge): State<Arc<Edge>>, Path(id): Path<String>) -> Response {
    let Some(session) = edge.registry.any(&id) else { return not_found(&edge, &id) };
    edge.registry.end(&session, Life::Closed);
    json_body(&json!({"sessionId": &*session.id, "state": session.life().state.as_str()}))
}

fn not_found(edge: &Edge, id: &str) -> Response {
    let text = match edge.registry.ended_as(id) {
        Some(state) => format!("the session is over: {}", state.as_str()),
        None => "there is no such session".to_owned(),
    };
    Refusal::new(ErrorCode::SessionNotFound, text).into_response()
}

fn live(session: &Session, idle_limit: Duration) -> Value {
    let life = session.life();
    let log = session.streams.lock();
    let (holding, idle, ago) = (log.holding(), log.idle(), log.active_ago());
    drop(log);
    let now = SystemTime::now();
    let expires = idle.and_then(|idle| now.checked_add(idle_limit.saturating_sub(idle)));
    let drains = life.drain_until.map(|until| now + until.saturating_duration_since(Instant::now()));
    let terminal = Life::ALL.into_iter().filter(|state| state.is_terminal()).map(Life::as_str);
    json!({
        "sessionId": &*session.id,
        "authContext": auth_context(&session.identity),
        "lifecycle": {
            "state": life.state.as_str(),
            "createdAt": millis(session.created_at),
            "lastSeenAt": millis(now.checked_sub(ago).unwrap_or(now)),
            "idleExpiresAt": expires.map(millis),
            "drainDeadlineAt": drains.map(millis),
            "protocolVersion": session.protocol_version(),
            "reconnect": {
                "mode": "replay_window",
                "resumable": life.state.serves(),
                "requiresAuthContinuity": true,
                "terminalStates": terminal.collect::<Vec<_>>(),
            },
        },
        "inFlight": holding.in_flight,
        "openStreams": holding.streams,
        "bufferedBytes": holding.pending_bytes,
        "droppedMessages": holding.dropped,
    })
}

fn ended(ended: &Ended) -> Value {
    json!({
        "sessionId": &*ended.id,
        "authContext": auth_context(&ended.identity),
        "lifecycle": {
            "state": ended.state.as_str(),
            "createdAt": millis(ended.created_at),
            "endedAt": millis(ended.ended_at),
        },
    })
}

/// Who opened a session. Nothing that could be used in its place.
fn auth_context(identity: &Identity) -> Value {
    let kind = match identity.method {
        ReceiptCallerMethod::OauthBearer => "o_auth_bearer",
        method => method.as_str(),
    };
    let mut context = json!({"kind": kind, "principal": identity.principal});
    if identity.method == ReceiptCallerMethod::OauthBearer
        && let Some(context) = context.as_object_mut()
    {
        let texts =
            [("issuer", &identity.issuer), ("subject", &identity.subject), ("clientId", &identity.client_id)];
        for (key, text) in texts {
            if let Some(text) = text {
                context.insert(key.to_owned(), json!(text));
            }
        }
        if !identity.scopes.is_empty() {
            context.insert("scopes".to_owned(), json!(identity.scopes));
        }
    }
    context
}
