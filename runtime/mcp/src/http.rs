//! A server over streamable HTTP (MCP 2025-11-25, "Streamable HTTP"), as a [`Channel`].
//!
//! Every message for the server is a POST of its own, many of them at a time; what the server says arrives in
//! their answers, or on one stream that is open all the while. A broken answer stream is resumed where the server
//! allows it. Where it does not, the request is lost and said to be: it is never sent twice, for it may have acted.
//!
//! The server's session is one with the channel: when the server does not know it any more, the channel ends
//! and everything that waits fails. Whoever needs the server then starts a new one; nothing is half alive.
//!
//! The server gets the headers that the operator configured and no others: credentials of callers stay here.
//! Redirects are refused, for they would carry the configured ones elsewhere.

mod client;
mod events;
mod exchange;
mod link;
mod listen;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::channel::{Channel, Departures};
use crate::error::McpError;
use crate::stdio::QUEUE_BYTES;

use link::Link;

/// How long the end of a session may take at the server.
const FAREWELL: Duration = Duration::from_secs(3);

/// Headers that the transport itself sets.
const OWN_HEADERS: [&str; 10] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
    "upgrade",
];

/// Where a server is reached over HTTP.
#[derive(Clone)]
pub struct HttpEndpoint {
    url: Url,
    headers: HeaderMap,
}

impl HttpEndpoint {
    /// The endpoint at `url`, to which every request carries `headers`. Their values are secrets: they are
    /// never logged.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when the URL is not one of `http` or `https`, holds credentials, or a header
    /// is malformed or the transport's own.
    pub fn new(url: Url, headers: &[(String, String)]) -> Result<Self, McpError> {
        let invalid = |reason: String| Err(McpError::InvalidParams(reason));
        if !matches!(url.scheme(), "http" | "https") {
            return invalid(format!("the server's URL must be http or https, and not {}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("the server's URL holds credentials; write them as a header".to_owned());
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let Ok(header) = HeaderName::try_from(name.as_str()) else {
                return invalid(format!("{name:?} is not the name of a header"));
            };
            if OWN_HEADERS.contains(&header.as_str()) {
                return invalid(format!(
                    "the header {header} is the transport's own and cannot be configured"
                ));
            }
            let Ok(mut value) = HeaderValue::try_from(value.as_str()) else {
                return invalid(format!("the value of the header {header} holds what a header cannot"));
            };
            value.set_sensitive(true);
            map.append(header, value);
        }
        Ok(Self { url, headers: map })
    }

    /// Where it is, for messages: without its query, which may hold a secret.
    #[must_use]
    pub fn place(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }
}

impl std::fmt::Debug for HttpEndpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        formatter.debug_struct("HttpEndpoint").field("url", &self.place()).field("headers", &names).finish()
    }
}

/// The transport's end of a channel to a server. Dropping it closes all connections without a farewell.
pub(crate) struct Connection {
    link: Arc<Link>,
}

impl Connection {
    /// Speaks to the server at `endpoint`. Nothing is sent before the session sends something. Must be called
    /// within a Tokio runtime.
    ///
    /// # Errors
    /// [`McpError::NotInitialized`] when this process cannot speak HTTP at all.
    pub(crate) fn open(endpoint: &HttpEndpoint) -> Result<(Channel, Self), McpError> {
        let (channel, arrived, departures) = Channel::new(QUEUE_BYTES);
        let link = Arc::new(Link::new(endpoint.clone(), client::shared()?, arrived));
        let sender = Arc::clone(&link);
        link.spawn(send_all(sender, departures));
        Ok((channel, Self { link }))
    }

    /// Ends the server's session and closes all connections.
    pub(crate) async fn close(&self) {
        if let Some(farewell) = self.link.farewell() {
            match tokio::time::timeout(FAREWELL, farewell.send()).await {
                // Servers may not allow it; then their sessions end in their own time.
                Ok(Ok(answer)) => {
                    tracing::debug!(status = %answer.status(), "ended the session of a tool server");
                }
                Ok(Err(error)) => {
                    tracing::debug!(
                        error = client::describe(error),
                        "the session of a tool server was not ended"
                    );
                }
                Err(_) => tracing::debug!("a tool server took too long to end its session"),
            }
        }
        self.link.end();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.end();
    }
}

/// Sends what the session says, in order where the order matters: notifications one after the other, and
/// nothing before the server knows that it is initialized. Requests and answers wait for nobody.
async fn send_all(link: Arc<Link>, mut departures: Departures) {
    let (in_turn, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let teller = Arc::clone(&link);
    link.spawn(async move {
        while let Some((departure, kind)) = turns.recv().await {
            exchange::tell(&teller, departure, &kind).await;
        }
    });
    while let Some(departure) = departures.next().await {
        match exchange::Kind::of(&departure.text) {
            exchange::Kind::Request(id) => exchange::ask(&link, departure, id),
            kind @ exchange::Kind::Initialized => {
                exchange::tell(&link, departure, &kind).await;
                let listener = Arc::clone(&link);
                link.spawn(async move { listen::run(&listener).await });
            }
            kind @ exchange::Kind::Answered => {
                let teller = Arc::clone(&link);
                link.spawn(async move { exchange::tell(&teller, departure, &kind).await });
            }
            // Room in the channel's bound goes with the departure, so this queue is bounded too.
            kind => drop(in_turn.send((departure, kind))),
        }
    }
    link.end();
}
