//! Ways to speak MCP: over the pipes of the program that starts us, or over HTTP.

mod answers;
mod callers;
mod host;
mod open_files;
mod serve_http;
mod servers;

use clap::Subcommand;

use super::failure::{Answer, Failure};
use super::home::Home;
use super::wrap::Wrap;

#[derive(Debug, Subcommand)]
pub(crate) enum Mcp {
    /// The same as `chio wrap`
    Serve(Wrap),
    /// Serve MCP over HTTP: any client, any number of MCP servers behind it
    ServeHttp(Box<serve_http::ServeHttp>),
}

impl Mcp {
    pub(crate) async fn run(self, home: &Home) -> Result<Answer, Failure> {
        match self {
            Mcp::Serve(wrap) => wrap.run(home).await,
            Mcp::ServeHttp(serve) => serve.run(home).await,
        }
    }
}
