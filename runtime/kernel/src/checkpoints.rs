//! Signed statements about the log, made while the kernel runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chio_core::checkpoint;
use chio_core::keys::SigningKey;
use chio_spec::KernelCheckpoint;
use chio_store::{CheckpointInput, CheckpointSigner, StoredCheckpoint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{Kernel, KernelError};

/// A checkpoint is made after this many receipts …
const RECEIPTS: u64 = 100;

/// … or after this time, if there was any.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts the receipts since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    receipts: AtomicU64,
    due: Notify,
}

impl Pending {
    pub(crate) fn note_receipt(&self) {
        if self.receipts.fetch_add(1, Ordering::Relaxed) + 1 >= RECEIPTS {
            self.due.notify_one();
        }
    }
}

/// What a store asks to sign its next checkpoint, with `key` and as of `now` in Unix seconds: the statement about the log
/// as it is, chained to the checkpoint before.
#[must_use]
pub fn checkpoint_signer(key: Arc<SigningKey>, now: u64) -> CheckpointSigner {
    Box::new(move |input: CheckpointInput| {
        let previous = input
            .previous
            .map(|text| serde_json::from_str::<KernelCheckpoint>(&text))
            .transpose()
            .map_err(|error| format!("the previous checkpoint cannot be read: {error}"))?;
        let checkpoint = checkpoint::build(&key, previous.as_ref(), input.tree_size, input.root, now)
            .map_err(|error| error.to_string())?;
        chio_json::canonical::to_string(&checkpoint).map_err(|error| error.to_string())
    })
}

impl Kernel {
    /// Signs a checkpoint over everything in the log; none when the newest one covers it already.
    ///
    /// # Errors
    /// The store cannot be written, or the previous checkpoint cannot be read.
    pub async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, KernelError> {
        self.checkpoints.receipts.store(0, Ordering::Relaxed);
        let sign = checkpoint_signer(Arc::clone(&self.settings.signing_key), self.now());
        Ok(self.store.checkpoint(sign).await?)
    }

    /// Makes checkpoints until `shutdown`, and a last one then. A checkpoint that fails is tried again; receipts do not
    /// wait for it.
    pub async fn keep_checkpoints(&self, shutdown: CancellationToken) {
        loop {
            let stopping = tokio::select! {
                () = shutdown.cancelled() => true,
                () = self.checkpoints.due.notified() => false,
                () = tokio::time::sleep(INTERVAL) => false,
            };
            self.finish_unfinished().await;
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(%error, "no checkpoint could be made; it will be tried again");
            }
            if stopping {
                return;
            }
        }
    }
}
