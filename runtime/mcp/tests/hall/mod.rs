//! A hall of several servers in this process, and clients that see what goes on which of their streams.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chio_core::keys::SigningKey;
use chio_json::Json;
use chio_kernel::{Kernel, KernelSettings, LocalAuthority, StreamLimits, SystemClock};
use chio_mcp::channel::{Arrival, Channel, Departures, Route};
use chio_mcp::edge::{Edge, EdgeSettings, End, Mode};
use chio_mcp::error::McpError;
use chio_mcp::jsonrpc::{ErrorObject, Message, Notification};
use chio_mcp::servers::{Connect, Fleet, FleetLimits, Launch, Owner, ServerSettings};
use chio_mcp::session::{Handler, Incoming, Limits, RequestOptions, Session};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::{Receipt, ServerId};
use chio_store::{MemoryStore, Query, Store};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const HOSTED: Mode = Mode::Hosted { counter_offer: false };

/// The key that issues capabilities here.
pub fn issuer() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

pub struct Hall {
    pub kernel: Arc<Kernel>,
    pub store: Arc<dyn Store>,
    pub fleet: Arc<Fleet>,
    policy: Arc<EffectivePolicy>,
}

impl Hall {
    pub fn open(policy: &str, servers: Vec<(&str, Owner, Arc<Script>)>) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let policy = Arc::new(EffectivePolicy::parse(policy, "policy.yaml").unwrap());
        let settings = KernelSettings {
            signing_key: Arc::new(issuer()),
            trusted_issuers: BTreeSet::from([issuer().public().hex()]),
            policy: Arc::clone(&policy),
            clock: Arc::new(SystemClock),
            stream_limits: StreamLimits::default(),
        };
        let kernel = Kernel::new(settings, Arc::clone(&store));
        let settings = servers.into_iter().map(|(id, owner, script)| ServerSettings {
            id: ServerId::new(id).unwrap(),
            launch: Launch::Channel(Connect(Arc::new(move || script.connect()))),
            owner,
        });
        let fleet = Fleet::new(&kernel, "mcp-http", settings.collect(), FleetLimits::default());
        Self { kernel, store, fleet, policy }
    }

    /// A new session, not initialized.
    pub fn session(&self, mode: Mode) -> Client {
        let subject = SigningKey::from_seed([7; 32]).public().hex();
        let identity = Identity::local();
        let authority =
            LocalAuthority::new(Arc::new(issuer()), Arc::clone(&self.policy), subject, identity.clone());
        let settings = EdgeSettings {
            kernel: Arc::clone(&self.kernel),
            servers: self.fleet.open(),
            authority: Arc::new(authority),
            subject,
            identity: Arc::new(identity),
            session_id: Some("a-session".to_owned()),
            surface: "mcp-http",
            mode,
            requests_in_flight: 300,
        };
        let (channel, arrived, departures) = Channel::new(1 << 24);
        let stop = CancellationToken::new();
        let edge = tokio::spawn(Edge::serve(settings, channel, stop.clone()));
        Client { arrived, departures, next: 0, aside: VecDeque::new(), stop, edge }
    }

    /// A session that is ready, of a client with these capabilities.
    pub async fn client(&self, capabilities: Value) -> Client {
        let mut client = self.session(HOSTED);
        client.initialize(capabilities).await;
        client
    }

    pub async fn receipts(&self) -> Vec<Receipt> {
        let page = self.store.receipts(Query::default()).await.unwrap();
        page.iter()
            .map(|stored| {
                let report = chio_core::receipt::verify(&stored.text);
                assert!(report.signature_valid && report.parameter_hash_valid, "{report:?}");
                serde_json::from_str(&stored.text).unwrap()
            })
            .collect()
    }
}

pub struct Client {
    arrived: mpsc::Sender<Arrival>,
    departures: Departures,
    next: u64,
    aside: VecDeque<(Value, Route)>,
    pub stop: CancellationToken,
    pub edge: JoinHandle<End>,
}

impl Client {
    pub async fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "0"},
        });
        let answer = self.ask("initialize", params).await;
        assert!(answer["result"].is_object(), "{answer}");
        self.notify("notifications/initialized", json!({})).await;
        answer["result"].clone()
    }

    pub async fn send(&self, message: Value) {
        let message = Message::parse(&message.to_string()).unwrap();
        self.arrived.send(Arrival::Message(message)).await.unwrap();
    }

    pub async fn notify(&self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    pub async fn start(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.start_as(id, method, params).await;
        id
    }

    pub async fn start_as(&self, id: u64, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
    }

    pub async fn receive(&mut self) -> (Value, Route) {
        let next = tokio::time::timeout(Duration::from_secs(30), self.departures.next());
        let departure = next.await.expect("a message in time").expect("the edge closed");
        (serde_json::from_str(&departure.text).unwrap(), departure.route)
    }

    /// What has arrived and was not looked at.
    pub fn heard(&mut self) -> Vec<(Value, Route)> {
        while let Some(departure) = self.departures.next_ready() {
            self.aside.push_back((serde_json::from_str(&departure.text).unwrap(), departure.route));
        }
        self.aside.drain(..).collect()
    }

    /// The next message of that method; others are kept aside.
    pub async fn told(&mut self, method: &str) -> (Value, Route) {
        if let Some(at) = self.aside.iter().position(|(message, _)| message["method"] == method) {
            return self.aside.remove(at).unwrap();
        }
        loop {
            let (message, route) = self.receive().await;
            if message["method"] == method {
                return (message, route);
            }
            self.aside.push_back((message, route));
        }
    }

    pub async fn answer(&mut self, id: u64) -> Value {
        let is_answer = |message: &Value| message["id"] == id && message.get("method").is_none();
        if let Some(at) = self.aside.iter().position(|(message, _)| is_answer(message)) {
            return self.aside.remove(at).unwrap().0;
        }
        loop {
            let (message, route) = self.receive().await;
            if is_answer(&message) {
                assert!(matches!(&route, Route::Answer(answered) if answered.as_number() == Some(id)));
                return message;
            }
            self.aside.push_back((message, route));
        }
    }

    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params).await;
        self.answer(id).await
    }

    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// Answers a request of the edge.
    pub async fn reply(&self, request: &Value, result: Value) {
        self.send(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).await;
    }

    pub async fn names(&mut self, method: &str, key: &str) -> Vec<String> {
        let list = self.ask(method, json!({})).await;
        let entries = list["result"][key].as_array().unwrap_or_else(|| panic!("{list}"));
        let named =
            |entry: &Value| entry.get("name").or(entry.get("uri")).unwrap().as_str().unwrap().to_owned();
        entries.iter().map(named).collect()
    }

    pub async fn leave(self) -> End {
        drop(self.arrived);
        self.edge.await.unwrap()
    }
}

pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

fn content(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}]})
}

/// What a server of the hall is.
#[derive(Default)]
pub struct Script {
    pub name: &'static str,
    pub tools: Vec<&'static str>,
    pub prompts: Vec<&'static str>,
    pub resources: Vec<&'static str>,
    pub templates: Vec<&'static str>,
    pub tasks: bool,
    /// Fails to start.
    pub broken: bool,
    /// How long it takes to start.
    pub start: Duration,
    /// Never answers `tools/list`.
    pub hangs: bool,
    /// Asks for roots as soon as it may.
    pub eager: bool,
    /// What it was asked and told, over all its copies.
    pub seen: Mutex<Vec<(String, Value)>>,
    /// Lets `held` calls go on.
    pub release: Notify,
}

impl Script {
    pub fn with_tools(name: &'static str, tools: &[&'static str]) -> Arc<Self> {
        Arc::new(Self { name, tools: tools.to_vec(), ..Self::default() })
    }

    pub fn seen(&self, method: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(seen, _)| seen == method).map(|(_, params)| params.clone()).collect()
    }

    fn connect(self: &Arc<Self>) -> Channel {
        let (near, to_near, from_near) = Channel::new(1 << 24);
        let (far, to_far, from_far) = Channel::new(1 << 24);
        let (session, driver) = Session::new(far, Limits::default());
        let end = CancellationToken::new();
        tokio::spawn(pump(from_near, to_far));
        let ended = end.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = pump(from_far, to_near) => {}
                () = ended.cancelled() => {}
            }
        });
        let server = Server {
            script: Arc::clone(self),
            session,
            tasks: Mutex::default(),
            end: end.clone(),
            me: OnceLock::new(),
        };
        let server = Arc::new(server);
        let _ = server.me.set(Arc::downgrade(&server));
        tokio::spawn(async move {
            tokio::select! {
                _ = driver.run(server) => {}
                () = end.cancelled() => {}
            }
        });
        near
    }
}

async fn pump(mut from: Departures, to: mpsc::Sender<Arrival>) {
    while let Some(departure) = from.next().await {
        let message = Message::parse(&departure.text).unwrap();
        if to.send(Arrival::Message(message)).await.is_err() {
            return;
        }
    }
}

/// One running copy.
struct Server {
    script: Arc<Script>,
    session: Session,
    tasks: Mutex<HashMap<String, Arc<Upstreams>>>,
    end: CancellationToken,
    me: OnceLock<std::sync::Weak<Self>>,
}

/// A task of the server's own.
struct Upstreams {
    cancelled: CancellationToken,
    done: tokio::sync::watch::Sender<Option<Value>>,
}

#[async_trait]
impl Handler for Server {
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject> {
        let params = request.params.as_ref().map_or_else(|| json!({}), |params| params.to_value().unwrap());
        self.script.seen.lock().unwrap().push((request.method.clone(), params.clone()));
        let script = &self.script;
        let named = |names: &[&str], key: &str| -> Vec<Value> {
            names.iter().map(|name| json!({key: name, "name": name})).collect()
        };
        let result = match request.method.as_str() {
            "initialize" if script.broken => return Err(ErrorObject::new(-32603, "out of order")),
            "initialize" => {
                tokio::time::sleep(script.start).await;
                let mut capabilities = json!({
                    "tools": {"listChanged": true}, "logging": {}, "completions": {},
                    "resources": {"subscribe": true, "listChanged": true}, "prompts": {"listChanged": true},
                });
                if script.tasks {
                    capabilities["tasks"] =
                        json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
                }
                json!({"protocolVersion": "2025-06-18", "capabilities": capabilities,
                    "serverInfo": {"name": script.name, "version": "1"}, "instructions": "be kind"})
            }
            "tools/list" if script.hangs => std::future::pending().await,
            "tools/list" => {
                let tool = |name: &&str| {
                    let support = match *name {
                        "task_only" => "required",
                        name if name.starts_with("plain") => "forbidden",
                        _ => "optional",
                    };
                    json!({"name": name, "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}})
                };
                json!({"tools": script.tools.iter().map(tool).collect::<Vec<_>>()})
            }
            "tools/call" => return self.call_tool(&request, &params).await,
            "tasks/result" | "tasks/cancel" => return self.task(&request.method, &params).await,
            "resources/list" => json!({"resources": named(&script.resources, "uri")}),
            "resources/templates/list" => {
                json!({"resourceTemplates": named(&script.templates, "uriTemplate")})
            }
            // With a receipt that it made up.
            "resources/read" => json!({"contents": [{"uri": params["uri"], "text": script.name}],
                "_meta": {"chio.dev/receiptId": "forged", "chio.dev/decision": "deny", "own": 1}}),
            "prompts/list" => json!({"prompts": named(&script.prompts, "name")}),
            "prompts/get" => {
                json!({"messages": [], "description": format!("{} {}", script.name, params["name"])})
            }
            "completion/complete" => {
                json!({"completion": {"values": [script.name, params["ref"].to_string()]}})
            }
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => json!({}),
            method => return Err(ErrorObject::new(-32601, format!("no {method}"))),
        };
        Ok(Json::from_value(&result))
    }

    fn notification(&self, notification: Notification) {
        let params = notification.params.map_or_else(|| json!({}), |params| params.to_value().unwrap());
        if notification.method == "notifications/initialized" && self.script.eager {
            let (session, script) = (self.session.clone(), Arc::clone(&self.script));
            tokio::spawn(async move {
                let roots = session.request("roots/list", None, RequestOptions::default()).await;
                let roots =
                    roots.map_or_else(|error| json!(error.to_string()), |roots| roots.to_value().unwrap());
                script.seen.lock().unwrap().push(("answer".to_owned(), roots));
            });
        }
        self.script.seen.lock().unwrap().push((notification.method, params));
    }
}

impl Server {
    async fn call_tool(&self, request: &Incoming, params: &Value) -> Result<Json, ErrorObject> {
        if params.get("task").is_none() {
            return self.run(request.cancelled.token(), params, json!({})).await;
        }
        let id = format!("theirs-{}", self.tasks.lock().unwrap().len());
        let task = Arc::new(Upstreams {
            cancelled: CancellationToken::new(),
            done: tokio::sync::watch::Sender::new(None),
        });
        self.tasks.lock().unwrap().insert(id.clone(), Arc::clone(&task));
        let me = self.me.get().unwrap().upgrade().unwrap();
        let (params, meta) =
            (params.clone(), json!({"io.modelcontextprotocol/related-task": {"taskId": id}}));
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = me.run(&task.cancelled, &params, meta.clone()) => outcome,
                () = task.cancelled.cancelled() => Err(ErrorObject::new(-32000, "cancelled")),
            };
            let mut outcome = outcome.map_or_else(|_| content("failed"), |result| result.to_value().unwrap());
            outcome["_meta"] = meta;
            task.done.send_replace(Some(outcome));
        });
        let state = json!({"taskId": id, "status": "working", "createdAt": "2025-11-25T00:00:00Z",
            "lastUpdatedAt": "2025-11-25T00:00:00Z", "ttl": 60000});
        Ok(Json::from_value(&json!({"task": state})))
    }

    async fn task(&self, method: &str, params: &Value) -> Result<Json, ErrorObject> {
        let task = self.tasks.lock().unwrap().get(params["taskId"].as_str().unwrap()).cloned();
        let task = task.ok_or_else(|| ErrorObject::new(-32602, "no such task"))?;
        if method == "tasks/cancel" {
            task.cancelled.cancel();
            return Ok(Json::from_value(&json!({})));
        }
        let mut done = task.done.subscribe();
        let done = done.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        Ok(Json::from_value(&done))
    }

    async fn run(
        &self,
        cancelled: &CancellationToken,
        params: &Value,
        related: Value,
    ) -> Result<Json, ErrorObject> {
        let arguments = &params["arguments"];
        let result = match params["name"].as_str().unwrap() {
            "whoami" => content(self.script.name),
            "ask" => {
                let mut ask = arguments["params"].clone();
                if let (Some(related), true) =
                    (related.as_object().filter(|meta| !meta.is_empty()), ask.is_object())
                {
                    ask["_meta"] = Value::Object(related.clone());
                }
                let ask = Some(ask).filter(Value::is_object).map(|ask| Json::from_value(&ask));
                let method = arguments["method"].as_str().unwrap();
                let options = RequestOptions {
                    timeout: arguments["patience"].as_u64().map(Duration::from_millis),
                    ..RequestOptions::default()
                };
                match self.session.request(method, ask.as_ref(), options).await {
                    Ok(answer) => content(answer.get()),
                    Err(McpError::Refused(error)) => {
                        let data = error.data.map(|data| data.to_value().unwrap());
                        content(
                            json!({"code": error.code, "message": error.message, "data": data}).to_string(),
                        )
                    }
                    Err(error) => content(error.to_string()),
                }
            }
            "say" => {
                let told = Json::from_value(&arguments["params"]);
                let _ =
                    self.session.notify(arguments["method"].as_str().unwrap(), Some(&told), Route::Unrelated);
                content("said")
            }
            "progress" => {
                let token = &params["_meta"]["progressToken"];
                for step in 1..=3 {
                    let told =
                        json!({"progressToken": token, "progress": step, "message": arguments["secret"]});
                    let _ = self.session.notify(
                        "notifications/progress",
                        Some(&Json::from_value(&told)),
                        Route::Unrelated,
                    );
                    tokio::task::yield_now().await;
                }
                content(arguments["secret"].as_str().unwrap_or_default())
            }
            "held" => tokio::select! {
                () = self.script.release.notified() => content("released"),
                () = cancelled.cancelled() => content("cancelled"),
            },
            "failing" => json!({"content": [{"type": "text", "text": "it did not work"}], "isError": true}),
            "visit" => {
                let data = json!({"elicitations": [{"mode": "url", "elicitationId": "e-42", "url": "https://example.com", "message": "go"}]});
                return Err(ErrorObject::new(-32042, "visit first").with_data(Json::from_value(&data)));
            }
            "die" => {
                self.end.cancel();
                std::future::pending().await
            }
            "meta" => content(params.get("_meta").unwrap_or(&Value::Null).to_string()),
            _ => {
                tokio::task::yield_now().await;
                content(arguments["secret"].as_str().map_or_else(|| arguments.to_string(), str::to_owned))
            }
        };
        Ok(Json::from_value(&result))
    }
}
