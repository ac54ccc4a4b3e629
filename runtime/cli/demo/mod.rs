//! `chio demo`: the whole story in a few seconds, on a real server.
//!
//! It plays the client itself, over the very edge that `chio wrap` puts before a server: lists the tools, makes a call
//! that is allowed and one that is denied, verifies both receipts and their place in the log, and shows that a changed
//! copy is caught. Unless a home is named, it works in a folder of its own and leaves nothing behind. The safe preset
//! is in force, whatever the home says: the story needs a rule that both sides know.

mod choose;
mod client;
mod notes;
mod story;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use chio_mcp::process::Exit;
use chio_mcp::servers::{Connect, Launch};
use clap::{Args, ValueHint};
use tokio_util::sync::CancellationToken;

use self::client::Client;
use super::failure::{Answer, Failure};
use super::home::Home;
use super::node::Node;
use super::output::Output;
use super::{policy, shutdown, wrap};

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The command that starts a stdio MCP server [default: a built-in one]
    #[arg(last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

impl Demo {
    pub(crate) async fn run(self, home: &Home) -> Result<Answer, Failure> {
        let stop = shutdown::requested()?;
        if home.is_given() {
            return until(&stop, self.play(home, Some(home))).await;
        }
        let scratch = Scratch::new();
        let home = Home::at(scratch.0.clone());
        until(&stop, self.play(&home, None)).await
    }

    async fn play(&self, home: &Home, kept_in: Option<&Home>) -> Result<Answer, Failure> {
        let policy = policy::preset(home)?;
        let (id, launch) = if self.command.is_empty() {
            (wrap::name(Some("notes"), &[])?, Launch::Channel(Connect(Arc::new(notes::connect))))
        } else {
            (wrap::name(None, &self.command)?, wrap::launch(&self.command)?)
        };
        let node = Node::start(home, policy, &[]).await?;
        let settings = node.edge(id, launch)?;
        let client = Client::connect(settings);
        let told = story::tell(&node, &client, &self.command, kept_in, &mut Output::new()).await;
        let exit = client.leave().await;
        node.end().await;
        if exit == Some(Exit::NeverRan) {
            return Err(wrap::never_ran(&self.command));
        }
        told
    }
}

/// Plays to the end, unless somebody asks the process to end before.
async fn until(
    stop: &CancellationToken,
    play: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    tokio::select! {
        played = play => played,
        () = stop.cancelled() => Err(Failure::new("the demonstration was interrupted")),
    }
}

/// A folder that is gone when the demonstration is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("chio-demo-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing in it is needed any more; the system clears what cannot be removed here.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
