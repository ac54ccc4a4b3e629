//! A kernel over a real store, the scripted server as a real child process, and a client that speaks raw lines.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chio_core::keys::SigningKey;
use chio_kernel::{Kernel, KernelSettings, LocalAuthority, StreamLimits, SystemClock};
use chio_mcp::edge::{Edge, EdgeSettings, End, Mode};
use chio_mcp::process::ServerCommand;
use chio_mcp::servers::{Fleet, FleetLimits, Launch, Owner, ServerSettings, SessionServers};
use chio_mcp::stdio::{self, Side};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::{Receipt, ServerId};
use chio_store::{SqliteOptions, SqliteStore, Store};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const FIXTURE: &str = env!("CARGO_BIN_EXE_chio-mcp-fixture");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/server.py");

pub struct House {
    pub client: Client,
    pub servers: Arc<SessionServers>,
    pub store: Arc<dyn Store>,
    pub stop: CancellationToken,
    pub edge: JoinHandle<End>,
    _dir: tempfile::TempDir,
}

impl House {
    /// Everything up to the pipes; nothing is initialized.
    pub fn open(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap());
        let key = Arc::new(SigningKey::from_seed([9; 32]));
        let subject = SigningKey::from_seed([7; 32]).public().hex();
        let policy = Arc::new(EffectivePolicy::parse(policy, "policy.yaml").unwrap());
        let settings = KernelSettings {
            signing_key: Arc::clone(&key),
            trusted_issuers: BTreeSet::from([key.public().hex()]),
            policy: Arc::clone(&policy),
            clock: Arc::new(SystemClock),
            stream_limits: StreamLimits::default(),
        };
        let kernel = Kernel::new(settings, Arc::clone(&store));
        let command = ServerCommand::new("python3", [SERVER]).supervised_by(FIXTURE);
        let settings = ServerSettings {
            id: ServerId::new("scripted").unwrap(),
            launch: Launch::Command(command),
            owner: Owner::Session,
        };
        let servers = Fleet::new(&kernel, "mcp-stdio", vec![settings], FleetLimits::default()).open();
        let settings = EdgeSettings {
            kernel,
            servers: Arc::clone(&servers),
            authority: Arc::new(LocalAuthority::new(key, policy, subject, Identity::local())),
            subject,
            identity: Arc::new(Identity::local()),
            session_id: None,
            surface: "mcp-stdio",
            mode: Mode::Relay,
            requests_in_flight: 256,
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let stop = CancellationToken::new();
        let edge = {
            let stop = stop.clone();
            tokio::spawn(async move {
                let (reader, writer) = tokio::io::split(theirs);
                let (channel, _pumps) = stdio::attach(reader, writer, Side::Client);
                Edge::serve(settings, channel, stop).await
            })
        };
        Self { client: Client::new(ours), servers, store, stop, edge, _dir: dir }
    }

    /// A house whose client is ready.
    pub async fn ready(policy: &str) -> Self {
        let mut house = Self::open(policy);
        house.client.initialize().await;
        house
    }

    /// All receipts, oldest first, each verified.
    pub async fn receipts(&self) -> Vec<Receipt> {
        let page = self.store.receipts(chio_store::Query::default()).await.unwrap();
        let mut receipts = Vec::new();
        for stored in page {
            let report = chio_core::receipt::verify(&stored.text);
            assert!(report.signature_valid && report.parameter_hash_valid, "{report:?}");
            receipts.push(serde_json::from_str::<Receipt>(&stored.text).unwrap());
        }
        receipts
    }

    pub async fn close(self) -> End {
        drop(self.client);
        let end = self.edge.await.unwrap();
        self.servers.close().await;
        end
    }
}

pub struct Client {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    next: u64,
    aside: VecDeque<Value>,
}

impl Client {
    pub fn new(stream: DuplexStream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: BufReader::new(reader), writer, next: 0, aside: VecDeque::new() }
    }

    pub async fn send_line(&mut self, line: &str) {
        self.writer.write_all(line.as_bytes()).await.unwrap();
        self.writer.write_all(b"\n").await.unwrap();
    }

    pub async fn send(&mut self, message: Value) {
        self.send_line(&message.to_string()).await;
    }

    pub async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    /// The next line as text.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("a line in time").unwrap();
        line
    }

    pub async fn receive(&mut self) -> Value {
        let line = self.line().await;
        assert!(!line.is_empty(), "the edge closed the connection");
        serde_json::from_str(&line).expect("only JSON is on the wire")
    }

    /// Sends a request and returns its id at once.
    pub async fn start(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    /// The answer to a request; what arrives before it is kept aside.
    pub async fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.aside.iter().position(|message| message["id"] == id) {
            return self.aside.remove(at).unwrap();
        }
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.start(method, params).await;
        self.answer(id).await
    }

    /// Calls a tool; the result must be one.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    pub fn aside(&mut self) -> Vec<Value> {
        self.aside.drain(..).collect()
    }

    pub async fn initialize(&mut self) -> Value {
        let answer = self.ask("initialize", initialize_params("test")).await;
        assert!(answer["result"].is_object(), "{answer}");
        self.notify("notifications/initialized", json!({})).await;
        answer["result"].clone()
    }
}

pub fn initialize_params(name: &str) -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {
            "sampling": {}, "elicitation": {"form": {}}, "roots": {"listChanged": true},
            "tasks": {}, "experimental": {"kept": {}},
        },
        "clientInfo": {"name": name, "version": "0"},
    })
}

/// The text of a result's first content block.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

pub fn receipt_id(result: &Value) -> &str {
    result["_meta"]["chio.dev/receiptId"].as_str().unwrap()
}
