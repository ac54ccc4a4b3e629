//! An edge on a real socket, with sessions behind it that do as they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use chio_json::Json;
use chio_kernel::{Clock, SystemClock};
use chio_mcp::channel::{Channel, Route};
use chio_mcp::jsonrpc::{ErrorObject, Members, Notification};
use chio_mcp::servers::{Failure, Owner, ServerStatus};
use chio_mcp::session::{Handler, Incoming, Limits as SessionLimits, RequestOptions, Session};
use chio_mcp_edge::auth::{AuthConfig, Authentication, Method};
use chio_mcp_edge::{EdgeConfig, Host, Serving, serve};
use chio_policy::Identity;
use chio_spec::{ErrorCode, ServerId};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub mod http;
pub mod issuer;

use http::Reply;

pub const TOKEN: &str = "a-token-of-clients-0123456789";
pub const ADMIN: &str = "a-token-of-operators-0123456789";

/// The edge under test.
pub struct House {
    pub address: SocketAddr,
    pub script: Arc<Script>,
    /// What time it is for those who look at tokens.
    pub clock: Arc<Ahead>,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The clock of this machine, some seconds ahead.
#[derive(Default)]
pub struct Ahead(AtomicU64);

impl Ahead {
    pub fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> u64 {
        SystemClock.now() + self.0.load(Ordering::SeqCst)
    }
}

/// What the sessions behind the edge share.
#[derive(Default)]
pub struct Script {
    /// Ends calls of the tool `gate`.
    pub gate: Notify,
    /// Refuses new sessions.
    pub refuse: std::sync::Mutex<Option<ErrorCode>>,
    /// Sessions that are being served now.
    pub serving: std::sync::atomic::AtomicUsize,
    /// Calls that began.
    pub begun: std::sync::atomic::AtomicUsize,
    /// Calls that ran to their end.
    pub done: std::sync::atomic::AtomicUsize,
}

/// Everything that can be JSON is, also on a machine that is busy.
pub fn config() -> EdgeConfig {
    EdgeConfig {
        admin_token: Some(Zeroizing::new(ADMIN.to_owned())),
        answer_delay: Duration::from_secs(5),
        ..EdgeConfig::default()
    }
}

/// Whatever takes any time has a stream.
pub fn streaming() -> EdgeConfig {
    EdgeConfig { answer_delay: Duration::ZERO, ..config() }
}

impl House {
    /// An edge without authentication.
    pub async fn open(config: EdgeConfig) -> Self {
        Self::with(config, Method::None).await
    }

    pub async fn with(config: EdgeConfig, method: Method) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(Ahead::default());
        let auth = Authentication::new(AuthConfig {
            public_url: format!("http://{address}"),
            listen: vec![address],
            method,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        })
        .unwrap();
        let script = Arc::new(Script::default());
        let host = Arc::new(Scripted { script: Arc::clone(&script) });
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, config, auth, host, stop.clone()));
        Self { address, script, clock, stop, serving }
    }

    pub async fn close(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.serving).await.unwrap().unwrap().unwrap();
    }

    /// How serving ended by itself.
    pub async fn outcome(self) -> std::io::Result<()> {
        tokio::time::timeout(Duration::from_secs(20), self.serving).await.unwrap().unwrap()
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub async fn ask(&self, request: http::Ask<'_>) -> Reply {
        http::send(self.address, request).await
    }

    /// POSTs a message with these headers beside the usual ones.
    pub async fn post(&self, session: Option<&str>, message: Value) -> Reply {
        let text = message.to_string();
        let mut ask = http::Ask::post(&text);
        if let Some(session) = session {
            ask = ask.header("MCP-Session-Id", session).header("MCP-Protocol-Version", "2025-11-25");
        }
        self.ask(ask).await
    }

    /// A session that is ready.
    pub async fn session(&self) -> String {
        let mut reply = self.post(None, initialize("test")).await;
        assert_eq!(reply.status, 200);
        let id = reply.header("mcp-session-id").expect("a session id").to_owned();
        reply.messages().await;
        let told = self.post(Some(&id), notification("notifications/initialized")).await;
        assert_eq!(told.status, 202);
        id
    }

    pub async fn call(&self, session: &str, id: u64, tool: &str, arguments: Value) -> Reply {
        self.post(Some(session), call(id, tool, arguments)).await
    }

    pub async fn get(&self, session: &str, last_event: Option<&str>) -> Reply {
        let mut ask =
            http::Ask::get("/mcp").header("Accept", "text/event-stream").header("MCP-Session-Id", session);
        if let Some(event) = last_event {
            ask = ask.header("Last-Event-ID", event);
        }
        self.ask(ask).await
    }

    pub async fn delete(&self, session: &str) -> Reply {
        self.ask(http::Ask::new("DELETE", "/mcp").header("MCP-Session-Id", session)).await
    }

    pub async fn admin(&self, method: &str, path: &str) -> Reply {
        let token = format!("Bearer {ADMIN}");
        self.ask(http::Ask::new(method, path).header("Authorization", &token)).await
    }
}

pub fn initialize(client: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": client, "version": "0"}}})
}

pub fn notification(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

pub fn call(id: u64, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

struct Scripted {
    script: Arc<Script>,
}

impl Host for Scripted {
    fn open(
        &self,
        identity: &Arc<Identity>,
        _session_id: &str,
        channel: Channel,
        stop: CancellationToken,
    ) -> Result<Serving, ErrorCode> {
        if let Some(code) = *self.script.refuse.lock().unwrap() {
            return Err(code);
        }
        let script = Arc::clone(&self.script);
        let identity = Arc::clone(identity);
        Ok(Box::pin(async move {
            use Ordering::SeqCst;
            script.serving.fetch_add(1, SeqCst);
            let (session, driver) = Session::new(channel, SessionLimits::default());
            let handler = Actor { session: session.clone(), script: Arc::clone(&script), identity };
            tokio::select! {
                _ = driver.run(Arc::new(handler)) => {}
                () = stop.cancelled() => {}
            }
            session.finish(Duration::ZERO, Duration::from_secs(1)).await;
            script.serving.fetch_sub(1, SeqCst);
        }))
    }

    fn servers(&self) -> Vec<ServerStatus> {
        vec![ServerStatus {
            id: ServerId::new("files").unwrap(),
            owner: Owner::Shared,
            running: 1,
            restarts: 2,
            unattributed: 3,
            last_failure: Some(Failure {
                at: UNIX_EPOCH + Duration::from_secs(7),
                reason: "it died".to_owned(),
            }),
            retry_in: Some(Duration::from_millis(1500)),
        }]
    }
}

/// A session's other side.
struct Actor {
    session: Session,
    script: Arc<Script>,
    identity: Arc<Identity>,
}

#[async_trait]
impl Handler for Actor {
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        let params: Value =
            request.params.as_ref().map_or(Value::Null, |params| serde_json::from_str(params.get()).unwrap());
        let answer = match request.method.as_str() {
            "initialize" => self.initialize(&params)?,
            "ping" => json!({}),
            "tools/list" => json!({"tools": []}),
            "tools/call" => self.call(&request, &params).await?,
            method => return Err(ErrorObject::new(-32601, format!("no method {method}"))),
        };
        Ok(Json::from_value(&answer))
    }

    fn notification(&self, notification: Notification) {
        if notification.method == "test/broadcast" {
            let params = notification.params.unwrap();
            let members = Members::parse(params.get()).unwrap();
            let count: u64 = members.get("count").unwrap().parse().unwrap();
            for at in 0..count {
                let params = Json::from_value(&json!({"level": "info", "data": at}));
                let _ = self.session.notify("notifications/message", Some(&params), Route::Unrelated);
            }
        }
    }
}

impl Actor {
    fn initialize(&self, params: &Value) -> Result<Value, ErrorObject> {
        if params["protocolVersion"] != "2025-11-25" {
            return Err(ErrorObject::new(-32600, "unsupported protocolVersion"));
        }
        assert!(params["clientInfo"]["name"] != "panic", "told to");
        Ok(json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "serverInfo": {"name": self.identity.principal, "version": "1"}}))
    }

    async fn call(&self, request: &Incoming, params: &Value) -> Result<Value, ErrorObject> {
        let arguments = &params["arguments"];
        self.script.begun.fetch_add(1, Ordering::SeqCst);
        let within = Route::Within(request.id.clone());
        let tell = |at: u64, size: usize| {
            let params =
                Json::from_value(&json!({"progressToken": 1, "progress": at, "message": "x".repeat(size)}));
            let _ = self.session.notify("notifications/progress", Some(&params), within.clone());
        };
        let text = match params["name"].as_str().unwrap() {
            "echo" => arguments.to_string(),
            "meta" => params["_meta"].to_string(),
            "big" => "x".repeat(usize::try_from(arguments["bytes"].as_u64().unwrap()).unwrap()),
            "slow" => {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(arguments["millis"].as_u64().unwrap())) => {}
                    () = request.cancelled.fired() => {}
                }
                "slow but done".to_owned()
            }
            // Tells first, then waits for the gate, and answers so many bytes.
            "gate" => {
                for at in 0..arguments["tell"].as_u64().unwrap_or(0) {
                    tell(at, 0);
                }
                tokio::select! {
                    () = self.script.gate.notified() => {}
                    () = request.cancelled.fired() => {}
                }
                let bytes = arguments["bytes"].as_u64().unwrap_or_default();
                "opened".to_owned() + &"x".repeat(usize::try_from(bytes).unwrap())
            }
            "flood" => {
                for at in 0..arguments["count"].as_u64().unwrap() {
                    tell(at, 1000);
                    if at % 100 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                "flooded".to_owned()
            }
            "ask" => {
                let options = RequestOptions {
                    route: Route::UnrelatedOr(request.id.clone()),
                    timeout: Some(Duration::from_secs(10)),
                    ..RequestOptions::default()
                };
                let answer = self.session.request("roots/list", None, options).await;
                answer.map_err(|error| ErrorObject::new(-32603, error.to_string()))?.get().to_owned()
            }
            // Goes on behind its answer until the gate opens.
            "task" => {
                let (work, script) = (self.session.begin_work(), Arc::clone(&self.script));
                tokio::spawn(async move {
                    script.gate.notified().await;
                    drop(work);
                });
                "begun".to_owned()
            }
            tool => panic!("no tool {tool}"),
        };
        self.script.done.fetch_add(1, Ordering::SeqCst);
        Ok(json!({"content": [{"type": "text", "text": text}], "_meta": {"chio.dev/decision": "allow"}}))
    }
}
