//! The server that a client talks to: one wrapped server, every call governed and receipted.
//!
//! The edge looks like the wrapped server. It answers initialization with the server's own words, less
//! what is not governed here; it lists what the caller may use; and it sends everything that acts
//! (tool calls, reading and subscribing to resources, prompts, completions) through the kernel.
//! Lists, log levels and the end of a subscription pass without a receipt, for they reveal only what
//! may be used and change nothing but what the client is told. Under an emergency stop they are refused,
//! all but the end of a subscription, after which the server does less.
//!
//! It knows no transport: [`Edge::serve`] takes a [`Channel`], which [`crate::stdio`] makes of pipes and the
//! hosted edge of HTTP streams.

mod calls;
mod lists;
mod phase;
mod relay;
mod results;
mod run;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use chio_json::{Json, PublicKeyHex};
use chio_kernel::{CallerSession, Kernel, LocalAuthority};

use crate::channel::Channel;
use crate::connection::WrappedServer;
use crate::error::CloseReason;
use crate::jsonrpc::{ErrorObject, INVALID_REQUEST, METHOD_NOT_FOUND, Members, Notification};
use crate::registry::chio_error;
use crate::servers::{Introduction, SessionServers};
use crate::session::{Handler, Incoming, Limits, RequestOptions, Session};
use crate::upstream::{REQUEST_TIMEOUT, Upstream, empty_object};

use phase::Phases;
use relay::FromUpstream;
use results::upstream_error;

pub use results::{DECISION_KEY, ERROR_KEY, RECEIPT_ID_KEY};
pub use run::{WrapEnd, wrap_stdio};

/// How long calls may go on once the client has closed its end: a script that pipes its requests in and waits for the
/// answers must get them, also from a server that is slow to start. SDKs that want an end send SIGTERM after two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long cancelled calls may take to get their receipts signed and their answers written.
const MERCY: Duration = Duration::from_secs(3);

/// What a client says once it has read the answer to `initialize`.
const INITIALIZED: &str = "notifications/initialized";

/// Server capabilities that this edge relays. What it does not know (tasks, experiments) stays hidden.
const RELAYED_CAPABILITIES: [&str; 5] = ["tools", "resources", "prompts", "completions", "logging"];

/// What an edge is made of.
#[derive(Clone)]
pub struct EdgeSettings {
    /// Decides every call.
    pub kernel: Arc<Kernel>,
    /// The servers behind the edge, of which it serves the first; their fleet must be the kernel's.
    pub servers: Arc<SessionServers>,
    /// Issues the capabilities of callers, who speak plain MCP and present none.
    pub authority: Arc<LocalAuthority>,
    /// The key that the authority issues to.
    pub subject: PublicKeyHex,
    /// The name of the surface in receipts, for example `mcp-stdio`.
    pub surface: &'static str,
}

/// One client's session with a wrapped server.
pub struct Edge {
    settings: EdgeSettings,
    server: Arc<WrappedServer>,
    upstream: Arc<Upstream>,
    caller: Arc<CallerSession>,
    client: Session,
    phases: Phases,
    subscriptions: Arc<Mutex<HashSet<String>>>,
}

/// Why a session with a client is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed the connection, or it broke.
    Client(CloseReason),
    /// The wrapped server is gone.
    Server,
    /// We were told to stop.
    Stopped,
}

impl Edge {
    /// Serves one client until it leaves, the wrapped server ends or `stop` fires. Then calls in work are
    /// given a moment to finish and the rest is cancelled, each with its receipt, and all answers are
    /// written. The wrapped server is left running: end it with [`SessionServers::close`].
    pub async fn serve(settings: EdgeSettings, channel: Channel, stop: CancellationToken) -> End {
        let (client, driver) = Session::new(channel, Limits::default());
        let subscriptions = Arc::new(Mutex::new(HashSet::new()));
        let started =
            settings.servers.members().first().map(|member| (member.wrapped().clone(), member.start()));
        let (server, upstream) = match started {
            Some((server, Ok(upstream))) => (server, upstream),
            Some((_, Err(error))) => {
                tracing::error!(%error, "the wrapped server could not be started");
                return End::Server;
            }
            None => return End::Server,
        };
        let ended = upstream.ended().clone();
        let edge = Arc::new(Self {
            server,
            upstream,
            caller: CallerSession::bound_to(settings.subject),
            settings,
            client: client.clone(),
            phases: Phases::new(),
            subscriptions: Arc::clone(&subscriptions),
        });
        edge.introduce();

        let end = tokio::select! {
            reason = driver.run(edge) => End::Client(reason),
            () = ended.cancelled() => End::Server,
            () = stop.cancelled() => End::Stopped,
        };
        tracing::info!(?end, in_work = client.in_work(), "the client's session ends");
        let patience = match &end {
            // The client may still read what it asked for; calls of a dead server end by themselves.
            End::Client(CloseReason::Eof) | End::Server => PATIENCE,
            End::Client(_) | End::Stopped => Duration::ZERO,
        };
        // A stop during the patience ends it.
        let left = tokio::select! {
            left = client.finish(patience, MERCY) => left,
            () = stop.cancelled(), if end != End::Stopped => client.finish(Duration::ZERO, MERCY).await,
        };
        if left > 0 {
            tracing::warn!(left, "answers could not be delivered; the log shows what became of the calls");
        }
        end
    }

    /// Listens to the server from before it is initialized, which this edge does itself.
    fn introduce(&self) {
        let introduction = Introduction {
            protocol_version: String::new(),
            client_info: empty_object(),
            capabilities: Arc::new(|_| empty_object()),
        };
        self.settings.servers.introduce(introduction, Arc::new(FromUpstream::new(self)));
    }

    async fn initialize(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        if !self.phases.is_begun_by(&request.id) {
            return Err(ErrorObject::new(INVALID_REQUEST, "this session is initialized already"));
        }
        let params = request.params.clone().unwrap_or_else(empty_object);
        let answer = match self.upstream.initialize(&governed(&params)?).await {
            Ok(initialized) => relayed_capabilities(&initialized.result),
            Err(error) => Err(upstream_error(error)),
        };
        if self.phases.end(answer.is_ok()) {
            self.tell_ready();
        }
        self.phases.wake();
        answer
    }

    /// Passes unless everything, or this client, is stopped. The kernel asks again for whatever acts.
    fn not_stopped(&self) -> Result<(), ErrorObject> {
        let settings = &self.settings;
        if settings.kernel.store().stops().covers(&settings.subject.to_string()) {
            return Err(chio_error(chio_spec::ErrorCode::EmergencyStop, None, None));
        }
        Ok(())
    }

    fn tell_ready(&self) {
        self.upstream.notify(INITIALIZED, None);
    }

    /// Passes a request that needs no decision.
    async fn relay(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let options = RequestOptions {
            timeout: Some(REQUEST_TIMEOUT),
            cancelled: Some(request.cancelled.clone()),
            ..RequestOptions::default()
        };
        let params = request.params.as_ref().map(without_progress_token).transpose()?;
        self.upstream.request(&request.method, params.as_ref(), options).await.map_err(upstream_error)
    }
}

#[async_trait]
impl Handler for Edge {
    fn arriving(&self, request: &Incoming) {
        if request.method == "initialize" {
            self.phases.begin(&request.id);
        }
    }

    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        match request.method.as_str() {
            "ping" => return Ok(empty_object()),
            "initialize" => return self.initialize(&request).await,
            _ => {}
        }
        let known = matches!(
            request.method.as_str(),
            "tools/list"
                | "tools/call"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
                | "resources/subscribe"
                | "resources/unsubscribe"
                | "prompts/list"
                | "prompts/get"
                | "completion/complete"
                | "logging/setLevel"
        );
        if !known {
            let message = format!("the method {} does not exist here", request.method);
            return Err(ErrorObject::new(METHOD_NOT_FOUND, message));
        }
        if !self.phases.ready().await {
            return Err(chio_error(chio_spec::ErrorCode::SessionNotInitialized, None, None));
        }
        if refused_when_stopped(&request.method) {
            self.not_stopped()?;
        }
        match request.method.as_str() {
            "tools/list" => self.list_tools(&request).await,
            "resources/list" => self.list_resources(&request).await,
            "resources/templates/list" => self.list_templates(&request).await,
            "prompts/list" => self.list_prompts(&request).await,
            "tools/call" => self.call_tool(&request).await,
            "resources/read" => self.read_resource(&request).await,
            "resources/subscribe" => self.subscribe(&request).await,
            "resources/unsubscribe" => self.unsubscribe(&request).await,
            "prompts/get" => self.get_prompt(&request).await,
            "completion/complete" => self.complete(&request).await,
            _ => self.relay(&request).await,
        }
    }

    fn notification(&self, notification: Notification) {
        match notification.method.as_str() {
            INITIALIZED => {
                if self.phases.confirm() {
                    self.tell_ready();
                }
            }
            // Roots are not announced to the server, and nothing else that a client may tell is governed.
            method => tracing::debug!(method, "dropped a notification of the client"),
        }
    }
}

/// Whether a method reaches the server without a decision of the kernel, and must not under a stop.
fn refused_when_stopped(method: &str) -> bool {
    matches!(
        method,
        "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list" | "logging/setLevel"
    )
}

/// Client capabilities that would let the server act through us without a decision of the kernel.
const UNGOVERNED: [&str; 4] = ["sampling", "elicitation", "roots", "tasks"];

/// The client's parameters without the capabilities that are not governed here.
fn governed(params: &Json) -> Result<Json, ErrorObject> {
    let invalid = |error: String| ErrorObject::new(crate::jsonrpc::INVALID_PARAMS, error);
    let mut members = Members::parse(params.get()).map_err(|error| invalid(error.to_string()))?;
    let capabilities = members.get("capabilities").unwrap_or("{}").to_owned();
    let mut capabilities = Members::parse(&capabilities).map_err(|error| invalid(error.to_string()))?;
    capabilities.retain(|name| !UNGOVERNED.contains(&name));
    members.set("capabilities", capabilities.to_text());
    members.to_json().map_err(|error| invalid(error.to_string()))
}

/// The server's own answer to initialization, without the capabilities that are not relayed.
fn relayed_capabilities(result: &Json) -> Result<Json, ErrorObject> {
    let broken = |reason: String| {
        chio_error(
            chio_spec::ErrorCode::ToolServerError,
            Some(&format!("the initialization: {reason}")),
            None,
        )
    };
    let mut members = Members::parse(result.get()).map_err(|error| broken(error.to_string()))?;
    let capabilities = members.get("capabilities").unwrap_or("{}").to_owned();
    let mut capabilities = Members::parse(&capabilities).map_err(|error| broken(error.to_string()))?;
    capabilities.retain(|name| RELAYED_CAPABILITIES.contains(&name));
    members.set("capabilities", capabilities.to_text());
    members.to_json().map_err(|error| broken(error.to_string()))
}

/// The client's progress token means nothing to the server, and could be mistaken for one of ours.
fn without_progress_token(params: &Json) -> Result<Json, ErrorObject> {
    let invalid = |error: String| ErrorObject::new(crate::jsonrpc::INVALID_PARAMS, error);
    let mut members = Members::parse(params.get()).map_err(|error| invalid(error.to_string()))?;
    let Some(meta) = members.get("_meta").map(str::to_owned) else { return Ok(params.clone()) };
    let mut meta = Members::parse(&meta).map_err(|error| invalid(format!("`_meta`: {error}")))?;
    meta.remove("progressToken");
    members.set("_meta", meta.to_text());
    members.to_json().map_err(|error| invalid(error.to_string()))
}
