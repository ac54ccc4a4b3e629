//! `chio serve`: the kernel behind the native transport.

mod tools;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use chio_core::keys::PublicKey;
use chio_kernel::ToolServerConnection;
use chio_mcp::connection::WrappedServer;
use chio_mcp::refusals::Refusals;
use chio_native::{Address, Listener, ServerLimits};
use chio_spec::{ServerId, versions};
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
        let (server, upstream) = tokio::select! {
            tools = self.tools(&node, id.clone()) => tools?,
            () = stop.cancelled() => return Ok(Answer::Yes),
        };
        node.kernel.register(Arc::clone(&server));
        let tools = server.list().await?;

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
        if let Some(server) = upstream {
            server.upstream().stop().await;
        }
        node.end().await;
        if server_ended {
            return Err(
                Failure::new("the wrapped server ended by itself").hint("run its command by hand to see why")
            );
        }
        Ok(Answer::Yes)
    }

    /// The tools to be served, and the server behind them if there is one.
    async fn tools(
        &self,
        node: &Node,
        id: ServerId,
    ) -> Result<(Arc<dyn ToolServerConnection>, Option<Arc<WrappedServer>>), Failure> {
        if self.demo {
            return Ok((Arc::new(DemoTools::new(id)), None));
        }
        let upstream = wrap::start(&self.command)?;
        upstream.listen(Arc::new(Refusals::new(&node.kernel, id.clone(), "native")));
        upstream.initialize_as("chio", env!("CARGO_PKG_VERSION")).await?;
        let server = Arc::new(WrappedServer::new(id, upstream));
        Ok((Arc::<WrappedServer>::clone(&server), Some(server)))
    }
}

/// Returns once the wrapped server has ended; never where there is none.
async fn ended(server: Option<&WrappedServer>) {
    match server {
        Some(server) => server.upstream().ended().cancelled().await,
        None => std::future::pending().await,
    }
}
