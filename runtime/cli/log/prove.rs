//! `chio log prove`: everything that a stranger needs to check one receipt, in one JSON object.

use chio_json::{Signed, canonical};
use chio_spec::{KernelCheckpoint, MerkleProof, ReceiptInclusionProof, ReceiptProofBundle};
use chio_store::{ProofAt, Store, StoredCheckpoint};
use clap::Args;

use super::up_to_date;
use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::store;

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Id of the receipt
    id: String,
    /// Taken for uniformity: a proof is always printed as JSON
    #[arg(long, hide = true)]
    json: bool,
}

impl Prove {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let unknown = || {
            Failure::new(format_args!("there is no receipt {} in the log of this home", self.id))
                .hint("chio receipt list shows what there is; --home names another home")
        };
        let store = store::open_existing(home)?.ok_or_else(unknown)?;
        let text = store::wait(async {
            if store.receipt(&self.id).await.map_err(store::explain)?.is_none() {
                return Err(unknown());
            }
            let checkpoint = up_to_date(home, &store).await?.ok_or_else(unknown)?;
            bundle(&store, &self.id, &checkpoint).await
        })?;
        Output::new().line(text)?;
        Ok(Answer::Yes)
    }
}

/// The canonical text of the bundle that proves a receipt against a checkpoint.
pub(crate) async fn bundle(
    store: &dyn Store,
    id: &str,
    checkpoint: &StoredCheckpoint,
) -> Result<String, Failure> {
    let unknown = || Failure::new(format_args!("the receipt {id} is not in the log"));
    let receipt = store.receipt(id).await.map_err(store::explain)?.ok_or_else(unknown)?;
    let proof = store.inclusion(id, ProofAt::Checkpoint(checkpoint.seq)).await.map_err(store::explain)?;
    let signed: KernelCheckpoint = serde_json::from_str(&checkpoint.text).doing("reading the checkpoint")?;
    let inclusion = ReceiptInclusionProof::new(
        checkpoint.seq,
        proof.leaf_index,
        proof.root,
        MerkleProof::new(proof.audit_path, proof.leaf_index, proof.tree_size),
        receipt.seq,
    );
    let bundle = ReceiptProofBundle::new(signed, inclusion, Signed::from_text(receipt.text)?);
    canonical::to_string(&bundle).doing("writing the proof")
}
