//! `chio mcp serve-http`: the hosted MCP edge.
//!
//! What is on the command line wins over `chio.yaml`, and nothing needs either: a command after `--` is served on
//! loopback, to everybody there, and the banner says so.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chio_config::{ChioConfig, Secret};
use chio_mcp::servers::{Fleet, FleetLimits};
use chio_mcp_edge::auth::{AuthError, Authentication, Method};
use chio_spec::versions;
use clap::{Args, ValueHint};
use serde::Serialize;
use tokio::net::TcpListener;
use url::Url;

use super::answers;
use super::callers::{self, Callers};
use super::host::EdgeHost;
use super::open_files;
use super::servers;
use crate::cli::configuration;
use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::home::Home;
use crate::cli::node::Node;
use crate::cli::output::Output;
use crate::cli::{banner, policy, shutdown};

/// The name of the surface in receipts.
const SURFACE: &str = "mcp-http";

/// Where the edge listens unless it is told.
const LISTEN: &str = "127.0.0.1:8931";

#[derive(Debug, Args)]
pub(crate) struct ServeHttp {
    /// Address to listen on; port 0 lets the system choose [default: 127.0.0.1:8931]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Policy file [default: policy.yaml of the home folder, else the safe preset]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Configuration with the servers, limits and callers [default: chio.yaml of the home folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[command(flatten)]
    callers: Callers,
    /// Token of the admin endpoints below /admin; without it there is only /admin/health
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<Secret>,
    /// URL at which clients reach the edge, without /mcp [default: the address it listens on]
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// Offer the supported protocol version to clients that ask for another, instead of refusing them
    #[arg(long)]
    counter_offer: bool,
    /// Let all sessions share one running server, which then cannot reach any client
    #[arg(long)]
    shared: bool,
    /// Name of the server in grants and receipts [default: read from the command or the URL]
    #[arg(long, value_name = "ID")]
    server_id: Option<String>,
    /// URL of the MCP server to be served, instead of a command
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<Url>,
    /// Print a line of JSON when ready
    #[arg(long)]
    json: bool,
    /// The command that starts the stdio MCP server to be served
    #[arg(last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What a program that started us wants to know.
#[derive(Serialize)]
struct Ready<'a> {
    url: String,
    servers: Vec<&'a str>,
    kernel_key: String,
    policy_hash: String,
    protocol_versions: &'static [&'static str],
}

impl ServeHttp {
    pub(crate) async fn run(self, home: &Home) -> Result<Answer, Failure> {
        let policy = policy::effective(home, self.policy.as_deref())?;
        let mut config = match &self.config {
            Some(path) => configuration::read_file(path)?
                .ok_or_else(|| Failure::new(format_args!("the file {} does not exist", path.display())))?,
            None => configuration::read(home)?.unwrap_or_default(),
        };
        config.mcp.limits.connections = open_files::connections(&config.mcp.limits);
        let servers = self.servers(&config)?;
        let names: Vec<String> = servers.iter().map(|server| server.id.to_string()).collect();
        let stop = shutdown::requested()?;

        let (listener, address) = self.bind(&config).await?;
        let public = self.public_url(&config, address)?;
        let node = Node::start(home, policy, &[]).await?;
        let method = self.callers.method(&config.mcp.auth, home)?;
        let known = callers::described(&method);
        let is_open = matches!(method, Method::None);
        let auth = Authentication::new(callers::settings(method, &public, address)).map_err(|error| {
            let hint = hint(&error, is_open);
            Failure::from(error).hint(hint)
        })?;

        let processes = usize::try_from(config.mcp.limits.processes).unwrap_or(usize::MAX);
        let fleet =
            Fleet::new(&node.kernel, SURFACE, servers, FleetLimits { processes, ..FleetLimits::default() });
        let counter_offer = self.counter_offer || config.mcp.counter_offer;
        let in_flight = usize::try_from(config.mcp.limits.requests_in_flight).unwrap_or(usize::MAX);
        let host = Arc::new(EdgeHost::new(&node, Arc::clone(&fleet), SURFACE, counter_offer, in_flight));
        let edge = answers::settings(&config.mcp, public.clone(), self.admin_token.as_ref(), &auth)?;

        banner::print(&node, home);
        eprintln!("servers {}", names.join(", "));
        eprintln!("callers {known}");
        eprintln!("serving {}", endpoint(&public));
        if self.json {
            let ready = Ready {
                url: endpoint(&public),
                servers: names.iter().map(String::as_str).collect(),
                kernel_key: node.key().to_string(),
                policy_hash: node.policy().hash().to_string(),
                protocol_versions: versions::MCP_PROTOCOL_VERSIONS,
            };
            Output::new().line(serde_json::to_string(&ready)?)?;
        }

        let served = chio_mcp_edge::serve(listener, edge, auth, host, stop).await;
        fleet.stop().await;
        node.end().await;
        served.doing("serving MCP over HTTP")?;
        Ok(Answer::Yes)
    }

    fn servers(&self, config: &ChioConfig) -> Result<Vec<chio_mcp::servers::ServerSettings>, Failure> {
        let owner = servers::owner(self.shared);
        if let Some(url) = &self.upstream {
            return Ok(vec![servers::of_url(url, self.server_id.as_deref(), owner)?]);
        }
        if !self.command.is_empty() {
            return Ok(vec![servers::of_command(&self.command, self.server_id.as_deref(), owner)?]);
        }
        if config.servers.is_empty() {
            return Err(Failure::new("there is no MCP server to serve")
                .hint("write its command after --, its URL after --upstream, or list servers in chio.yaml"));
        }
        config.servers.iter().map(|server| servers::of_config(&server.value)).collect()
    }

    async fn bind(&self, config: &ChioConfig) -> Result<(TcpListener, SocketAddr), Failure> {
        let wanted = self.listen.as_deref().or(config.mcp.listen.as_deref()).unwrap_or(LISTEN);
        let listener = TcpListener::bind(wanted)
            .await
            .doing(format_args!("listening on {wanted}"))
            .hint("name another address with --listen; port 0 lets the system choose")?;
        let address = listener.local_addr().doing("reading the address that the edge listens on")?;
        Ok((listener, address))
    }

    /// The URL under which clients reach the edge, without `/mcp`.
    fn public_url(&self, config: &ChioConfig, address: SocketAddr) -> Result<Url, Failure> {
        match (&self.public_url, &config.mcp.public_url) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(text)) => text.parse().doing(format_args!("reading `mcp.public_url` {text:?}")),
            (None, None) => {
                let text = format!("http://{address}");
                text.parse().doing(format_args!("making a URL of {text}"))
            }
        }
    }
}

/// What helps against an error of the settings about callers. `is_open`: nothing says who may call.
fn hint(error: &AuthError, is_open: bool) -> &'static str {
    match error {
        _ if is_open => {
            "name who may call with --auth-token, --oauth or --jwt-issuer, or listen on 127.0.0.1"
        }
        AuthError::BadUrl { role: "the public URL", .. } => {
            "name the https address that clients use with --public-url, or listen on 127.0.0.1"
        }
        AuthError::BadUrl { .. } => "name the issuer by its https URL",
        AuthError::BadToken { .. } => "make one with: openssl rand -hex 32",
        AuthError::Keys { .. } => "name the URL or file of the issuer's keys with --jwks",
        _ => "listen on 127.0.0.1, or let the operator approve each login",
    }
}

fn endpoint(public: &Url) -> String {
    format!("{}/mcp", public.as_str().trim_end_matches('/'))
}
