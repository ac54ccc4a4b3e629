//! The MCP servers behind the edge, from the command line or from `chio.yaml`.

use std::ffi::OsString;

use chio_config::{Secret, ServerConfig, ServerOwner};
use chio_mcp::http::HttpEndpoint;
use chio_mcp::servers::{Launch, Owner, ServerSettings};
use url::Url;

use crate::cli::failure::{Failure, OrFail};
use crate::cli::wrap;

pub(super) fn owner(shared: bool) -> Owner {
    if shared { Owner::Shared } else { Owner::Session }
}

/// The server that a command starts.
pub(super) fn of_command(
    command: &[OsString],
    id: Option<&str>,
    owner: Owner,
) -> Result<ServerSettings, Failure> {
    let id = wrap::name(id, command)?;
    Ok(ServerSettings { id, launch: Launch::Command(wrap::command(command)?), owner })
}

/// The server at a URL, named after its host.
pub(super) fn of_url(url: &Url, id: Option<&str>, owner: Owner) -> Result<ServerSettings, Failure> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let id = wrap::name(Some(id.unwrap_or(&host)), &[])?;
    Ok(ServerSettings { id, launch: Launch::Http(HttpEndpoint::new(url.clone(), &[])?), owner })
}

/// A server of `chio.yaml`.
pub(super) fn of_config(server: &ServerConfig) -> Result<ServerSettings, Failure> {
    let owner = owner(server.owner == ServerOwner::Shared);
    let id = wrap::name(Some(&server.id), &[])?;
    let launch = match &server.url {
        Some(text) => {
            let url = text.parse().doing(format_args!("reading the URL {text:?} of the server {id}"))?;
            let text = |(name, value): (&String, &Secret)| (name.clone(), value.reveal().to_owned());
            let headers: Vec<(String, String)> = server.headers.iter().map(text).collect();
            let endpoint = HttpEndpoint::new(url, &headers);
            Launch::Http(endpoint.doing(format_args!("reading the server {id}"))?)
        }
        None => {
            let words: Vec<OsString> = server.command.iter().map(OsString::from).collect();
            let mut command = wrap::command(&words)?;
            for (name, value) in &server.env {
                command = command.with_env(name, value.reveal());
            }
            if let Some(folder) = &server.cwd {
                command = command.with_directory(folder);
            }
            Launch::Command(command)
        }
    };
    Ok(ServerSettings { id, launch, owner })
}
