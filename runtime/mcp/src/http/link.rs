//! What all exchanges with one server share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::channel::Arrival;
use crate::http::HttpEndpoint;
use crate::jsonrpc::{Id, Members, Message};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The media type of an event stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// What a session is told whose server forgot it.
pub(super) const SESSION_LOST: &str = "the server does not know the session any more (HTTP 404)";

/// The connections to one server.
pub(super) struct Link {
    endpoint: HttpEndpoint,
    client: Client,
    session: OnceLock<HeaderValue>,
    version: OnceLock<HeaderValue>,
    /// None once the connection is over.
    arrived: Mutex<Option<mpsc::Sender<Arrival>>>,
    /// What reads the answers of requests that wait, by the requests' ids.
    waiting: Mutex<HashMap<Id, CancellationToken>>,
    /// The server knows our session no more, so that there is nothing to take leave of.
    lost: AtomicBool,
    over: CancellationToken,
}

impl Link {
    pub(super) fn new(endpoint: HttpEndpoint, client: Client, arrived: mpsc::Sender<Arrival>) -> Self {
        Self {
            endpoint,
            client,
            session: OnceLock::new(),
            version: OnceLock::new(),
            arrived: Mutex::new(Some(arrived)),
            waiting: Mutex::default(),
            lost: AtomicBool::new(false),
            over: CancellationToken::new(),
        }
    }

    /// Runs something until the connection is over.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        tokio::spawn(async move { over.run_until_cancelled_owned(work).await });
    }

    /// A POST of one message.
    pub(super) fn post(&self, text: String) -> RequestBuilder {
        self.request(Method::POST)
            .header(ACCEPT, "application/json, text/event-stream")
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(text)
    }

    /// A GET of a stream: the one that carries the event `after`, or the one for what belongs to no request.
    pub(super) fn get(&self, after: Option<&HeaderValue>) -> RequestBuilder {
        let request = self.request(Method::GET).header(ACCEPT, EVENT_STREAM);
        match after {
            Some(id) => request.header(LAST_EVENT_ID, id),
            None => request,
        }
    }

    /// The end of the session, if the server gave us one and still has it.
    pub(super) fn farewell(&self) -> Option<RequestBuilder> {
        let has_session = self.session.get().is_some() && !self.lost.load(Ordering::Relaxed);
        has_session.then(|| self.request(Method::DELETE))
    }

    fn request(&self, method: Method) -> RequestBuilder {
        let mut headers = self.endpoint.headers.clone();
        for (name, value) in [(SESSION_ID, &self.session), (PROTOCOL_VERSION, &self.version)] {
            if let Some(value) = value.get() {
                headers.insert(name, value.clone());
            }
        }
        self.client.request(method, self.endpoint.url.clone()).headers(headers)
    }

    /// Takes the session's id from the answer to `initialize`.
    pub(super) fn learn_session(&self, headers: &HeaderMap) {
        let id = headers.get(SESSION_ID);
        // Visible ASCII, as the standard has it.
        if let Some(id) = id.filter(|id| id.as_bytes().iter().all(|byte| (0x21..=0x7E).contains(byte))) {
            let _ = self.session.set(id.clone());
        }
    }

    /// Takes the protocol version from the answer to `initialize`.
    pub(super) fn learn_version(&self, answer: &Message) {
        let Message::Response(response) = answer else { return };
        let Ok(result) = &response.outcome else { return };
        let version = Members::parse(result.get()).ok().and_then(|result| result.string("protocolVersion"));
        if let Some(version) = version.and_then(|version| HeaderValue::try_from(version).ok()) {
            let _ = self.version.set(version);
        }
    }

    /// Whether this answer says that the server knows our session no more.
    pub(super) fn is_lost(&self, status: StatusCode) -> bool {
        status == StatusCode::NOT_FOUND && self.session.get().is_some()
    }

    /// Hands something to the session, waiting for room.
    pub(super) async fn deliver(&self, arrival: Arrival) {
        let arrived = self.lock_arrived().clone();
        if let Some(arrived) = arrived {
            // The session may be over; then nobody wants it.
            let _ = arrived.send(arrival).await;
        }
    }

    /// The server knows our session no more.
    pub(super) async fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.break_off(SESSION_LOST.to_owned()).await;
    }

    /// Ends the connection, for a reason that the session is told.
    pub(super) async fn break_off(&self, reason: String) {
        let arrived = self.lock_arrived().take();
        if let Some(arrived) = arrived {
            let _ = arrived.send(Arrival::Broken(reason)).await;
        }
        self.over.cancel();
    }

    /// Ends the connection.
    pub(super) fn end(&self) {
        // The end of the queue is the end of the connection.
        drop(self.lock_arrived().take());
        self.over.cancel();
    }

    /// A request begins to wait for its answer.
    pub(super) fn begin(&self, id: &Id) -> CancellationToken {
        let withdrawn = CancellationToken::new();
        self.lock_waiting().insert(id.clone(), withdrawn.clone());
        withdrawn
    }

    /// A request waits no more.
    pub(super) fn finish(&self, id: &Id) {
        self.lock_waiting().remove(id);
    }

    /// Nobody wants the answer to a request any more.
    pub(super) fn withdraw(&self, id: &Id) {
        if let Some(withdrawn) = self.lock_waiting().remove(id) {
            withdrawn.cancel();
        }
    }

    fn lock_arrived(&self) -> MutexGuard<'_, Option<mpsc::Sender<Arrival>>> {
        // Every critical section is one operation.
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_waiting(&self) -> MutexGuard<'_, HashMap<Id, CancellationToken>> {
        // Every critical section is one operation of the map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait between two attempts, doubled with every failure up to half a minute.
pub(super) fn pause(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(5)).min(Duration::from_secs(30))
}
