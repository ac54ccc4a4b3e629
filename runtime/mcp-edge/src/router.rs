//! The checks of a request in their order, and the answers.
//!
//! | | check | failure |
//! |---|---|---|
//! | 1 | `Host` is one of ours; `Origin` is absent, ours or allowed: for every path, known or not | 400, 403 |
//! | 2 | the peer's rate | 429 |
//! | 3 | credentials: for every path but health and the documents of authorization | 401 |
//! | 4 | method | 405 |
//! | 5 | `Accept` | 406 |
//! | 6 | `Content-Type` | 415 |
//! | 7 | size of the body | 413 |
//! | 8 | one JSON-RPC message | 400, -32700 or -32600 |
//! | 9 | `initialize` has an id and no session; everything else has a session | 400, -32600 |
//! | 10 | the session serves | 404 |
//! | 11 | `MCP-Protocol-Version` is the session's | 400 |
//! | 12 | the credentials are the session's | 403 |
//! | 13 | the scopes of the token | 403 |
//!
//! What comes after that is an answer, with status 200, also when it is a refusal: clients end their session for
//! most other statuses.

mod accept;
mod body;
mod capability;
mod get;
mod guard;
mod initialize;
mod post;
mod rates;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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
use crate::auth::Authentication;
use crate::config::EdgeConfig;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::refusal::{Away, Refusal};
use crate::sessions::Registry;

use body::Reading;
use guard::Guard;
use rates::{Kind, Rates};

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

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

    /// Who sent a request with these headers.
    pub(crate) async fn identify(&self, peer: Peer, headers: &HeaderMap) -> Result<Arc<Identity>, Away> {
        let limited = |seconds| {
            let text = "too many requests from this address had missing or wrong credentials";
            Refusal::rate_limited(text, seconds)
        };
        self.rates.look(Kind::Failure, peer.0).map_err(limited)?;
        match self.auth.identify(headers).await {
            Ok(identity) => Ok(Arc::new(identity)),
            Err(failure) => {
                let _ = self.rates.count(Kind::Failure, peer.0);
                tracing::debug!(peer = %peer.0, detail = failure.detail(), "refused a caller");
                let code = failure.code();
                let mut response = failure.into_response();
                response.extensions_mut().insert(code);
                Err(response.into())
            }
        }
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
        let response = match self.pass(peer, &request) {
            Err(refusal) => refusal.into_response(),
            Ok(Some(response)) => response,
            Ok(None) => {
                let origin = edge.guard.foreign_origin(request.headers());
                let mut request = request;
                request.extensions_mut().insert(peer);
                let mut response = match self.router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                guard::allow(&mut response, origin);
                response
            }
        };
        if let Some(code) = response.extensions().get::<ErrorCode>() {
            edge.metrics.refused(*code);
        }
        response
    }

    fn pass(&self, peer: Peer, request: &axum::http::Request<Body>) -> Result<Option<Response>, Refusal> {
        self.edge.guard.check(request)?;
        self.edge.rates.count(Kind::Request, peer.0).map_err(|seconds| {
            Refusal::rate_limited("this address sends more requests than it may", seconds)
        })?;
        Ok(self.edge.guard.preflight(request))
    }
}

async fn mcp(State(edge): State<Arc<Edge>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let identity = match edge.identify(peer, &head.headers).await {
        Ok(identity) => identity,
        Err(away) => return away.into_response(),
    };
    match head.method {
        Method::POST => post::answer(&edge, peer, &identity, &head.headers, body).await,
        Method::GET => get::answer(&edge, &identity, &head.headers),
        Method::DELETE => delete(&edge, &identity, &head.headers),
        _ => Err(method_not_allowed("GET, POST, DELETE").into()),
    }
    .unwrap_or_else(Away::into_response)
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
    match edge.identify(peer, request.headers()).await {
        Ok(_) => Refusal::new(ErrorCode::MethodNotFound, "there is nothing at this path; MCP is at /mcp")
            .into_response(),
        Err(away) => away.into_response(),
    }
}

/// Another HTTP method than the path has.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequestShape, format!("this path knows the methods {allowed} only"))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .with_header(ALLOW, HeaderValue::from_static(allowed))
}
