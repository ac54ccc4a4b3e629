//! A kernel over a real store, a fleet of scripted servers, and clients that call through the kernel.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chio_core::keys::SigningKey;
use chio_json::Json;
use chio_kernel::{
    CallRequest, CallerSession, Kernel, KernelSettings, LocalAuthority, Outcome, Patience, StreamLimits,
    SystemClock, Target,
};
use chio_mcp::connection::Following;
use chio_mcp::error::CloseReason;
use chio_mcp::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Notification};
use chio_mcp::process::ServerCommand;
use chio_mcp::servers::{
    Fleet, FleetLimits, Introduction, Launch, Member, Owner, ServerEvents, ServerSettings, SessionServers,
};
use chio_mcp::session::{Incoming, ProgressSink, RequestOptions};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::{ServerId, ToolCallResult, ToolName};
use chio_store::{SqliteOptions, SqliteStore, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const FIXTURE: &str = env!("CARGO_BIN_EXE_chio-mcp-fixture");
const MEMBER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/member.py");
const MARK: &str = "TEST_FLEET";

const POLICY: &str = r"
capabilities:
  default:
    tools:
      - { server: '*', tool: '*', operations: [invoke], ttl: 300 }
    resources:
      - { uri: '*', operations: [read, subscribe], ttl: 300 }
";

pub async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never happened");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub struct House {
    pub fleet: Arc<Fleet>,
    kernel: Arc<Kernel>,
    authority: Arc<LocalAuthority>,
    store: Arc<dyn Store>,
    mark: String,
    dir: tempfile::TempDir,
}

impl House {
    /// Servers by name, mode and owner.
    pub fn of(servers: &[(&str, &str, Owner)]) -> Self {
        Self::limited(servers, FleetLimits::default())
    }

    pub fn limited(servers: &[(&str, &str, Owner)], limits: FleetLimits) -> Self {
        let (dir, mark) = (tempfile::tempdir().unwrap(), uuid::Uuid::now_v7().to_string());
        let settings = servers.iter().map(|(id, mode, owner)| {
            let log = dir.path().join(format!("{id}.log"));
            let arguments = [MEMBER.to_owned(), (*mode).to_owned(), log.to_str().unwrap().to_owned()];
            let command =
                ServerCommand::new("python3", arguments).with_env(MARK, &mark).supervised_by(FIXTURE);
            Self::settings(id, Launch::Command(command), *owner)
        });
        Self::build(settings.collect(), limits, dir, mark)
    }

    pub fn with(settings: Vec<ServerSettings>) -> Self {
        Self::build(settings, FleetLimits::default(), tempfile::tempdir().unwrap(), String::new())
    }

    pub fn settings(id: &str, launch: Launch, owner: Owner) -> ServerSettings {
        ServerSettings { id: ServerId::new(id).unwrap(), launch, owner }
    }

    fn build(
        settings: Vec<ServerSettings>,
        limits: FleetLimits,
        dir: tempfile::TempDir,
        mark: String,
    ) -> Self {
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap());
        let key = Arc::new(SigningKey::from_seed([9; 32]));
        let subject = SigningKey::from_seed([7; 32]).public().hex();
        let policy = Arc::new(EffectivePolicy::parse(POLICY, "policy.yaml").unwrap());
        let kernel = KernelSettings {
            signing_key: Arc::clone(&key),
            trusted_issuers: BTreeSet::from([key.public().hex()]),
            policy: Arc::clone(&policy),
            clock: Arc::new(SystemClock),
            stream_limits: StreamLimits::default(),
        };
        let kernel = Kernel::new(kernel, Arc::clone(&store));
        let fleet = Fleet::new(&kernel, "test", settings, limits);
        let authority = Arc::new(LocalAuthority::new(key, policy, subject, Identity::local()));
        Self { fleet, kernel, authority, store, mark, dir }
    }

    pub fn client(&self) -> Arc<Client> {
        let servers = self.fleet.open();
        let heard = Arc::new(Heard::default());
        let introduction = Introduction {
            protocol_version: "2025-11-25".to_owned(),
            client_info: Json::from_value(&json!({"name": "tester", "version": "0"})),
            capabilities: Arc::new(|_| Json::from_value(&json!({"sampling": {}}))),
        };
        servers.introduce(introduction, Arc::<Heard>::clone(&heard));
        Arc::new(Client {
            servers,
            heard,
            kernel: Arc::clone(&self.kernel),
            authority: Arc::clone(&self.authority),
        })
    }

    /// What a server wrote to its log, over all its copies.
    pub fn log(&self, id: &str) -> Vec<String> {
        let path: PathBuf = self.dir.path().join(format!("{id}.log"));
        std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub fn starts(&self, id: &str) -> usize {
        self.log(id).iter().filter(|line| *line == "started").count()
    }

    pub async fn receipts(&self) -> usize {
        self.store.receipts(chio_store::Query::default()).await.unwrap().len()
    }

    /// Living processes of this house's servers, zombies excluded.
    pub fn alive(&self) -> usize {
        let wanted = format!("{MARK}={}", self.mark);
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                let path = entry.path();
                let marked = std::fs::read(path.join("environ"))
                    .is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()));
                let state = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
                marked && !state.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z"))
            })
            .count()
    }
}

#[derive(Default)]
struct Heard {
    notifications: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
}

#[async_trait]
impl ServerEvents for Heard {
    async fn request(&self, _: &ServerId, request: &Incoming) -> Result<Json, ErrorObject> {
        self.requests.lock().unwrap().push(request.method.clone());
        Err(ErrorObject::new(METHOD_NOT_FOUND, "not here"))
    }

    fn notification(&self, _: &ServerId, notification: Notification) {
        self.notifications.lock().unwrap().push(notification.method);
    }

    fn ended(&self, server: &ServerId, _: &CloseReason) {
        self.ended.lock().unwrap().push(server.to_string());
    }
}

pub struct Client {
    pub servers: Arc<SessionServers>,
    heard: Arc<Heard>,
    kernel: Arc<Kernel>,
    authority: Arc<LocalAuthority>,
}

impl Client {
    pub fn member(&self, id: &str) -> &Member {
        self.servers.get(&ServerId::new(id).unwrap()).unwrap()
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.notifications.lock().unwrap().clone()
    }

    pub fn asked(&self) -> Vec<String> {
        self.heard.requests.lock().unwrap().clone()
    }

    pub fn ended(&self) -> Vec<String> {
        self.heard.ended.lock().unwrap().clone()
    }

    pub async fn call(&self, id: &str, tool: &str, arguments: Value) -> Outcome {
        self.call_following(id, tool, arguments, Following::default(), CancellationToken::new()).await
    }

    pub async fn call_following(
        &self,
        id: &str,
        tool: &str,
        arguments: Value,
        following: Following,
        cancel: CancellationToken,
    ) -> Outcome {
        let target = Target::Tool(ToolName::new(tool).unwrap());
        let member = self.member(id);
        let followed = match member.upstream().await {
            Ok(upstream) => member.follow(upstream, None, following),
            Err(error) => member.follow_failure(error, None),
        };
        let (meta, _relay) = followed.unwrap();
        self.through_kernel(id, target, arguments, Some(meta), cancel).await
    }

    pub async fn call_without_relay(&self, id: &str, tool: &str) -> Outcome {
        let target = Target::Tool(ToolName::new(tool).unwrap());
        self.through_kernel(id, target, json!({}), None, CancellationToken::new()).await
    }

    /// The progress that one call hears.
    pub async fn progress(&self, id: &str, step: u64) -> Vec<u64> {
        let sink = Sink::default();
        let following = Following { progress: Some(sink.sink()), task: None };
        let arguments = json!({"step": step});
        self.call_following(id, "progress", arguments, following, CancellationToken::new()).await;
        sink.taken().iter().map(|progress| progress["progress"].as_u64().unwrap()).collect()
    }

    pub async fn subscribe(&self, id: &str, uri: &str) -> Result<(), String> {
        let target = Target::Resource {
            method: ToolName::new("resources/subscribe").unwrap(),
            uri: uri.to_owned(),
            subscribe: true,
        };
        let member = self.member(id);
        let upstream = member.upstream().await.unwrap();
        let (meta, _relay) = member.follow(upstream, None, Following::default()).unwrap();
        let outcome =
            self.through_kernel(id, target, json!({"uri": uri}), Some(meta), CancellationToken::new()).await;
        outcome.error.map_or(Ok(()), |error| Err(format!("{error:?}: {:?}", outcome.decision)))
    }

    pub async fn unsubscribe(&self, id: &str, uri: &str) {
        let member = self.member(id);
        let upstream = member.upstream().await.unwrap();
        let params = Json::from_value(&json!({"uri": uri}));
        member.unsubscribe(&upstream, &params, RequestOptions::default()).await.unwrap();
    }

    async fn through_kernel(
        &self,
        id: &str,
        target: Target,
        arguments: Value,
        meta: Option<Json>,
        cancel: CancellationToken,
    ) -> Outcome {
        let server_id = ServerId::new(id).unwrap();
        let capability = self.authority.capability_for(&target, &server_id, &self.kernel).unwrap();
        let call = CallRequest {
            request_id: "1".to_owned(),
            surface: "test",
            caller: CallerSession::new(),
            capability,
            ancestors: Vec::new(),
            dpop_proof: None,
            server_id,
            target,
            arguments: Json::from_value(&arguments),
            meta,
            result_limit: 1024 * 1024,
            chunks: None,
            patience: Patience::Call,
            model: None,
            cancel,
        };
        self.kernel.call(call).await
    }
}

/// The result of a completed call.
pub fn value(outcome: &Outcome) -> Value {
    match &outcome.result {
        ToolCallResult::Ok(ok) => ok.value.to_value().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The text of a result's first content block.
pub fn text(outcome: &Outcome) -> String {
    value(outcome)["content"][0]["text"].as_str().unwrap().to_owned()
}

/// Keeps what is told.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<Value>>>);

impl Sink {
    pub fn sink(&self) -> ProgressSink {
        let kept = Arc::clone(&self.0);
        Arc::new(move |told: &Json| kept.lock().unwrap().push(told.to_value().unwrap()))
    }

    pub fn taken(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}
