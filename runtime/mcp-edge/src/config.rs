//! What an operator can set about the edge. Plain values: whoever reads a file or a command line builds them.

use std::fmt;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

/// How an edge serves, apart from who may call.
#[derive(Clone)]
pub struct EdgeConfig {
    /// The URL under which clients reach the edge, without the path of an endpoint, when that is not the address that
    /// it listens on.
    pub public_url: Option<Url>,
    /// Hosts, with their port where they have one, that requests may name beside those of the listener and of
    /// `public_url`.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call the edge, for example `https://app.example.com`. A page that the edge
    /// itself could have served is always allowed, and so is a request without `Origin`.
    pub allowed_origins: Vec<String>,
    /// The token of the admin endpoints. Without it there are none but the health check.
    pub admin_token: Option<Zeroizing<String>>,
    /// What the edge keeps and accepts at most.
    pub limits: Limits,
    /// How long an answer may take to be sent as plain JSON. What takes longer, or has something to tell before,
    /// becomes an event stream.
    pub answer_delay: Duration,
    /// The silence after which the edge ends the event stream of a request, so that its client asks for the rest
    /// later. `None`: never.
    pub close_silent_after: Option<Duration>,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            admin_token: None,
            limits: Limits::default(),
            answer_delay: Duration::from_millis(50),
            close_silent_after: None,
        }
    }
}

impl fmt::Debug for EdgeConfig {
    /// The admin token never shows.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EdgeConfig")
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .field("limits", &self.limits)
            .field("answer_delay", &self.answer_delay)
            .field("close_silent_after", &self.close_silent_after)
            .finish_non_exhaustive()
    }
}

/// What an edge keeps and accepts at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions at a time. At the limit the one that is idle longest ends early. Where tokens tell callers apart, one
    /// principal may hold half of them; above that its own idle sessions end early.
    pub sessions: usize,
    /// Connections at a time; above that they wait to be accepted. One address may have a quarter of them, or 64 if that
    /// is more; this machine may have all.
    pub connections: usize,
    /// Requests in work at a time, of one session. Not above what a session of `chio-mcp` takes.
    pub requests_in_flight: usize,
    /// Bytes that wait for one session's client to read them. When they are full, answers wait, notifications are
    /// dropped, new requests are refused, and nothing undelivered is lost.
    pub buffered_bytes: usize,
    /// Bytes that wait for the clients of all sessions together. Above that, new requests are refused until some are
    /// read.
    pub undelivered_bytes: usize,
    /// Delivered events that one session keeps for clients that resume a stream.
    pub replay_events: usize,
    /// Bytes of those events. The newest one is kept whatever its size.
    pub replay_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of the bodies of all requests that are being read or in work at a time, over all sessions.
    pub reading_bytes: usize,
    /// How long a client may take to send the head of a request, and again to send its body.
    pub read_timeout: Duration,
    /// How long a client may leave its connection full without reading from it. Then the connection ends; what was not
    /// delivered stays for a client that resumes.
    pub write_timeout: Duration,
    /// How long a session may be without a stream, a call and a request before it ends.
    pub idle: Duration,
    /// How long calls in flight may take once their session drains, or the edge stops.
    pub drain_grace: Duration,
    /// Sessions that one address may open in a minute. 0 means that only the other limits hold.
    pub sessions_per_minute: u32,
    /// Requests with wrong credentials that one address may send in a minute; above that they are answered 429. Right
    /// credentials always pass. 0: as above.
    pub failures_per_minute: u32,
    /// Requests that one address may send in a minute. 0: as above.
    pub requests_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            connections: 10_000,
            requests_in_flight: 256,
            buffered_bytes: 32 * 1024 * 1024,
            undelivered_bytes: 1024 * 1024 * 1024,
            replay_events: 64,
            replay_bytes: 256 * 1024,
            body_bytes: 4 * 1024 * 1024,
            reading_bytes: 256 * 1024 * 1024,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            idle: Duration::from_secs(900),
            drain_grace: Duration::from_secs(5),
            sessions_per_minute: 1200,
            failures_per_minute: 120,
            requests_per_minute: 0,
        }
    }
}
