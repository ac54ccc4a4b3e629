//! `chio log`: the receipts as a whole, as a tree that only grows.

mod checkpoint;
mod fsck;
mod prove;
mod verify;

use std::sync::Arc;

use chio_kernel::checkpoint_signer;
use chio_store::{Store, StoredCheckpoint};
use clap::Subcommand;

use super::failure::{Answer, Failure};
use super::home::Home;
use super::keys::{self, Role};
use super::{moment, store};

pub(crate) use prove::bundle;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign a statement about the log as it is, and print it
    Checkpoint(checkpoint::Checkpoint),
    /// Prove that a receipt is in the log: print receipt, proof and signed checkpoint for somebody else
    Prove(prove::Prove),
    /// Check proof bundles and checkpoints, offline
    Verify(verify::Verify),
    /// Examine the whole log of this home
    Fsck(fsck::Fsck),
}

pub(crate) fn run(command: Command, home: &Home) -> Result<Answer, Failure> {
    match command {
        Command::Checkpoint(command) => command.run(home),
        Command::Prove(command) => command.run(home),
        Command::Verify(command) => command.run(home),
        Command::Fsck(command) => command.run(home),
    }
}

/// The newest checkpoint, after one was made for what none covers yet; none for an empty log.
async fn up_to_date(home: &Home, store: &dyn Store) -> Result<Option<StoredCheckpoint>, Failure> {
    let key = Arc::new(keys::load_or_create(home, Role::Kernel)?);
    if let Some(new) =
        store.checkpoint(checkpoint_signer(key, moment::now())).await.map_err(store::explain)?
    {
        return Ok(Some(new));
    }
    store.latest_checkpoint().await.map_err(store::explain)
}
