//! The contract of [`Store`], as functions over `&dyn Store`. Every engine runs all of them; `suite!` at the end says
//! how an engine is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::sync::Arc;
use std::time::Duration;

use chio_core::merkle::{Frontier, leaf_hash, verify_consistency, verify_inclusion};
use chio_store::{
    BudgetUsage, Committed, Head, MemoryStore, Outcome, ProofAt, Query, Refusal, Revocation, Settlement,
    Store, StoreError,
};
use fixtures::*;

fn revocation(id: &str) -> Revocation {
    Revocation { capability_id: id.to_owned(), reason: "lost".to_owned(), revoked_at: NOW }
}

async fn an_admitted_call_is_completed_once(store: &dyn Store) {
    let ticket = admitted(store.admit(admission("cap")).await.unwrap());
    let committed = store.complete(completion(ticket.clone(), "r1")).await.unwrap();
    assert_eq!(committed, Committed { seq: 1, leaf_index: 0, tree_size: 1 });
    assert_eq!(store.complete(completion(ticket, "r2")).await, Err(StoreError::IntentClosed));
    assert_eq!(store.head().await.unwrap().size, 1);
    assert_eq!(store.receipt("r2").await.unwrap(), None);
}

async fn receipts_are_leaves_of_one_tree(store: &dyn Store) {
    assert_eq!(store.head().await.unwrap(), Head { size: 0, root: Frontier::new().root() });
    let mut tree = Frontier::new();
    for index in 0..40_u64 {
        let committed = store.append(receipt(&format!("r{index}"))).await.unwrap();
        assert_eq!(committed.leaf_index, index);
        tree.append(leaf_hash(receipt(&format!("r{index}")).text.as_bytes()), |_, _| {}).unwrap();
        assert_eq!(store.head().await.unwrap(), Head { size: index + 1, root: tree.root() });
    }
    for index in 0..40_u64 {
        let proof = store.inclusion(&format!("r{index}"), ProofAt::Head).await.unwrap();
        assert_eq!((proof.leaf_index, proof.tree_size, proof.root), (index, 40, tree.root()));
        verify_inclusion(&proof.leaf_hash, index, 40, &proof.audit_path, &proof.root).unwrap();
    }
}

async fn consistency_is_provable_between_any_two_sizes(store: &dyn Store) {
    let mut roots = vec![Frontier::new().root()];
    for index in 0..20 {
        store.append(receipt(&format!("r{index}"))).await.unwrap();
        roots.push(store.head().await.unwrap().root);
    }
    for (new, new_root) in (0_u64..).zip(&roots).skip(1) {
        for (old, old_root) in (0..=new).zip(&roots).skip(1) {
            let path = store.consistency(old, new).await.unwrap();
            verify_consistency(old, new, old_root, new_root, &path).unwrap();
        }
    }
    for (old, new) in [(0, 5), (6, 5), (5, 21)] {
        assert!(matches!(store.consistency(old, new).await, Err(StoreError::NoProof { .. })));
    }
}

async fn a_receipt_id_is_used_once(store: &dyn Store) {
    store.append(receipt("r1")).await.unwrap();
    let duplicate = StoreError::DuplicateReceipt { id: "r1".to_owned() };
    assert_eq!(store.append(receipt("r1")).await, Err(duplicate.clone()));
    let ticket = admitted(store.admit(admission("cap")).await.unwrap());
    assert_eq!(store.complete(completion(ticket.clone(), "r1")).await, Err(duplicate));
    // The intent is still open and can be closed with another receipt.
    assert_eq!(store.complete(completion(ticket, "r2")).await.unwrap().seq, 2);
}

async fn neighbours_of_a_refused_request_succeed(store: &dyn Store) {
    store.append(receipt("taken")).await.unwrap();
    let requests = (0..60).map(|index| async move {
        let id = if index % 3 == 0 { "taken".to_owned() } else { format!("r{index}") };
        (index, store.append(receipt(&id)).await)
    });
    for (index, answer) in all(requests).await {
        assert_eq!(answer.is_ok(), index % 3 != 0, "request {index}: {answer:?}");
    }
    assert_eq!(store.head().await.unwrap().size, 41);
    assert!(store.fsck(trusting()).await.unwrap().is_clean());
}

async fn an_emergency_stop_refuses_and_is_lifted(store: &dyn Store) {
    assert!(store.stop(Some("agent".to_owned()), NOW).await.unwrap());
    assert!(!store.stop(Some("agent".to_owned()), NOW).await.unwrap());
    assert!(store.stops().covers("agent") && !store.stops().covers("other"));
    let refusal = refused(store.admit(admission("cap")).await.unwrap());
    assert_eq!(refusal, Refusal::Stopped { agent: Some("agent".to_owned()) });

    assert!(store.stop(None, NOW + 1).await.unwrap());
    assert!(!store.stop(None, NOW + 2).await.unwrap());
    assert_eq!(store.stops().everything, Some(NOW + 1));
    let refusal = refused(store.admit(admission("cap")).await.unwrap());
    assert_eq!(refusal, Refusal::Stopped { agent: None });

    assert!(store.resume(None).await.unwrap());
    assert!(!store.resume(None).await.unwrap());
    assert!(store.stops().covers("agent"), "each stop is lifted by itself");
    assert!(store.resume(Some("agent".to_owned())).await.unwrap());
    assert!(!store.resume(Some("agent".to_owned())).await.unwrap());
    admitted(store.admit(admission("cap")).await.unwrap());
}

async fn a_revoked_token_or_ancestor_refuses(store: &dyn Store) {
    let mut watch = store.watch_revocations();
    assert_eq!(store.first_revoked(&["child", "root"]), None);
    assert!(store.revoke(revocation("root")).await.unwrap());
    assert!(!store.revoke(revocation("root")).await.unwrap());
    assert_eq!(store.first_revoked(&["child", "root"]), Some("root"));
    let announced = tokio::time::timeout(Duration::from_secs(5), watch.recv()).await.unwrap().unwrap();
    assert_eq!(announced, revocation("root"));
    assert!(watch.try_recv().is_err(), "announced once");

    let mut call = admission("child");
    call.ancestors = vec![token("middle"), token("root")];
    assert_eq!(refused(store.admit(call).await.unwrap()), Refusal::Revoked { id: "root".to_owned() });
    let refusal = refused(store.admit(admission("root")).await.unwrap());
    assert_eq!(refusal, Refusal::Revoked { id: "root".to_owned() });
    assert_eq!(store.token("child").await.unwrap(), None, "a refusal remembers nothing");
}

async fn an_id_belongs_to_the_first_token_that_bears_it(store: &dyn Store) {
    let mut call = admission("child");
    call.ancestors = vec![token("root")];
    admitted(store.admit(call.clone()).await.unwrap());
    admitted(store.admit(call.clone()).await.unwrap());
    assert_eq!(store.token("root").await.unwrap(), Some(token("root")));
    assert_eq!(store.token("child").await.unwrap(), Some(token("child")));
    assert_eq!(store.token("unknown").await.unwrap(), None);

    let mut impostor = admission("new");
    impostor.ancestors = vec![token_with_text("root", "{\"other\":1}")];
    assert_eq!(refused(store.admit(impostor).await.unwrap()), Refusal::IdRebound { id: "root".to_owned() });
    let mut twice = admission("same");
    twice.ancestors = vec![token_with_text("same", "{\"other\":1}")];
    assert_eq!(refused(store.admit(twice).await.unwrap()), Refusal::IdRebound { id: "same".to_owned() });
    assert_eq!(store.token("same").await.unwrap(), None);
    assert_eq!(store.token("new").await.unwrap(), None);
}

async fn a_nonce_is_used_once_per_key_while_it_lives(store: &dyn Store) {
    let with = |claim| {
        let mut call = admission("cap");
        call.nonce = Some(claim);
        call
    };
    admitted(store.admit(with(nonce("n", NOW + 360))).await.unwrap());
    assert_eq!(refused(store.admit(with(nonce("n", NOW + 360))).await.unwrap()), Refusal::Replay);
    let mut other_key = nonce("n", NOW + 360);
    other_key.key = chio_json::PublicKeyHex::from_bytes([8; 32]);
    admitted(store.admit(with(other_key)).await.unwrap());
    let mut late = with(nonce("n", NOW + 900));
    late.now = NOW + 360;
    assert_eq!(refused(store.admit(late.clone()).await.unwrap()), Refusal::Replay, "kept until, inclusive");
    late.now = NOW + 361;
    admitted(store.admit(late.clone()).await.unwrap());
    assert_eq!(refused(store.admit(late).await.unwrap()), Refusal::Replay);
}

async fn a_budget_is_reserved_settled_and_released(store: &dyn Store) {
    let mut call = admission("child");
    call.charges = vec![charge("child", 2), charge("root", 3)];
    let first = admitted(store.admit(call.clone()).await.unwrap());
    let second = admitted(store.admit(call.clone()).await.unwrap());
    let exhausted = Refusal::BudgetExhausted { capability_id: "child".to_owned(), grant_index: 0, limit: 2 };
    assert_eq!(refused(store.admit(call.clone()).await.unwrap()), exhausted);
    assert_eq!(store.budget("root", 0).await.unwrap(), BudgetUsage { settled: 0, reserved: 2 });

    store.complete(completion(first, "r1")).await.unwrap();
    assert_eq!(store.budget("child", 0).await.unwrap(), BudgetUsage { settled: 1, reserved: 1 });
    let mut released = completion(second, "r2");
    released.settlement = Settlement::Release;
    store.complete(released).await.unwrap();
    assert_eq!(store.budget("child", 0).await.unwrap(), BudgetUsage { settled: 1, reserved: 0 });
    admitted(store.admit(call.clone()).await.unwrap());

    // A sibling is charged to the same root, and the root has none left.
    let mut sibling = admission("sibling");
    sibling.charges = vec![charge("sibling", 9), charge("root", 3)];
    admitted(store.admit(sibling.clone()).await.unwrap());
    let exhausted = Refusal::BudgetExhausted { capability_id: "root".to_owned(), grant_index: 0, limit: 3 };
    assert_eq!(refused(store.admit(sibling).await.unwrap()), exhausted);
    assert_eq!(store.budget("sibling", 0).await.unwrap().reserved, 1, "all or nothing");

    let mut twice = admission("twice");
    twice.charges = vec![charge("twice", 1), charge("twice", 1)];
    assert!(matches!(refused(store.admit(twice).await.unwrap()), Refusal::BudgetExhausted { .. }));
    let mut zero = admission("zero");
    zero.charges = vec![charge("zero", 0)];
    assert!(matches!(refused(store.admit(zero).await.unwrap()), Refusal::BudgetExhausted { .. }));
}

async fn a_refusal_takes_nothing(store: &dyn Store) {
    let mut call = admission("cap");
    call.nonce = Some(nonce("n", NOW + 360));
    call.charges = vec![charge("other", 5), charge("cap", 0)];
    assert!(matches!(refused(store.admit(call.clone()).await.unwrap()), Refusal::BudgetExhausted { .. }));
    assert_eq!(store.budget("other", 0).await.unwrap(), BudgetUsage::default());
    assert_eq!(store.token("cap").await.unwrap(), None);
    call.charges.clear();
    let ticket = admitted(store.admit(call).await.unwrap());
    store.complete(completion(ticket, "r1")).await.unwrap();
}

async fn one_hundred_calls_share_a_budget_of_ten(store: &dyn Store) {
    let calls = (0..100).map(|_| async move {
        let mut call = admission("cap");
        call.charges = vec![charge("cap", 10)];
        matches!(store.admit(call).await.unwrap(), chio_store::AdmissionOutcome::Admitted(_))
    });
    let allowed = all(calls).await.into_iter().filter(|allowed| *allowed).count();
    assert_eq!(allowed, 10);
    assert_eq!(store.budget("cap", 0).await.unwrap(), BudgetUsage { settled: 0, reserved: 10 });
}

async fn a_read_only_call_needs_no_intent(store: &dyn Store) {
    let mut call = admission("cap");
    call.intent = None;
    call.charges = vec![charge("cap", 1)];
    let ticket = admitted(store.admit(call).await.unwrap());
    let report = store.fsck(trusting()).await.unwrap();
    assert_eq!((report.open_intents, report.problems), (0, Vec::new()));
    store.complete(completion(ticket, "r1")).await.unwrap();
    assert_eq!(store.budget("cap", 0).await.unwrap(), BudgetUsage { settled: 1, reserved: 0 });
}

async fn receipts_are_found_by_what_they_say(store: &dyn Store) {
    for index in 0..30_u64 {
        let mut new = receipt(&format!("r{index}"));
        new.timestamp = NOW + index;
        new.outcome = if index % 2 == 0 { Outcome::Allow } else { Outcome::Deny };
        new.tool = format!("tool{}", index % 3);
        new.server = format!("server{}", index % 5);
        new.capability_id = format!("cap{}", index % 7);
        store.append(new).await.unwrap();
    }
    let seqs = |query: Query| async move {
        store.receipts(query).await.unwrap().into_iter().map(|found| found.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Query::default()).await, (1..=30).collect::<Vec<_>>());
    assert_eq!(seqs(Query { newest: Some(3), ..Query::default() }).await, [28, 29, 30]);
    assert_eq!(seqs(Query { after_seq: Some(28), ..Query::default() }).await, [29, 30]);
    assert_eq!(seqs(Query { after_seq: Some(u64::MAX), ..Query::default() }).await, [0_u64; 0]);
    assert_eq!(seqs(Query { since: Some(NOW + 27), ..Query::default() }).await, [28, 29, 30]);
    assert_eq!(seqs(Query { newest: Some(0), ..Query::default() }).await, [0_u64; 0]);
    let everything = Query {
        outcome: Some(Outcome::Deny),
        tool: Some("tool1".to_owned()),
        server: Some("server1".to_owned()),
        capability_id: Some("cap1".to_owned()),
        ..Query::default()
    };
    assert_eq!(seqs(everything).await, [2]);
    let found = store.receipt("r4").await.unwrap().unwrap();
    assert_eq!((found.seq, found.id.as_str(), found.text.as_str()), (5, "r4", "{\"id\":\"r4\"}"));
    assert_eq!(store.receipt("r99").await.unwrap(), None);
}

async fn checkpoints_form_a_chain(store: &dyn Store) {
    assert_eq!(store.checkpoint(signer()).await.unwrap(), None);
    store.append(receipt("r1")).await.unwrap();
    store.append(receipt("r2")).await.unwrap();
    let first = store.checkpoint(signer()).await.unwrap().unwrap();
    assert_eq!((first.seq, first.tree_size, first.root), (1, 2, store.head().await.unwrap().root));
    assert_eq!(store.checkpoint(signer()).await.unwrap(), None, "nothing new");
    store.append(receipt("r3")).await.unwrap();
    let check = |input: chio_store::CheckpointInput| {
        assert_eq!((input.seq, input.batch_start_seq, input.batch_end_seq, input.tree_size), (2, 3, 3, 3));
        assert!(input.previous.is_some());
        Err("no key".to_owned())
    };
    let failed = store.checkpoint(Box::new(check)).await;
    assert_eq!(failed, Err(StoreError::Signer { reason: "no key".to_owned() }));
    let second = store.checkpoint(signer()).await.unwrap().unwrap();
    assert_eq!(store.checkpoints().await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(store.latest_checkpoint().await.unwrap(), Some(second.clone()));

    let proof = store.inclusion("r2", ProofAt::Checkpoint(1)).await.unwrap();
    assert_eq!((proof.tree_size, proof.root), (2, first.root));
    verify_inclusion(&proof.leaf_hash, 1, 2, &proof.audit_path, &first.root).unwrap();
    assert!(matches!(store.inclusion("r3", ProofAt::Checkpoint(1)).await, Err(StoreError::NoProof { .. })));
    let unknown = store.inclusion("r3", ProofAt::Checkpoint(9)).await;
    assert_eq!(unknown, Err(StoreError::UnknownCheckpoint { seq: 9 }));
    let unknown = store.inclusion("r9", ProofAt::Head).await;
    assert_eq!(unknown, Err(StoreError::UnknownReceipt { id: "r9".to_owned() }));

    let report = store.fsck(trusting()).await.unwrap();
    assert_eq!((report.receipts, report.checkpoints, report.problems), (3, 2, Vec::new()));
    let report = store.fsck(Box::new(|_, _| Err("forged".to_owned()))).await.unwrap();
    assert_eq!(report.problems, ["checkpoint 1: forged", "checkpoint 2: forged"]);
}

async fn what_cannot_be_stored_is_refused_with_its_name(store: &dyn Store) {
    let mut call = admission("cap");
    call.now = u64::MAX;
    assert!(matches!(store.admit(call).await, Err(StoreError::Invalid { .. })));
    let mut new = receipt("r1");
    new.timestamp = u64::MAX;
    assert!(matches!(store.append(new).await, Err(StoreError::Invalid { .. })));
    let mut new = receipt("r1");
    new.text = " ".repeat(16 * 1024 * 1024 + 1);
    assert!(matches!(store.append(new).await, Err(StoreError::Invalid { .. })));
    let mut odd = receipt("nul\0 and \u{10ffff}");
    odd.text = "\0\u{202e}'; DROP TABLE receipts; --".to_owned();
    store.append(odd.clone()).await.unwrap();
    assert_eq!(store.receipt(&odd.id).await.unwrap().unwrap().text, odd.text);
}

async fn a_cancelled_caller_leaves_the_store_usable(store: &dyn Store) {
    for index in 0..20 {
        let id = format!("gone{index}");
        let cancelled = tokio::time::timeout(Duration::ZERO, store.append(receipt(&id))).await;
        drop(cancelled);
    }
    store.append(receipt("last")).await.unwrap();
    assert!(store.fsck(trusting()).await.unwrap().is_clean());
}

/// Polls all futures on this task until each has its answer.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in &mut pending {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if pending.iter().all(|(_, answer)| answer.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// One test per clause and engine, each with a fresh store.
macro_rules! suite {
    ($engine:ident, $make:expr) => {
        suite! { $engine, $make;
            an_admitted_call_is_completed_once,
            receipts_are_leaves_of_one_tree,
            consistency_is_provable_between_any_two_sizes,
            a_receipt_id_is_used_once,
            neighbours_of_a_refused_request_succeed,
            an_emergency_stop_refuses_and_is_lifted,
            a_revoked_token_or_ancestor_refuses,
            an_id_belongs_to_the_first_token_that_bears_it,
            a_nonce_is_used_once_per_key_while_it_lives,
            a_budget_is_reserved_settled_and_released,
            a_refusal_takes_nothing,
            one_hundred_calls_share_a_budget_of_ten,
            a_read_only_call_needs_no_intent,
            receipts_are_found_by_what_they_say,
            checkpoints_form_a_chain,
            a_cancelled_caller_leaves_the_store_usable,
        }
    };
    ($engine:ident, $make:expr; $($clause:ident),* $(,)?) => {
        mod $engine {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $clause() {
                    let (store, _kept) = $make;
                    let store: Arc<dyn Store> = Arc::new(store);
                    super::$clause(&*store).await;
                }
            )*
        }
    };
}

suite! { sqlite, { let dir = tempfile::tempdir().unwrap(); (open(dir.path()), dir) } }
suite! { memory, (MemoryStore::new(), ()) }

// What one engine cannot store, another may.
suite! { sqlite_limits, { let dir = tempfile::tempdir().unwrap(); (open(dir.path()), dir) };
    what_cannot_be_stored_is_refused_with_its_name,
}
