//! `chio log checkpoint`. Whoever keeps one can later demand a proof that the log only grew.

use clap::Args;

use super::up_to_date;
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::store;

#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Print the signed checkpoint and nothing else
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let empty = || {
            Failure::new("the log of this home is empty, so there is nothing to state")
                .hint("a call through `chio wrap` leaves the first receipt")
        };
        let store = store::open_existing(home)?.ok_or_else(empty)?;
        let checkpoint = store::wait(up_to_date(home, &store))?.ok_or_else(empty)?;
        let mut out = Output::new();
        if self.json {
            out.line(&checkpoint.text)?;
        } else {
            out.line(format!("checkpoint  {}", checkpoint.seq))?;
            out.line(format!("receipts    {}", checkpoint.tree_size))?;
            out.line(format!("root        {}", checkpoint.root))?;
        }
        Ok(Answer::Yes)
    }
}
