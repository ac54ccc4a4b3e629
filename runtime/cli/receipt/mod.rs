//! `chio receipt`: what was decided, and whether it can be believed.

mod list;
mod show;
mod tail;
mod verify;

use chio_json::Signed;
use chio_spec::{Decision, Receipt};
use chio_store::{Outcome, Query};
use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Answer, Failure};
use super::home::Home;
use super::moment;
use super::output::{Colour, Output};
use super::words::{plain, shorten};

pub(crate) use verify::examine;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List receipts, oldest first
    List(list::List),
    /// Show one receipt with every step of its decision
    Show(show::Show),
    /// Check receipts: signature, parameters, signer, and the proof of a bundle
    Verify(verify::Verify),
    /// Follow the log: print each new receipt
    Tail(tail::Tail),
}

pub(crate) fn run(command: Command, home: &Home) -> Result<Answer, Failure> {
    match command {
        Command::List(list) => list.run(home),
        Command::Show(show) => show.run(home),
        Command::Verify(verify) => verify.run(home),
        Command::Tail(tail) => tail.run(home),
    }
}

/// Which receipts are wanted.
#[derive(Debug, Args)]
struct Filter {
    /// Only receipts with this verdict
    #[arg(long, value_name = "VERDICT")]
    outcome: Option<Verdict>,
    /// Only receipts of this tool
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only receipts of this server
    #[arg(long, value_name = "ID")]
    server: Option<String>,
    /// Only receipts of this capability
    #[arg(long, value_name = "ID")]
    capability: Option<String>,
    /// Only receipts from then on: 10m, 2h, 1d (ago), RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = moment::parse_since)]
    since: Option<u64>,
}

/// A verdict, as it can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verdict {
    /// The call was allowed and completed
    Allow,
    /// The call was denied
    Deny,
    /// The call was cancelled
    Cancelled,
    /// The call did not come to an end, or its end is unknown
    Incomplete,
}

impl Filter {
    fn query(&self) -> Query {
        Query {
            outcome: self.outcome.map(|verdict| match verdict {
                Verdict::Allow => Outcome::Allow,
                Verdict::Deny => Outcome::Deny,
                Verdict::Cancelled => Outcome::Cancelled,
                Verdict::Incomplete => Outcome::Incomplete,
            }),
            tool: self.tool.clone(),
            server: self.server.clone(),
            capability_id: self.capability.clone(),
            since: self.since,
            ..Query::default()
        }
    }
}

/// One receipt as a row: time, verdict, what was called, why, id.
fn row(text: &str, out: &Output) -> Vec<String> {
    let receipt = Signed::<Receipt>::from_text(text.to_owned()).ok();
    let Some(receipt) = receipt.as_ref().and_then(|receipt| receipt.view().ok()) else {
        return vec!["(a receipt that cannot be read)".to_owned()];
    };
    let (verdict, colour, reason) = decision(&receipt.decision);
    vec![
        moment::rfc3339(receipt.timestamp),
        out.paint(colour, verdict),
        shorten(&plain(&format!("{}/{}", receipt.tool_server, receipt.tool_name)), 60),
        shorten(&plain(&reason), 80),
        out.paint(Colour::Dim, &plain(&receipt.id)),
    ]
}

/// A decision as verdict, colour and reason.
fn decision(decision: &Decision) -> (&'static str, Colour, String) {
    match decision {
        Decision::Allow => ("allow", Colour::Good, String::new()),
        Decision::Deny(deny) => ("deny", Colour::Bad, format!("{}: {}", deny.guard, deny.reason)),
        Decision::Cancelled(cancelled) => ("cancelled", Colour::Open, cancelled.reason.clone()),
        Decision::Incomplete(incomplete) => ("incomplete", Colour::Open, incomplete.reason.clone()),
    }
}
