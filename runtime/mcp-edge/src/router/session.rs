//! From a request to its session.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::IntoResponse;
use chio_mcp::jsonrpc::Id;
use chio_policy::Identity;
use chio_spec::ErrorCode;

use super::{Edge, header};
use crate::refusal::{Away, Refusal};
use crate::sessions::Session;

/// The session that a request names, if its caller may use it. `id`: of the request, for the refusal.
pub(super) fn find(
    edge: &Edge,
    identity: &Identity,
    headers: &HeaderMap,
    id: Option<&Id>,
) -> Result<Arc<Session>, Away> {
    lookup(edge, identity, headers).map_err(|refusal| refusal.to(id).into())
}

/// Whether the scopes of the caller's token cover a method. GET and DELETE have none; they need what any method needs.
pub(super) fn authorize(edge: &Edge, identity: &Identity, method: &str) -> Result<(), Away> {
    edge.auth.authorize(identity, method).map_err(|failure| {
        let code = failure.code();
        let mut response = failure.into_response();
        response.extensions_mut().insert(code);
        response.into()
    })
}

pub(super) fn not_found(id: Option<&Id>) -> Refusal {
    Refusal::new(ErrorCode::SessionNotFound, "there is no such session; initialize a new one").to(id)
}

fn lookup(edge: &Edge, identity: &Identity, headers: &HeaderMap) -> Result<Arc<Session>, Refusal> {
    let invalid = |text| Refusal::new(ErrorCode::SessionHeaderInvalid, text);
    let mut ids = headers.get_all(header::SESSION_ID).iter();
    let id = ids.next().ok_or_else(|| invalid("request requires MCP-Session-Id"))?;
    if ids.next().is_some() {
        return Err(invalid("the request has more than one MCP-Session-Id"));
    }
    let session = id.to_str().ok().and_then(|id| edge.registry.find(id)).ok_or_else(|| not_found(None))?;
    // Whose session it is comes first, so that nobody learns anything about the session of another.
    if !edge.host.is_same_caller(&session.identity, identity) {
        let text = "authenticated authorization context does not match session";
        return Err(Refusal::new(ErrorCode::AuthContextMismatch, text));
    }
    let mut versions = headers.get_all(header::PROTOCOL_VERSION).iter();
    let differs = versions.any(|version| session.protocol_version().is_none_or(|bound| version != bound));
    if differs {
        return Err(invalid("invalid MCP-Protocol-Version for session"));
    }
    Ok(session)
}
