//! A wrapped MCP server, spoken to as its client.
//!
//! The upstream relays: what it does not have to understand passes as the text it is. It understands
//! initialization, to know what the server can do, and the list of tools, which every decision needs.
//! What the server asks and tells goes to [`UpstreamEvents`].

mod process;
mod tasks;
mod tools;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use chio_json::Json;

use crate::channel::{Channel, Route};
use crate::error::{CloseReason, McpError};
use crate::http::{Connection, HttpEndpoint};
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Members, Notification, quote};
use crate::process::{Exit, ServerCommand};
use crate::session::{
    Driver, Handler, Incoming, LastingProgress, Limits, ProgressSink, RequestOptions, Session,
};
use crate::stdio::{self, Side};

use process::Wrapped;
use tasks::Watched;
use tools::ToolCache;

pub(crate) use tasks::TaskWatch;

pub use tools::{Tool, ToolList};

/// How long a server may take to answer `initialize`. Package runners download the server first.
pub const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a server may take for a list or another request that no deadline of the kernel covers.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of one list of a server that are kept.
pub(crate) const MOST_LIST_BYTES: usize = 8 << 20;

/// Bytes of one entry of a list. Larger ones are hidden.
pub(crate) const MOST_ENTRY_BYTES: usize = 256 << 10;

/// What a server is told once its answer to `initialize` was read.
pub(crate) const INITIALIZED: &str = "notifications/initialized";

/// Methods by which a server asks its client. In grants and receipts they are tools of the server's id, so no
/// tool of a server may go by these names.
pub(crate) const CLIENT_METHODS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];

/// Methods by which a client asks a server. Receipts name the governed ones as they name tools.
pub(crate) const SERVER_METHODS: [&str; 15] = [
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/cancel",
];

/// Whether a name is that of a method. No tool may go by it, for a receipt would not say which of the two it means.
pub(crate) fn is_method(name: &str) -> bool {
    CLIENT_METHODS.contains(&name) || SERVER_METHODS.contains(&name)
}

const TASK_STATUS: &str = "notifications/tasks/status";

/// What becomes of what the server asks and tells.
#[async_trait]
pub trait UpstreamEvents: Send + Sync + 'static {
    /// Answers a request of the server (`sampling/createMessage`, `elicitation/create`, `roots/list`, …).
    /// `ping` is answered by the upstream itself.
    async fn request(&self, request: &Incoming) -> Result<Json, ErrorObject>;

    /// Takes a notification, in order. Must not block.
    fn notification(&self, notification: Notification);
}

/// A connection to one MCP server. Dropping it closes the connection and ends a server that we started.
pub struct Upstream {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
    behind: Behind,
}

/// What keeps the channel up.
enum Behind {
    /// Somebody else.
    Elsewhere,
    /// A process that we started.
    Process(Box<Wrapped>),
    /// A server that somebody else started.
    Http(Connection),
}

struct Shared {
    session: Session,
    events: RwLock<Option<Arc<dyn UpstreamEvents>>>,
    initialized: OnceLock<Initialized>,
    tools: ToolCache,
    tasks: Watched,
    ready: CancellationToken,
    ended: CancellationToken,
}

/// What a server said of itself when it was initialized.
#[derive(Clone, Debug)]
pub struct Initialized {
    /// The whole `InitializeResult`, as it arrived.
    pub result: Json,
    /// The protocol version it chose.
    pub protocol_version: String,
    has_tools: bool,
}

impl Upstream {
    /// Starts a server and connects to it. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`McpError::NotStarted`].
    pub fn start(command: &ServerCommand) -> Result<Self, McpError> {
        let process = command.spawn()?;
        let (channel, pumps) = stdio::attach(process.stdout, process.stdin, Side::Server);
        let mut upstream = Self::connect(channel);
        upstream.behind = Behind::Process(Box::new(Wrapped::new(command, process.handle, pumps)));
        Ok(upstream)
    }

    /// Connects to a server over HTTP. Nothing is sent before it is initialized. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// [`McpError::NotInitialized`] when this process cannot speak HTTP.
    pub fn reach(endpoint: &HttpEndpoint) -> Result<Self, McpError> {
        let (channel, connection) = Connection::open(endpoint)?;
        let mut upstream = Self::connect(channel);
        upstream.behind = Behind::Http(connection);
        Ok(upstream)
    }

    /// Speaks to a server over a channel that somebody else keeps up.
    #[must_use]
    pub fn connect(channel: Channel) -> Self {
        let (session, driver) = Session::new(channel, Limits::default());
        let shared = Arc::new(Shared {
            session,
            events: RwLock::default(),
            initialized: OnceLock::new(),
            tools: ToolCache::default(),
            tasks: Watched::default(),
            ready: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let driver = tokio::spawn(drive(driver, Arc::clone(&shared)));
        Self { shared, driver, behind: Behind::Elsewhere }
    }

    /// Who takes what the server asks and tells from now on. Until somebody does, its requests are refused
    /// without a receipt and its notifications dropped; a surface without MCP clients has
    /// [`Refusals`](crate::refusals::Refusals) listen. The listener must not hold the upstream.
    pub fn listen(&self, events: Arc<dyn UpstreamEvents>) {
        *self.shared.events.write().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    /// Initializes the server with `InitializeRequestParams` as they are. Their capabilities must be no more
    /// than what is governed, for what is announced here the server may use.
    ///
    /// # Errors
    /// [`McpError::Refused`] with the server's own error; [`McpError::NotStarted`] or
    /// [`McpError::NotInitialized`] when there is no server or no sense in its answer.
    pub async fn initialize(&self, params: &Json) -> Result<&Initialized, McpError> {
        let options = RequestOptions {
            timeout: Some(INITIALIZE_TIMEOUT),
            not_cancellable: true,
            ..RequestOptions::default()
        };
        let answer = self.shared.session.request("initialize", Some(params), options).await;
        let initialized = match answer {
            Ok(result) => Initialized::read(result)?,
            Err(refused @ McpError::Refused(_)) => return Err(refused),
            Err(error) => return Err(self.why_not_initialized(error).await),
        };
        Ok(self.shared.initialized.get_or_init(|| initialized))
    }

    /// Initializes the server with us as its client.
    ///
    /// # Errors
    /// As [`Upstream::initialize`].
    pub async fn initialize_as(&self, name: &str, version: &str) -> Result<&Initialized, McpError> {
        let initialized = self.initialize(&introduction_as(name, version)?).await?;
        self.notify(INITIALIZED, None);
        Ok(initialized)
    }

    /// What the server said of itself, once it is initialized.
    #[must_use]
    pub fn initialized(&self) -> Option<&Initialized> {
        self.shared.initialized.get()
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub async fn request(
        &self,
        method: &str,
        params: Option<&Json>,
        options: RequestOptions,
    ) -> Result<Json, McpError> {
        self.shared.session.request(method, params, options).await
    }

    /// Sends a notification as it is, unless the server does not read.
    pub fn notify(&self, method: &str, params: Option<&Json>) {
        if let Err(unsent) = self.shared.session.notify(method, params, Route::Unrelated) {
            tracing::warn!(method, %unsent, "a notification did not reach the tool server");
        }
        if method == INITIALIZED {
            self.shared.ready.cancel();
        }
    }

    /// The server's tools, all pages of them; kept until the server says that they changed.
    ///
    /// # Errors
    /// What the server answered, or why it did not.
    pub async fn tools(&self) -> Result<Arc<ToolList>, McpError> {
        self.shared.tools.get(&self.shared.session, self.has_tools()).await
    }

    /// The server's tools, asked for anew unless that was done a moment ago: for a name that the kept list
    /// does not have, from servers that do not say when it changes.
    ///
    /// # Errors
    /// As [`Upstream::tools`].
    pub async fn tools_anew(&self) -> Result<Arc<ToolList>, McpError> {
        self.shared.tools.get_anew(&self.shared.session, self.has_tools()).await
    }

    /// A progress token that lasts as long as what is returned: for a task, whose progress goes on after the
    /// request that made it was answered.
    pub(crate) fn lasting_progress(&self, sink: ProgressSink) -> LastingProgress {
        self.shared.session.lasting_progress(sink)
    }

    /// Hears each state of a task that the server tells, as long as what is returned is kept.
    pub(crate) fn watch_task(&self, task: &str, sink: ProgressSink) -> TaskWatch {
        self.shared.tasks.watch(task, sink)
    }

    /// Fires when the server was told that its client is initialized, from when on it may be asked for
    /// anything.
    #[must_use]
    pub fn ready(&self) -> &CancellationToken {
        &self.shared.ready
    }

    /// Fires when the server is gone.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.shared.ended
    }

    /// Why the connection is over, or `None` while it is not.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.shared.session.closed()
    }

    /// Since when neither side waits for the other; none while one does.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.shared.session.quiet_since()
    }

    /// Closes the connection; where we started the server, waits until its whole tree has ended, and where it
    /// keeps a session for us, takes leave of it.
    pub async fn stop(&self) -> Option<Exit> {
        self.shared.session.close();
        match &self.behind {
            Behind::Process(wrapped) => return Some(wrapped.stop().await),
            Behind::Http(connection) => connection.close().await,
            Behind::Elsewhere => {}
        }
        None
    }

    fn has_tools(&self) -> bool {
        self.initialized().is_none_or(|initialized| initialized.has_tools)
    }

    /// A server that ends during initialization mostly was misspelt, misconfigured or not installed.
    async fn why_not_initialized(&self, error: McpError) -> McpError {
        match &self.behind {
            Behind::Process(wrapped) if self.closed().is_some() => wrapped.why_ended().await,
            _ => McpError::NotInitialized { reason: error.to_string() },
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Initialized {
    fn read(result: Json) -> Result<Self, McpError> {
        let broken = |reason: String| McpError::NotInitialized { reason };
        let members = Members::parse(result.get())
            .map_err(|error| broken(format!("its answer is not a JSON object: {error}")))?;
        let protocol_version = members
            .string("protocolVersion")
            .ok_or_else(|| broken("its answer names no protocol version".to_owned()))?;
        let capabilities = Members::parse(members.get("capabilities").unwrap_or("{}"))
            .map_err(|error| broken(format!("its capabilities are not a JSON object: {error}")))?;
        let has_tools = capabilities.get("tools").is_some();
        Ok(Self { protocol_version, has_tools, result })
    }
}

/// The parameters of `initialize` for a client that can do nothing.
pub(crate) fn introduction_as(name: &str, version: &str) -> Result<Json, McpError> {
    let protocol = chio_spec::versions::MCP_PROTOCOL_VERSIONS.first().copied().unwrap_or_default();
    let params = format!(
        r#"{{"capabilities":{{}},"clientInfo":{{"name":{},"version":{}}},"protocolVersion":{}}}"#,
        quote(name),
        quote(version),
        quote(protocol)
    );
    Json::from_text(params).map_err(|error| McpError::InvalidParams(error.to_string()))
}

async fn drive(driver: Driver, shared: Arc<Shared>) {
    let handler = Arc::new(FromServer { shared: Arc::clone(&shared) });
    let reason = driver.run(handler).await;
    tracing::info!(%reason, "the connection to the tool server has ended");
    shared.ended.cancel();
}

struct FromServer {
    shared: Arc<Shared>,
}

impl FromServer {
    fn events(&self) -> Option<Arc<dyn UpstreamEvents>> {
        self.shared.events.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Handler for FromServer {
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        if request.method == "ping" {
            return Ok(empty_object());
        }
        match self.events() {
            Some(events) => events.request(&request).await,
            None => {
                tracing::warn!(method = %request.method, "refused a request of a tool server that nobody listens to");
                Err(ErrorObject::new(METHOD_NOT_FOUND, format!("{} is not available here", request.method)))
            }
        }
    }

    fn notification(&self, notification: Notification) {
        if notification.method == "notifications/tools/list_changed" {
            self.shared.tools.invalidate();
        }
        if notification.method == TASK_STATUS && self.shared.tasks.tell(notification.params.as_ref()) {
            return;
        }
        match self.events() {
            Some(events) => events.notification(notification),
            None => tracing::debug!(method = %notification.method, "dropped a notification"),
        }
    }
}

/// The result of requests that return nothing.
pub(crate) fn empty_object() -> Json {
    Json::from_value(&serde_json::Value::Object(serde_json::Map::new()))
}
