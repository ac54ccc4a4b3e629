//! Checkpoints signed by the core, kept by the store, and examined with the core again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use chio_core::checkpoint;
use chio_core::keys::SigningKey;
use chio_json::{PublicKeyHex, canonical};
use chio_spec::KernelCheckpoint;
use chio_store::{CheckpointInput, CheckpointSigner, CheckpointVerifier, Store, verify_checkpoint};
use fixtures::{NOW, open, receipt};

fn sign(seed: u8) -> CheckpointSigner {
    Box::new(move |input: CheckpointInput| {
        let key = SigningKey::from_seed([seed; 32]);
        let previous: Option<KernelCheckpoint> = input
            .previous
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| error.to_string())?;
        let signed = checkpoint::build(&key, previous.as_ref(), input.tree_size, input.root, NOW)
            .map_err(|fault| fault.to_string())?;
        assert_eq!((signed.body.checkpoint_seq, signed.body.batch_end_seq), (input.seq, input.batch_end_seq));
        assert_eq!(signed.body.batch_start_seq, input.batch_start_seq);
        canonical::to_string(&signed).map_err(|error| error.to_string())
    })
}

fn trust(keys: Vec<PublicKeyHex>) -> CheckpointVerifier {
    Box::new(move |checkpoint, previous| verify_checkpoint(checkpoint, previous, &keys))
}

#[tokio::test]
async fn the_cores_checkpoints_chain_and_verify() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..4 {
        for index in 0..=round {
            store.append(receipt(&format!("r{round}-{index}"))).await.unwrap();
        }
        store.checkpoint(sign(1)).await.unwrap().unwrap();
    }
    let key = SigningKey::from_seed([1; 32]).public().hex();
    let report = store.fsck(trust(vec![key])).await.unwrap();
    assert_eq!((report.checkpoints, report.problems), (4, Vec::new()));

    let stranger = SigningKey::from_seed([2; 32]).public().hex();
    let report = store.fsck(trust(vec![stranger])).await.unwrap();
    assert_eq!(report.problems.len(), 4);
    assert!(report.problems[0].contains("not a trusted key"), "{}", report.problems[0]);

    let stored = store.checkpoints().await.unwrap();
    let trusted = [key];
    assert!(verify_checkpoint(&stored[0], None, &trusted).is_ok());
    assert!(verify_checkpoint(&stored[2], Some(&stored[1]), &trusted).is_ok());
    assert!(verify_checkpoint(&stored[2], Some(&stored[0]), &trusted).is_err(), "another predecessor");
    assert!(verify_checkpoint(&stored[2], None, &trusted).is_err(), "no predecessor");
    assert!(verify_checkpoint(&stored[0], Some(&stored[1]), &trusted).is_err(), "the first has none");
    let mut moved = stored[1].clone();
    moved.tree_size += 1;
    assert!(verify_checkpoint(&moved, Some(&stored[0]), &trusted).is_err(), "another size");
    let mut forged = stored[1].clone();
    forged.text = forged.text.replace(&format!("{NOW}"), &format!("{}", NOW + 1)).into();
    assert!(verify_checkpoint(&forged, Some(&stored[0]), &trusted).is_err(), "another time");
}
