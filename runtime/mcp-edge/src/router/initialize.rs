//! `initialize`: the request that makes a session (seed, "Initialization Rules").

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use chio_json::Json;
use chio_mcp::jsonrpc::{Id, Members, Message, Request};
use chio_policy::Identity;
use chio_spec::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;

use super::rates::Kind;
use super::{Edge, Peer, get, header, session};
use crate::metrics::Outcome;
use crate::refusal::{Away, Refusal, json_response};
use crate::sessions::{NotAdmitted, Registry, Session};

pub(super) const METHOD: &str = "initialize";

/// The name under which the published Python client announces itself. Its release 0.1.0 fails on an event without
/// data.
const NO_PRIMING: &str = "chio-sdk";

pub(super) async fn answer(
    edge: &Arc<Edge>,
    peer: Peer,
    identity: &Arc<Identity>,
    headers: &HeaderMap,
    request: Request,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Response, Away> {
    let id = request.id.clone();
    if headers.contains_key(header::SESSION_ID) {
        let text = "initialize request must not include MCP-Session-Id";
        return Err(Refusal::new(ErrorCode::SessionHeaderInvalid, text).to(Some(&id)).into());
    }
    session::authorize(edge, identity, METHOD)?;
    edge.rates.count(Kind::Session, peer.0).map_err(|seconds| {
        let text = "this address opens more sessions than it may";
        Refusal::rate_limited(text, seconds).to(Some(&id))
    })?;
    let reads_priming = client_name(&request).is_none_or(|name| name != NO_PRIMING);
    let session = edge.registry.open(identity, reads_priming).map_err(|not_admitted| {
        edge.metrics.request(METHOD, Outcome::Refused);
        refuse(not_admitted, &id)
    })?;
    let opening = Opening { registry: Arc::clone(&edge.registry), session, kept: false };
    initialize(edge, opening, request, room).await
}

async fn initialize(
    edge: &Edge,
    opening: Opening,
    request: Request,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Response, Away> {
    let id = request.id.clone();
    let failed = || {
        edge.metrics.request(METHOD, Outcome::Failed);
        let text = "the session ended before it was initialized";
        Refusal::answer(ErrorCode::InternalError, &id, text)
    };
    let reading = opening.session.request(request, false, room).await.map_err(|_| failed())?;
    // However long it takes: a status must be sent first, and it depends on the outcome.
    let answer = reading.answer_text().await.ok_or_else(failed)?;
    let Some(version) = agreed_version(&answer) else {
        edge.metrics.request(METHOD, Outcome::Failed);
        return Ok(json_response(StatusCode::OK, Body::from(answer)));
    };
    edge.metrics.request(METHOD, Outcome::Streamed);
    let session = opening.keep();
    session.bind_version(version);
    let mut response = get::event_stream(reading, "initialize_sse", None);
    if let Ok(value) = HeaderValue::from_str(&session.id) {
        response.headers_mut().insert(HeaderName::from_static(header::SESSION_ID), value);
    }
    Ok(response)
}

/// A session that is not initialized yet. Unless it is kept, nothing is left of it.
struct Opening {
    registry: Arc<Registry>,
    session: Arc<Session>,
    kept: bool,
}

impl Opening {
    fn keep(mut self) -> Arc<Session> {
        self.kept = true;
        Arc::clone(&self.session)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.forget(&self.session);
        }
    }
}

/// The protocol version of a successful answer.
fn agreed_version(answer: &str) -> Option<String> {
    match Message::parse(answer) {
        Ok(Message::Response(response)) => {
            let result = response.outcome.ok()?;
            Members::parse(result.get()).ok()?.string("protocolVersion")
        }
        _ => None,
    }
}

fn client_name(request: &Request) -> Option<String> {
    let params = Members::parse(request.params.as_ref().map(Json::get)?).ok()?;
    Members::parse(params.get("clientInfo")?).ok()?.string("name")
}

fn refuse(not_admitted: NotAdmitted, id: &Id) -> Refusal {
    match not_admitted {
        NotAdmitted::Full => {
            let text = "this edge holds as many sessions as it may, and all are in use; try again later";
            Refusal::answer(ErrorCode::SessionLimitReached, id, text)
        }
        NotAdmitted::Closing => {
            let text = "this edge is stopping and opens no sessions any more";
            Refusal::answer(ErrorCode::SessionLimitReached, id, text)
                .with_status(StatusCode::SERVICE_UNAVAILABLE)
        }
        NotAdmitted::Refused(code) => Refusal::answer(code, id, code.summary()),
    }
}
