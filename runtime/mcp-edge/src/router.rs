//! The checks of a request in their order, and the answers.
//!
//! | | check | failure |
//! |---|---|---|
//! | 1 | `Host` is one of ours; `Origin` is absent, ours or allowed: for every path, known or not | 400, 403 |
//! | 2 | the peer's rate | 429 |
//! | 3 | credentials: for every path but health and what is below `/.well-known` and `/oauth` | 401, 429 |
//! | 4 | method | 405 |
//! | 5 | `Accept` | 406 |
//! | 6 | `Content-Type` | 415 |
//! | 7 | size of the body, its time, and the room for requests being read or in work | 413, 408, 429 |
//! | 8 | one JSON-RPC message | 400, -32700 or -32600 |
//! | 9 | `initialize` has an id and no session; everything else has a session | 400, -32600 |
//! | 10 | the session serves | 404 |
//! | 11 | the credentials are the session's | 403 |
//! | 12 | `MCP-Protocol-Version` is the session's | 400 |
//! | 13 | the scopes of the token | 403 |
//!
//! Of `initialize` the scopes come with check 9. A stopping edge answers it 503.
//!
//! What comes after that is an answer, with status 200, also when it is a refusal: clients end their session for
//! most other statuses.

mod accept;
mod body;
mod capability;
mod expiry;
mod get;
mod guard;
mod initialize;
mod post;
mod rates;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use chio_policy::Identity;
use chio_spec::ErrorCode;
use tower_service::Service;

use crate::admin;
use crate::auth::{Admission, Authentication, Pass};
use crate::config::EdgeConfig;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::refusal::{Away, Refusal};
use crate::sessions::Registry;

use body::Reading;
use guard::Guard;
pub(crate) use rates::network;
use rates::{Kind, Rates};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How long the body of a request may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadTimeout(pub(crate) Duration);

/// The names of headers that only MCP and this edge use.
pub(crate) mod header {
    pub(crate) const SESSION_ID: &str = "mcp-session-id";
    pub(crate) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
    pub(crate) const LAST_EVENT_ID: &str = "last-event-id";
    /// In which way the edge answers, for those who look at traffic.
    pub(crate) const RESPONSE_MODE: &str = "x-chio-mcp-response-mode";
}

/// Everything that requests share.
pub(crate) struct Edge {
    pub(crate) config: EdgeConfig,
    pub(crate) auth: Arc<Authentication>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    guard: Guard,
    rates: Rates,
    reading: Reading,
}

impl Edge {
    pub(crate) fn new(
        address: SocketAddr,
        config: EdgeConfig,
        auth: Arc<Authentication>,
        host: Arc<dyn Host>,
    ) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new());
        Arc::new(Self {
            guard: Guard::new(address, &config),
            rates: Rates::new(&config.limits),
            reading: Reading::new(&config.limits),
            registry: Registry::new(Arc::clone(&host), config.limits.clone(), Arc::clone(&metrics)),
            metrics,
            config,
            auth,
            host,
        })
    }

    /// Who sent a request with these headers, and what that rests on.
    async fn identify(&self, peer: Peer, headers: &HeaderMap) -> Result<(Arc<Identity>, Pass), Away> {
        match self.auth.identify(headers).await {
            Ok(Admission { identity, pass }) => Ok((Arc::new(identity), pass)),
            Err(failure) => {
                // Only wrong credentials count, and only they are limited: behind a proxy, and on this machine, all
                // callers have one address, and nobody may shut the others out.
                if failure.is_wrong_credential() {
                    self.wrong_credential(peer)?;
                }
                tracing::debug!(peer = %peer.0, detail = failure.detail(), "refused a caller");
                let code = failure.code();
                let mut response = failure.into_response();
                response.extensions_mut().insert(code);
                Err(response.into())
            }
        }
    }
}

impl Edge {
    /// Counts a wrong credential; refuses when there were too many.
    pub(crate) fn wrong_credential(&self, peer: Peer) -> Result<(), Refusal> {
        self.rates.count(Kind::Failure, peer.0).map_err(|seconds| {
            Refusal::rate_limited("too many requests from this address had wrong credentials", seconds)
        })
    }
}

/// All routes, behind the checks that hold for every path.
#[derive(Clone)]
pub(crate) struct Routes {
    edge: Arc<Edge>,
    router: Router,
}

impl Routes {
    pub(crate) fn new(edge: &Arc<Edge>) -> Self {
        let router = Router::new()
            .route("/mcp", any(mcp))
            .merge(admin::routes(edge))
            .fallback(nothing_here)
            .with_state(Arc::clone(edge))
            .merge(edge.auth.routes());
        Self { edge: Arc::clone(edge), router }
    }

    pub(crate) async fn answer(mut self, peer: Peer, request: axum::http::Request<Body>) -> Response {
        let edge = Arc::clone(&self.edge);
        let response = match edge.guard.check(&request) {
            Err(refusal) => refusal.into_response(),
            Ok(()) => {
                let origin = edge.guard.foreign_origin(request.headers());
                let mut response = self.within(peer, request).await;
                // Also a refusal, so that the page can read when to come again.
                guard::allow(&mut response, origin);
                response
            }
        };
        if let Some(code) = response.extensions().get::<ErrorCode>() {
            edge.metrics.refused(*code);
        }
        response
    }

    async fn within(&mut self, peer: Peer, mut request: axum::http::Request<Body>) -> Response {
        if let Err(seconds) = self.edge.rates.count(Kind::Request, peer.0) {
            let text = "this address sends more requests than it may";
            return Refusal::rate_limited(text, seconds).into_response();
        }
        if let Some(response) = self.edge.guard.preflight(&request) {
            return response;
        }
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(ReadTimeout(self.edge.config.limits.read_timeout));
        match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

async fn mcp(State(edge): State<Arc<Edge>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (identity, pass) = match edge.identify(peer, &head.headers).await {
        Ok(caller) => caller,
        Err(away) => return away.into_response(),
    };
    let answered = match head.method {
        Method::POST => post::answer(&edge, peer, &identity, &head.headers, body).await,
        Method::GET => get::answer(&edge, &identity, &head.headers),
        Method::DELETE => delete(&edge, &identity, &head.headers),
        _ => Err(method_not_allowed("GET, POST, DELETE").into()),
    };
    match answered {
        Ok(response) => expiry::bound(response, &head.method, &edge.auth, pass),
        Err(away) => away.into_response(),
    }
}

fn delete(edge: &Edge, identity: &Identity, headers: &HeaderMap) -> Result<Response, Away> {
    let session = session::find(edge, identity, headers, None)?;
    session::authorize(edge, identity, "")?;
    if edge.registry.end(&session, crate::sessions::State::Deleted) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(session::not_found(None).into())
    }
}

async fn nothing_here(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let nothing = || Refusal::new(ErrorCode::MethodNotFound, "there is nothing at this path; MCP is at /mcp");
    // Clients look here for where to log in before they have credentials, and take anything but 404 for a fault.
    if request.uri().path().starts_with("/.well-known/") {
        return nothing().with_status(StatusCode::NOT_FOUND).into_response();
    }
    match edge.identify(peer, request.headers()).await {
        Ok(_) => nothing().into_response(),
        Err(away) => away.into_response(),
    }
}

/// Another HTTP method than the path has.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequestShape, format!("this path knows the methods {allowed} only"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .with_header(ALLOW, HeaderValue::from_static(allowed))
}
