//! `chio capability`: the life of a token, from the authority that issues it to the operator who revokes it.

mod attenuate;
mod grants;
mod inspect;
mod issue;
mod keygen;
mod revoke;
mod verify;

use chio_json::Signed;
use chio_spec::CapabilityToken;
use clap::Subcommand;

use super::failure::{Answer, Failure, OrFail};
use super::home::Home;
use super::input;
use super::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key for somebody who is to hold capabilities
    Keygen(keygen::Keygen),
    /// Issue a capability, signed by this home's authority
    Issue(issue::Issue),
    /// Pass a capability on, narrowed; done offline by its holder
    Attenuate(attenuate::Narrow),
    /// Show what a capability allows, to whom and how long
    Inspect(inspect::Inspect),
    /// Check a capability: signatures, delegations, time, issuer, revocation
    Verify(verify::Verify),
    /// Revoke a capability and all that were derived from it, for good
    Revoke(revoke::Revoke),
}

pub(crate) fn run(command: Command, home: &Home) -> Result<Answer, Failure> {
    match command {
        Command::Keygen(keygen) => keygen.run(home),
        Command::Issue(issue) => issue.run(home),
        Command::Attenuate(narrow) => narrow.run(),
        Command::Inspect(inspect) => inspect.run(home),
        Command::Verify(verify) => verify.run(home),
        Command::Revoke(revoke) => revoke.run(home),
    }
}

/// The text of the one token behind an argument.
fn token_text(argument: &str) -> Result<String, Failure> {
    let text = input::text(argument)?;
    Ok(text.trim_ascii().to_owned())
}

/// The token behind an argument, as far as it can be read.
fn token(argument: &str) -> Result<Signed<CapabilityToken>, Failure> {
    let signed =
        Signed::<CapabilityToken>::from_text(token_text(argument)?).doing("reading the capability")?;
    signed.view().map_err(Clone::clone).doing("reading the capability")?;
    Ok(signed)
}

/// Prints a new token: its exact text on standard output, and for people what it is on standard error.
fn hand_out(token: &Signed<CapabilityToken>, json: bool) -> Result<(), Failure> {
    if !json {
        for line in inspect::description(token.view().map_err(Clone::clone)?, super::moment::now()) {
            eprintln!("{line}");
        }
    }
    Output::new().line(token.text())
}
