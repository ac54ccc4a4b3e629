//! One message to the server, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::channel::{Arrival, Concerns, Departure};
use crate::http::client::describe;
use crate::http::events::{Cursor, Events, Over, is_stream, media_type};
use crate::http::link::{Link, SESSION_LOST, pause};
use crate::jsonrpc::{Id, Malformed, Message, Response as Answer};
use crate::stdio::MAX_LINE_BYTES;

/// How long the server may take to accept what needs no answer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often in a row a stream may fail to be resumed.
const ATTEMPTS: u32 = 5;

/// How long the rest of a stream is read once its answer is there, so that its connection can be used again.
const REST: Duration = Duration::from_secs(2);

/// What a text for the server is.
pub(super) enum Kind {
    /// Wants the answer with this id.
    Request(Id),
    /// Says that the session is ready.
    Initialized,
    /// Withdraws the request with this id.
    Cancelled(Id),
    /// Any other notification.
    Told,
    /// Answers a request of the server's.
    Answered,
}

impl Kind {
    /// What a text is that the session made.
    pub(super) fn of(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            method: Option<String>,
            #[serde(borrow)]
            params: Option<&'a RawValue>,
        }

        #[derive(Deserialize)]
        struct Cancelled<'a> {
            #[serde(borrow, rename = "requestId")]
            id: &'a RawValue,
        }

        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Self::Told };
        let id = envelope.id.and_then(|id| Id::from_json(id.get()).ok());
        match (envelope.method.as_deref(), id) {
            (Some(_), Some(id)) => Self::Request(id),
            (Some("notifications/initialized"), None) => Self::Initialized,
            (Some("notifications/cancelled"), None) => {
                let params = envelope.params.and_then(|params| serde_json::from_str(params.get()).ok());
                let id = params.and_then(|Cancelled { id }| Id::from_json(id.get()).ok());
                id.map_or(Self::Told, Self::Cancelled)
            }
            (Some(_), None) => Self::Told,
            (None, _) => Self::Answered,
        }
    }
}

/// Sends what needs no answer.
pub(super) async fn tell(link: &Arc<Link>, mut departure: Departure, kind: &Kind) {
    let sending = link.post(std::mem::take(&mut departure.text)).timeout(ACCEPT_TIMEOUT).send();
    match sending.await {
        Ok(response) if link.is_lost(response.status()) => link.lose().await,
        Ok(response) if response.status().is_success() => {}
        Ok(response) => {
            tracing::warn!(status = %response.status(), "a tool server did not accept a message that needs no answer");
        }
        Err(error) if error.is_connect() => link.break_off(unreachable(error)).await,
        Err(error) => {
            tracing::warn!(error = describe(error), "a message did not reach a tool server");
        }
    }
    if let Kind::Cancelled(id) = kind {
        link.withdraw(id);
    }
}

/// Sends a request; its answer is delivered when it comes.
pub(super) fn ask(link: &Arc<Link>, departure: Departure, id: Id) {
    let withdrawn = link.begin(&id);
    let asking = Arc::clone(link);
    link.spawn(async move {
        // Nobody waits for the answer to what was withdrawn, and hanging up says nothing to the server.
        let _ = withdrawn.run_until_cancelled(exchange(&asking, departure, &id)).await;
        asking.finish(&id);
    });
}

async fn exchange(link: &Arc<Link>, mut departure: Departure, id: &Id) {
    let initializes = is_initialize(&departure.text);
    let response = match link.post(std::mem::take(&mut departure.text)).send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => {
            let reason = unreachable(error);
            not_taken(link, id, &reason).await;
            return link.break_off(reason).await;
        }
        Err(error) => return lost(link, id, &describe(error)).await,
    };
    // The server has it, so its room is free.
    drop(departure);
    let status = response.status();
    if link.is_lost(status) {
        // A server that does not know the session has not looked at the request.
        not_taken(link, id, SESSION_LOST).await;
        return link.lose().await;
    }
    if status == StatusCode::OK && initializes {
        link.learn_session(response.headers());
    }
    if status == StatusCode::OK && is_stream(&response) {
        return follow(link, response, id, initializes).await;
    }
    let is_json = media_type(&response) == "application/json";
    let arrival = match body(response).await {
        Ok(text) if is_json => answer(&text, id, status),
        Ok(_) if status.is_server_error() => {
            Arrival::Lost { id: id.clone(), reason: refused(status), taken: true }
        }
        Ok(_) if status.is_success() => {
            malformed(id, format!("HTTP {status} without JSON or an event stream"))
        }
        Ok(_) => malformed(id, refused(status)),
        Err(BodyError::TooLarge(bytes)) => {
            Arrival::Oversized { bytes, concerns: Concerns::Answer(id.clone()) }
        }
        Err(BodyError::Broken(reason)) => Arrival::Lost { id: id.clone(), reason, taken: true },
    };
    deliver_answer(link, arrival, initializes).await;
}

/// Reads the stream that answers a request, over as many connections as it takes.
async fn follow(link: &Arc<Link>, response: Response, id: &Id, initializes: bool) {
    let mut cursor = Cursor::default();
    let mut events = Events::of(response);
    let mut failures = 0;
    loop {
        let reason = match read(link, &mut events, &mut cursor, id, initializes).await {
            None => return,
            Some(Over::TooLarge(bytes)) => {
                let concerns = Concerns::Answer(id.clone());
                return link.deliver(Arrival::Oversized { bytes, concerns }).await;
            }
            Some(Over::Ended(reason)) => reason,
        };
        events = loop {
            let Some(last) = cursor.last_id.clone() else { return lost(link, id, &reason).await };
            tokio::time::sleep(pause(cursor.retry(), failures)).await;
            let failure = match link.get(Some(&last)).send().await {
                Ok(response) if response.status() == StatusCode::OK && is_stream(&response) => {
                    failures = 0;
                    break Events::of(response);
                }
                Ok(response) if link.is_lost(response.status()) => return link.lose().await,
                Ok(response) if response.status().is_client_error() => {
                    let reason = format!("{reason}; resuming it: {}", refused(response.status()));
                    return lost(link, id, &reason).await;
                }
                Ok(response) => refused(response.status()),
                Err(error) => describe(error),
            };
            failures += 1;
            if failures >= ATTEMPTS {
                return lost(link, id, &format!("{reason}; resuming it: {failure}")).await;
            }
        };
    }
}

/// Delivers what a connection carries. Nothing is left when the answer was among it.
async fn read(
    link: &Arc<Link>,
    events: &mut Events,
    cursor: &mut Cursor,
    id: &Id,
    initializes: bool,
) -> Option<Over> {
    loop {
        let text = match events.next(cursor).await {
            Ok(text) => text,
            Err(over) => return Some(over),
        };
        match Message::parse(&text) {
            Ok(message) => {
                let answers =
                    matches!(&message, Message::Response(Answer { id: answered, .. }) if answered == id);
                deliver_answer(link, Arrival::Message(message), initializes && answers).await;
                if answers {
                    // A connection that is read to its end can be used again.
                    let _ = tokio::time::timeout(REST, events.next(cursor)).await;
                    return None;
                }
            }
            Err(malformed) => link.deliver(Arrival::Malformed(malformed)).await,
        }
    }
}

async fn deliver_answer(link: &Link, arrival: Arrival, initializes: bool) {
    if let (true, Arrival::Message(message)) = (initializes, &arrival) {
        // Before the session hears it, for what it says next needs the version.
        link.learn_version(message);
    }
    link.deliver(arrival).await;
}

/// The answer in a JSON body, which must be to this request.
fn answer(text: &str, id: &Id, status: StatusCode) -> Arrival {
    match Message::parse(text) {
        Ok(Message::Response(answer)) if answer.id == *id => Arrival::Message(Message::Response(answer)),
        // An error need not name the request that it is the answer to.
        Ok(Message::UnattributedError(error)) => {
            Arrival::Message(Message::Response(Answer { id: id.clone(), outcome: Err(error) }))
        }
        _ if status.is_server_error() => {
            Arrival::Lost { id: id.clone(), reason: refused(status), taken: true }
        }
        Ok(_) => malformed(id, "the body holds something else than the answer".to_owned()),
        Err(error) => malformed(id, error.to_string()),
    }
}

/// Whether the request took effect is not known, and the session must say so.
async fn lost(link: &Link, id: &Id, reason: &str) {
    link.deliver(Arrival::Lost { id: id.clone(), reason: reason.to_owned(), taken: true }).await;
}

/// The request certainly had no effect.
async fn not_taken(link: &Link, id: &Id, reason: &str) {
    link.deliver(Arrival::Lost { id: id.clone(), reason: reason.to_owned(), taken: false }).await;
}

fn malformed(id: &Id, reason: String) -> Arrival {
    Arrival::Malformed(Malformed::Response { id: id.clone(), reason })
}

fn refused(status: StatusCode) -> String {
    if status.is_redirection() {
        return format!("the server redirects (HTTP {status}), which is not followed; configure its new URL");
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("the server answered HTTP {status}; check the headers configured for it")
        }
        _ => format!("the server answered HTTP {status}"),
    }
}

fn unreachable(error: reqwest::Error) -> String {
    format!("the server cannot be reached: {}", describe(error))
}

fn is_initialize(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Method {
        method: String,
    }

    // Only ever the first request, so the length bounds the work for all others.
    text.len() < 1024 * 1024
        && serde_json::from_str::<Method>(text).is_ok_and(|Method { method }| method == "initialize")
}

enum BodyError {
    TooLarge(u64),
    Broken(String),
}

/// A body of at most the largest message's size.
async fn body(mut response: Response) -> Result<String, BodyError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let size = bytes.len() + chunk.len();
                if size > MAX_LINE_BYTES {
                    return Err(BodyError::TooLarge(size as u64));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) => break,
            Err(error) => return Err(BodyError::Broken(describe(error))),
        }
    }
    // What is not UTF-8 is not JSON either, and parsing says so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
