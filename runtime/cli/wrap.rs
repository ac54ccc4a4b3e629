//! `chio wrap`: a stdio MCP server that governs the stdio MCP server it starts.
//!
//! Standard output belongs to the protocol, so everything for people goes to standard error: five lines about what is
//! in force, and later warnings. The line about tools comes when the client has initialized the server; before that,
//! asking for them would break the protocol.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chio_mcp::edge::{EdgeSettings, End, wrap_stdio};
use chio_mcp::process::{Exit, ServerCommand};
use chio_mcp::servers::{Launch, Member};
use chio_mcp::upstream::Upstream;
use chio_spec::ServerId;
use clap::{Args, ValueHint};

use super::banner;
use super::failure::{Answer, Failure, OrFail};
use super::home::Home;
use super::node::Node;
use super::{policy, server_id, shutdown};

#[derive(Debug, Args)]
pub(crate) struct Wrap {
    /// Policy file [default: policy.yaml of the home folder, else the safe preset]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Name of the server in grants and receipts [default: read from the command]
    #[arg(long, value_name = "ID")]
    server_id: Option<String>,
    /// The command that starts the server
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

impl Wrap {
    pub(crate) async fn run(self, home: &Home) -> Result<Answer, Failure> {
        let policy = policy::effective(home, self.policy.as_deref())?;
        let id = name(self.server_id.as_deref(), &self.command)?;
        let stop = shutdown::requested()?;
        let node = Node::start(home, policy, &[]).await?;
        let settings = node.edge(id.clone(), launch(&self.command)?)?;
        let upstream = settings.servers.get(&id).map(Member::start).transpose()?;
        banner::print(&node, home);
        let announcing = tokio::spawn(announce(id, upstream, settings.clone()));

        let ended = wrap_stdio(settings, stop).await;
        announcing.abort();
        // It holds the kernel; only when nobody does can the store be closed.
        drop(announcing.await);
        node.end().await;
        match (ended.end, ended.server) {
            (_, Some(Exit::NeverRan)) => Err(never_ran(&self.command)),
            (End::Server, Some(Exit::Status(status))) if status != 0 => {
                Err(Failure::new(format_args!("the wrapped server ended by itself with status {status}"))
                    .hint("run its command by hand to see why"))
            }
            (End::Server, Some(Exit::Unknown)) => Err(Failure::new("the wrapped server was killed")),
            _ => Ok(Answer::Yes),
        }
    }
}

/// The server's name: the one given, or the one that its command suggests.
pub(crate) fn name(given: Option<&str>, command: &[OsString]) -> Result<ServerId, Failure> {
    let text = given.map_or_else(|| server_id::derive(command), str::to_owned);
    if text == "*" {
        return Err(Failure::new("a server cannot be named *, which stands for every server in grants")
            .hint("choose another name with --server-id"));
    }
    ServerId::new(text.as_str()).doing(format_args!("reading the server id {text:?}"))
}

/// How the server is started.
pub(crate) fn launch(command: &[OsString]) -> Result<Launch, Failure> {
    self::command(command).map(Launch::Command)
}

/// The command as it is run, without a shell.
pub(crate) fn command(command: &[OsString]) -> Result<ServerCommand, Failure> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::new("no command was given").hint("write the server's command after --"))?;
    Ok(ServerCommand::new(program, arguments))
}

pub(crate) fn never_ran(command: &[OsString]) -> Failure {
    let program = command.first().map(|program| Path::new(program).display().to_string()).unwrap_or_default();
    Failure::new(format_args!("the wrapped server `{program}` could not be started"))
        .hint("check that the program is installed and on the PATH")
}

/// Tells which tools are offered, once a client has initialized the server.
async fn announce(id: ServerId, upstream: Option<Arc<Upstream>>, settings: EdgeSettings) {
    let Some(upstream) = upstream else { return };
    upstream.ready().cancelled().await;
    match upstream.tools().await {
        Ok(tools) => {
            // Those that can be called as tasks only are offered to few clients.
            let callable = tools.tools().iter().filter(|tool| !tool.needs_task);
            let names = callable.map(|tool| tool.name.as_str());
            eprintln!("{}", banner::tools(settings.kernel.policy(), &id, names));
        }
        Err(error) => tracing::debug!(%error, "the tools of the wrapped server cannot be listed"),
    }
}
