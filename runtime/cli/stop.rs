//! `chio stop` and `chio resume`: the first step of every decision, in every process on this store.

use chio_core::keys::PublicKey;
use chio_store::Store;
use clap::Args;
use serde::Serialize;

use super::failure::{Answer, Failure};
use super::home::Home;
use super::output::Output;
use super::{moment, signers, store};

#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Only the agent with this key, which receipts show as the holder [default: everything]
    #[arg(long, value_name = "HEX", value_parser = signers::public_key)]
    agent: Option<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    stopped: bool,
    agent: Option<String>,
    /// False when it was so before.
    changed: bool,
}

/// Denies every call from now on, or those of one agent, and cancels what runs.
pub(crate) fn stop(whom: &Whom, home: &Home) -> Result<Answer, Failure> {
    let store = store::open(home)?;
    let changed =
        store::wait(async { store.stop(whom.agent(), moment::now()).await.map_err(store::explain) })?;
    let text = match (&whom.agent, changed) {
        (None, true) => "everything is stopped; chio resume lifts it".to_owned(),
        (None, false) => "everything was stopped before".to_owned(),
        (Some(agent), true) => format!("{agent} is stopped; chio resume --agent {agent} lifts it"),
        (Some(agent), false) => format!("{agent} was stopped before"),
    };
    whom.tell(&text, &Report { stopped: true, agent: whom.agent(), changed })
}

/// Lifts a stop.
pub(crate) fn resume(whom: &Whom, home: &Home) -> Result<Answer, Failure> {
    let store = store::open(home)?;
    let changed = store::wait(async { store.resume(whom.agent()).await.map_err(store::explain) })?;
    let text = match (&whom.agent, changed) {
        (None, true) => "the stop over everything is lifted".to_owned(),
        (None, false) => "there was no stop over everything".to_owned(),
        (Some(agent), true) => format!("the stop of {agent} is lifted"),
        (Some(agent), false) => format!("{agent} was not stopped"),
    };
    whom.tell(&text, &Report { stopped: false, agent: whom.agent(), changed })
}

impl Whom {
    fn agent(&self) -> Option<String> {
        self.agent.map(|agent| agent.to_string())
    }

    fn tell(&self, text: &str, report: &Report) -> Result<Answer, Failure> {
        let mut out = Output::new();
        if self.json {
            out.json(report)?;
        } else {
            out.line(text)?;
        }
        Ok(Answer::Yes)
    }
}
