//! POST: one message of the client.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chio_mcp::jsonrpc::{Id, Malformed, Message, Request};
use chio_policy::Identity;
use chio_spec::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;

use super::{Edge, Peer, accept, capability, get, header, initialize, session};
use crate::metrics::Outcome;
use crate::refusal::{Away, Refusal, json_response};
use crate::sessions::Refused;
use crate::streams::{First, answer_body};

pub(super) async fn answer(
    edge: &Arc<Edge>,
    peer: Peer,
    identity: &Arc<Identity>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Away> {
    accept::post(headers)?;
    accept::content(headers)?;
    let body = edge.reading.read(headers, body).await?;
    let message = match std::str::from_utf8(&body.bytes) {
        Ok(text) => Message::parse(text),
        Err(_) => Err(Malformed::NotJson("the body is not UTF-8".to_owned())),
    };
    let room = body.room;
    drop(body.bytes);
    match message.map_err(|malformed| refuse(&malformed))? {
        Message::Request(request) if request.method == initialize::METHOD => {
            initialize::answer(edge, peer, identity, headers, request, room).await
        }
        Message::Notification(notification) if notification.method == initialize::METHOD => {
            let text = "initialize must be a JSON-RPC request with an id";
            Err(Refusal::new(ErrorCode::InvalidRequestShape, text).into())
        }
        Message::Request(request) => pass_on(edge, identity, headers, request, room).await,
        message => {
            let session = session::find(edge, identity, headers, None)?;
            let method = match &message {
                Message::Notification(notification) => notification.method.as_str(),
                _ => "",
            };
            session::authorize(edge, identity, method)?;
            edge.metrics.request(method, Outcome::Accepted);
            let told = session.tell(message).await;
            drop(room);
            told.map_err(|_| session::not_found(None))?;
            Ok((StatusCode::ACCEPTED, mode("post_notification_accepted")).into_response())
        }
    }
}

async fn pass_on(
    edge: &Edge,
    identity: &Identity,
    headers: &HeaderMap,
    request: Request,
    room: Option<OwnedSemaphorePermit>,
) -> Result<Response, Away> {
    let id = request.id.clone();
    let method = request.method.clone();
    let session = session::find(edge, identity, headers, Some(&id))?;
    session::authorize(edge, identity, &method)?;
    let request = capability::splice(headers, request)?;
    let reading = session.request(request, session.reads_priming, room).await.map_err(|refused| {
        edge.metrics.request(&method, Outcome::Refused);
        not_taken(refused, &id)
    })?;
    let first = tokio::time::timeout(edge.config.answer_delay, reading.first()).await;
    match first {
        Ok(First::Answer(answer)) => {
            edge.metrics.request(&method, Outcome::Answered);
            let mut response = json_response(StatusCode::OK, answer_body(answer));
            response.headers_mut().extend(mode("post_request_json"));
            Ok(response)
        }
        Ok(First::Nothing) if !session.life().state.serves() => {
            edge.metrics.request(&method, Outcome::Refused);
            Err(session::not_found(Some(&id)).into())
        }
        // A cancelled request has a stream without an answer.
        Ok(First::Other | First::Nothing) | Err(_) => {
            edge.metrics.request(&method, Outcome::Streamed);
            Ok(get::event_stream(reading, "post_request_sse", edge.config.close_silent_after))
        }
    }
}

fn mode(mode: &'static str) -> [(HeaderName, HeaderValue); 1] {
    [(HeaderName::from_static(header::RESPONSE_MODE), HeaderValue::from_static(mode))]
}

fn refuse(malformed: &Malformed) -> Response {
    let mut response = json_response(StatusCode::BAD_REQUEST, Body::from(malformed.answer()));
    let code = match malformed {
        Malformed::NotJson(_) => ErrorCode::DeserializationFailed,
        _ => ErrorCode::InvalidRequestShape,
    };
    response.extensions_mut().insert(code);
    response
}

fn not_taken(refused: Refused, id: &Id) -> Refusal {
    match refused {
        Refused::InUse => {
            let text = "a request with this id is still in work, or was cancelled just now; use a fresh id";
            Refusal::answer(ErrorCode::InvalidRequestShape, id, text)
        }
        Refused::TooMany => {
            let text = "too many requests are in work on this session; try again when some are done";
            Refusal::answer(ErrorCode::KernelBusy, id, text)
        }
        Refused::Full => {
            let text = "too many undelivered answers wait on this session; resume their streams by GET with \
                        Last-Event-ID, or initialize a new session";
            Refusal::answer(ErrorCode::KernelBusy, id, text)
        }
        Refused::AllFull => {
            let text = "too many undelivered answers wait on this edge; try again later";
            Refusal::answer(ErrorCode::KernelBusy, id, text)
        }
        Refused::Over => session::not_found(Some(id)),
    }
}
