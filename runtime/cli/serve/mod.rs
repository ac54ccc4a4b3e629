//! `chio serve`: the kernel behind the native transport.

mod tools;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use chio_core::keys::PublicKey;
use chio_mcp::servers::{Fleet, FleetLimits, Owner, ServerSettings};
use chio_mcp::upstream::Upstream;
use chio_native::{Address, Listener, ServerLimits};
use chio_spec::{ServerId, ToolDefinition, versions};
use clap::{Args, ValueHint};
use serde::Serialize;

use self::tools::DemoTools;
use super::failure::{Answer, Failure};
use super::home::Home;
use super::node::Node;
use super::output::Output;
use super::{banner, policy, shutdown, signers, wrap};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: tcp://HOST:PORT (port 0 lets the system choose), unix://PATH or stdio:
    #[arg(long, value_name = "ADDRESS")]
    listen: Address,
    /// Name of the server in grants and receipts [default: read from the command; demo for --demo]
    #[arg(long, value_name = "ID")]
    server_id: Option<String>,
    /// Key of a further issuer to trust, beside this home's own; can be repeated
    #[arg(long = "trust-issuer", value_name = "HEX", value_parser = signers::public_key)]
    issuers: Vec<PublicKey>,
    /// Policy file [default: policy.yaml of the home folder, else the safe preset]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Serve built-in tools: echo, add, sleep, count (streams), fail
    #[arg(long, conflicts_with = "command")]
    demo: bool,
    /// Print a line of JSON when ready (not with stdio:)
    #[arg(long)]
    json: bool,
    /// The command that starts the stdio MCP server to be served
    #[arg(last = true, required_unless_present = "demo", value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What a program that started us wants to know.
#[derive(Serialize)]
struct Ready {
    listening: String,
    server_id: String,
    kernel_key: String,
    policy_hash: String,
    wire_version: &'static str,
}

impl Serve {
    pub(crate) async fn run(self, home: &Home) -> Result<Answer, Failure> {
        let policy = policy::effective(home, self.policy.as_deref())?;
        let id = match (&self.server_id, self.demo) {
            (None, true) => wrap::name(Some("demo"), &[])?,
            (given, _) => wrap::name(given.as_deref(), &self.command)?,
        };
        let stop = shutdown::requested()?;
        let node = Node::start(home, policy, &self.issuers).await?;
        let listener = Listener::bind(&self.listen).await?;
        let fleet = self.register(&node, id.clone())?;
        let starting = tokio::select! {
            started = start(&node, &id, fleet.as_deref()) => started.map(Some),
            () = stop.cancelled() => Ok(None),
        };
        let (tools, upstream) = match starting {
            Ok(Some(started)) => started,
            failed => {
                if let Some(fleet) = fleet {
                    fleet.stop().await;
                }
                return failed.map(|_| Answer::Yes);
            }
        };

        banner::print(&node, home);
        eprintln!("{}", banner::tools(node.policy(), &id, tools.iter().map(|tool| tool.name.as_str())));
        eprintln!("serving {id} on {}", listener.address());
        if self.json && self.listen != Address::Stdio {
            let ready = Ready {
                listening: listener.address().to_string(),
                server_id: id.to_string(),
                kernel_key: node.key().to_string(),
                policy_hash: node.policy().hash().to_string(),
                wire_version: versions::WIRE_VERSION,
            };
            Output::new().line(serde_json::to_string(&ready)?)?;
        }

        let serving =
            chio_native::serve(listener, Arc::clone(&node.kernel), ServerLimits::default(), stop.clone());
        let mut serving = std::pin::pin!(serving);
        let server_ended = tokio::select! {
            () = ended(upstream.as_deref()) => true,
            () = &mut serving => false,
        };
        if server_ended {
            // Calls in flight still get their receipts and answers.
            stop.cancel();
            serving.await;
        }
        if let Some(fleet) = fleet {
            fleet.stop().await;
        }
        node.end().await;
        if server_ended {
            return Err(
                Failure::new("the wrapped server ended by itself").hint("run its command by hand to see why")
            );
        }
        Ok(Answer::Yes)
    }

    /// Puts the tools to be served behind the kernel; those of a server are in the fleet that is returned.
    fn register(&self, node: &Node, id: ServerId) -> Result<Option<Arc<Fleet>>, Failure> {
        if self.demo {
            node.kernel.register(Arc::new(DemoTools::new(id)));
            return Ok(None);
        }
        let settings = ServerSettings { id, launch: wrap::launch(&self.command)?, owner: Owner::Shared };
        Ok(Some(Fleet::new(&node.kernel, "native", vec![settings], FleetLimits::default())))
    }
}

/// The tools that are served, once the server behind them runs; and that server, if there is one.
async fn start(
    node: &Node,
    id: &ServerId,
    fleet: Option<&Fleet>,
) -> Result<(Vec<ToolDefinition>, Option<Arc<Upstream>>), Failure> {
    let upstream = match fleet.and_then(|fleet| fleet.shared(id)) {
        Some(server) => Some(server.upstream().await?),
        None => None,
    };
    let tools = match node.kernel.server(id) {
        Some(server) => server.list().await?,
        None => Vec::new(),
    };
    Ok((tools, upstream))
}

/// Returns once the wrapped server has ended; never where there is none.
async fn ended(server: Option<&Upstream>) {
    match server {
        Some(server) => server.ended().cancelled().await,
        None => std::future::pending().await,
    }
}
