//! `chio capability revoke`: takes effect with the next call, in every process on this store.

use chio_store::{Revocation, Store};
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::words::plain;
use crate::cli::{moment, store};

use chio_spec::CapabilityId;

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Id of the capability
    id: String,
    /// Why, for the record
    #[arg(long, default_value = "revoked by the operator", value_name = "TEXT")]
    reason: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    capability_id: &'a str,
    /// False when it was revoked before.
    new: bool,
}

impl Revoke {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        CapabilityId::new(self.id.as_str())
            .doing(format_args!("reading the capability id {:?}", self.id))
            .hint("chio capability inspect shows the id of a token")?;
        let store = store::open(home)?;
        let revocation =
            Revocation { capability_id: self.id.clone(), reason: self.reason, revoked_at: moment::now() };
        let new = store::wait(async { store.revoke(revocation).await.map_err(store::explain) })?;
        let mut out = Output::new();
        if self.json {
            out.json(&Report { capability_id: &self.id, new })?;
        } else if new {
            out.line(format!("{} is revoked, and so is everything derived from it", plain(&self.id)))?;
        } else {
            out.line(format!("{} was revoked before", plain(&self.id)))?;
        }
        Ok(Answer::Yes)
    }
}
