//! Who waits for whose commit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use chio_store::{CheckpointInput, CheckpointSigner, SqliteStore, Store};
use fixtures::{admission, admitted, open, receipt, signer};

/// A signer that says when it runs inside its transaction, and ends when it may.
fn held(began: mpsc::Sender<()>, end: mpsc::Receiver<()>) -> CheckpointSigner {
    Box::new(move |input: CheckpointInput| {
        began.send(()).unwrap();
        end.recv_timeout(Duration::from_secs(60)).unwrap();
        signer()(input)
    })
}

async fn soon(began: mpsc::Receiver<()>) {
    tokio::task::spawn_blocking(move || began.recv_timeout(Duration::from_secs(60)).unwrap()).await.unwrap();
}

fn checkpoint(store: &Arc<SqliteStore>, sign: CheckpointSigner) -> tokio::task::JoinHandle<()> {
    let store = Arc::clone(store);
    tokio::spawn(async move { drop(store.checkpoint(sign).await.unwrap()) })
}

#[tokio::test]
async fn a_call_that_takes_nothing_does_not_wait_for_the_commit_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut looking = admission("cap");
    looking.intent = None;
    // The first time its id is bound, which is a change.
    admitted(store.admit(looking.clone()).await.unwrap());
    store.append(receipt("r1")).await.unwrap();

    // While one transaction is held, another gathers behind it: a receipt, a checkpoint that is held too, and the call.
    let ((first, first_began), (end_first, may_end)) = (mpsc::channel(), mpsc::channel());
    let first = checkpoint(&store, held(first, may_end));
    soon(first_began).await;
    let appended = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(receipt("r2")).await.unwrap() }
    });
    tokio::task::yield_now().await;
    let ((second, second_began), (end_second, may_end)) = (mpsc::channel(), mpsc::channel());
    let second = checkpoint(&store, held(second, may_end));
    tokio::task::yield_now().await;
    let call = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.admit(looking).await.unwrap() }
    });
    tokio::task::yield_now().await;

    end_first.send(()).unwrap();
    first.await.unwrap();
    soon(second_began).await;
    let answered = tokio::time::timeout(Duration::from_secs(30), call).await;
    admitted(answered.expect("the call is answered while the transaction goes on").unwrap());
    assert!(!appended.is_finished() && !second.is_finished(), "what changes something waits for its commit");
    end_second.send(()).unwrap();
    second.await.unwrap();
    appended.await.unwrap();
}
