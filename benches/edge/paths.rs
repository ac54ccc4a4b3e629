//! The ways of a call to the upstream: straight, through the edge, through other gateways.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::peers::Peers;
use crate::program::{Program, free_address};
use crate::session::Session;

const PRESET: &str = include_str!("../../runtime/policy/presets/safe.yaml");

/// What callers show to the edge, and to the gateway that can ask for it.
const TOKEN: &str = "a-token-for-the-benchmark";

/// What every answer of the edge contains, and no other.
const RECEIPT: &str = "\"chio.dev/receiptId\":\"rcpt-";

/// Longest time to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a path is called, and how.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// The name of `echo` there.
    pub(crate) tool: &'static str,
    pub(crate) token: Option<&'static str>,
    /// A text that every answer must contain.
    pub(crate) mark: Option<&'static str>,
}

/// A way of a call, with the program that stands on it.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    pub(crate) endpoint: Endpoint,
    pub(crate) program: Program,
    /// The home folder of an edge, which holds its receipts.
    pub(crate) home: Option<PathBuf>,
}

/// What all routes lead to.
pub(crate) struct Upstream {
    binary: PathBuf,
    address: SocketAddr,
}

impl Upstream {
    fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    fn stdio(&self) -> [&str; 2] {
        [self.binary.to_str().expect("a path in UTF-8"), "stdio"]
    }
}

/// The upstream itself, over HTTP, and what leads there.
pub(crate) fn direct(binary: PathBuf, folder: &Path) -> (Route, Upstream) {
    let address = free_address();
    let mut command = Command::new(&binary);
    command.args(["http", &address.to_string()]);
    let program = Program::start("direct", folder, command);
    let endpoint = Endpoint { address, path: "/mcp", tool: "echo", token: None, mark: None };
    let route = ready(Route { name: "direct", endpoint, program, home: None });
    (route, Upstream { binary, address })
}

/// The edge over both kinds of upstream.
pub(crate) fn edges(upstream: &Upstream, folder: &Path) -> Vec<Route> {
    let url = upstream.url();
    let stdio = [&["--"], upstream.stdio().as_slice()].concat();
    // The preset, and the operator's word that `echo` changes nothing, which saves one of the two commits of a call.
    let policy = folder.join("read-only.yaml");
    let vouched = "kernel:\n  read_only_tools: [{server: '*', tool: echo}]\n";
    fs::write(&policy, PRESET.replacen("kernel:\n", vouched, 1)).expect("a policy");
    let policy = policy.to_str().expect("a path in UTF-8");
    let reading = [&["--policy", policy], stdio.as_slice()].concat();
    vec![
        edge("chio → stdio", "chio-stdio", &stdio, folder),
        edge("chio → stdio, read-only", "chio-reading", &reading, folder),
        edge("chio → HTTP", "chio-http", &["--upstream", &url], folder),
    ]
}

/// An edge that one upstream serves for all sessions, for what a session costs by itself.
pub(crate) fn shared_edge(upstream: &Upstream, folder: &Path) -> Route {
    let url = upstream.url();
    edge("chio, shared", "chio-shared", &["--shared", "--upstream", &url], folder)
}

fn edge(name: &'static str, short: &str, upstream: &[&str], folder: &Path) -> Route {
    let home = folder.join(short);
    let config = folder.join(format!("{short}.yaml"));
    // A benchmark opens more sessions in a minute than one address usually may.
    let limits = "mcp: {limits: {sessions_per_minute: 1000000}}\n";
    fs::write(&config, limits).expect("a configuration");

    let mut command = Command::new(env!("CARGO_BIN_EXE_chio"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHIO_")) {
        command.env_remove(name);
    }
    command
        .env("CHIO_HOME", &home)
        .args(["mcp", "serve-http", "--json", "--listen", "127.0.0.1:0", "--auth-token", TOKEN, "--config"])
        .arg(&config)
        .args(upstream);
    let mut program = Program::start(short, folder, command);
    let address = announced(&mut program);
    let endpoint = Endpoint { address, path: "/mcp", tool: "echo", token: Some(TOKEN), mark: Some(RECEIPT) };
    ready(Route { name, endpoint, program, home: Some(home) })
}

/// The address that a started edge prints.
fn announced(program: &mut Program) -> SocketAddr {
    let started = Instant::now();
    loop {
        let printed = program.printed();
        let address =
            printed.lines().filter_map(|line| line.strip_prefix("{\"url\":\"http://")).find_map(|rest| {
                let (address, _) = rest.split_once("/mcp\"")?;
                address.parse().ok()
            });
        if let Some(address) = address {
            return address;
        }
        assert!(!program.ended() && started.elapsed() < PATIENCE, "the edge did not start: {printed}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The other gateways that are installed.
pub(crate) fn gateways(peers: &Peers, upstream: &Upstream, folder: &Path) -> Vec<Route> {
    let mut routes = Vec::new();
    if let Some(binary) = &peers.rust_proxy {
        let [command, argument] = upstream.stdio();
        let stdio = format!("transport = \"stdio\"\ncommand = {command:?}\nargs = [{argument:?}]\n");
        routes.push(rust_proxy("mcp-proxy (Rust) → stdio", "rust-stdio", binary, &stdio, folder));
        let http = format!("transport = \"http\"\nurl = {:?}\n", upstream.url());
        routes.push(rust_proxy("mcp-proxy (Rust) → HTTP", "rust-http", binary, &http, folder));
    }
    if let Some(script) = &peers.supergateway {
        let address = free_address();
        let mut command = Command::new("node");
        command.arg(script).args(["--stdio", &upstream.stdio().join(" "), "--outputTransport"]);
        command.args(["streamableHttp", "--stateful", "--logLevel", "none"]);
        command.args(["--port", &address.port().to_string()]);
        let program = Program::start("supergateway", folder, command);
        let endpoint = Endpoint { address, path: "/mcp", tool: "echo", token: None, mark: None };
        routes.push(ready(Route { name: "supergateway → stdio", endpoint, program, home: None }));
    }
    if let Some(python) = &peers.fastmcp {
        let address = free_address();
        let script = format!(
            "from fastmcp.server import create_proxy\n\
             create_proxy({:?}).run(transport='http', host='127.0.0.1', port={}, show_banner=False)\n",
            upstream.url(),
            address.port()
        );
        let mut command = Command::new(python);
        // One line of log for each request would be measured as well.
        command.args(["-c", &script]).env("FASTMCP_LOG_LEVEL", "ERROR");
        let program = Program::start("fastmcp", folder, command);
        let endpoint = Endpoint { address, path: "/mcp", tool: "echo", token: None, mark: None };
        routes.push(ready(Route { name: "fastmcp → HTTP", endpoint, program, home: None }));
    }
    routes
}

/// The one other gateway that can know its callers and write down calls, so both are on.
fn rust_proxy(name: &'static str, short: &str, binary: &Path, backend: &str, folder: &Path) -> Route {
    let address = free_address();
    let config = folder.join(format!("{short}.toml"));
    let text = format!(
        "[proxy]\nname = \"bench\"\nseparator = \"_\"\n\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {}\n\n\
         [auth]\ntype = \"bearer\"\ntokens = [{TOKEN:?}]\n\n[observability]\naudit = true\n\n\
         [[backends]]\nname = \"up\"\n{backend}",
        address.port()
    );
    fs::write(&config, text).expect("a configuration");
    let mut command = Command::new(binary);
    command.arg("--config").arg(&config);
    let program = Program::start(short, folder, command);
    let endpoint = Endpoint { address, path: "/", tool: "up_echo", token: Some(TOKEN), mark: None };
    ready(Route { name, endpoint, program, home: None })
}

/// Waits until a session can be opened and offers the tool.
fn ready(mut route: Route) -> Route {
    let started = Instant::now();
    loop {
        let tried = Connection::open(route.endpoint.address).and_then(|mut connection| {
            let session = Session::open(&route.endpoint, &mut connection)?;
            session.expect_tool(&mut connection)?;
            session.close(&mut connection);
            Ok(())
        });
        let Err(error) = tried else { return route };
        if route.program.ended() || started.elapsed() > PATIENCE {
            panic!("{} does not serve: {error}\n{}", route.name, route.program.printed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
