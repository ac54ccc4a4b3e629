//! Random histories against a model so simple that it is obviously right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixtures;

use std::collections::{BTreeMap, BTreeSet};

use chio_core::merkle::{Frontier, leaf_hash};
use chio_store::{
    AdmissionOutcome, BudgetUsage, Committed, Completion, Head, Refusal, Revocation, Settlement, SqliteStore,
    Store, StoreError, Ticket,
};
use fixtures::*;
use proptest::prelude::*;

/// One step of a history. Small numbers, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Admit { capability: u8, ancestor: Option<u8>, version: u8, nonce: Option<u8>, limit: u8, intent: bool },
    Complete { ticket: usize, receipt: u8, release: bool },
    Append { receipt: u8 },
    Revoke { capability: u8 },
    Stop { everything: bool },
    Resume { everything: bool },
    Checkpoint,
    Later { seconds: u8 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let capability = 0..5_u8;
    prop_oneof![
        12 => (capability.clone(), prop::option::of(capability.clone()), prop::sample::select(vec![0, 0, 0, 0, 0, 1]),
               prop::option::of(0..6_u8), 0..6_u8, any::<bool>())
            .prop_map(|(capability, ancestor, version, nonce, limit, intent)| {
                Step::Admit { capability, ancestor, version, nonce, limit, intent }
            }),
        8 => (0..8_usize, 0..60_u8, any::<bool>())
            .prop_map(|(ticket, receipt, release)| Step::Complete { ticket, receipt, release }),
        4 => (0..60_u8).prop_map(|receipt| Step::Append { receipt }),
        1 => capability.prop_map(|capability| Step::Revoke { capability }),
        1 => any::<bool>().prop_map(|everything| Step::Stop { everything }),
        2 => any::<bool>().prop_map(|everything| Step::Resume { everything }),
        2 => Just(Step::Checkpoint),
        2 => (0..9_u8).prop_map(|seconds| Step::Later { seconds }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    now: u64,
    bound: BTreeMap<String, String>,
    nonces: BTreeMap<u8, u64>,
    budgets: BTreeMap<String, BudgetUsage>,
    revoked: BTreeSet<String>,
    stopped: [bool; 2],
    receipts: Vec<String>,
    covered: usize,
    /// What the store handed out, the capabilities it charged, and whether it is open.
    tickets: Vec<(Ticket, Vec<String>, bool)>,
}

impl Model {
    fn refusal(&self, tokens: &[(String, String)], nonce: Option<u8>, limit: u8) -> Option<Refusal> {
        if self.stopped[1] {
            return Some(Refusal::Stopped { agent: None });
        }
        if self.stopped[0] {
            return Some(Refusal::Stopped { agent: Some("agent".to_owned()) });
        }
        if let Some((id, _)) = tokens.iter().find(|(id, _)| self.revoked.contains(id)) {
            return Some(Refusal::Revoked { id: id.clone() });
        }
        let mut bound = self.bound.clone();
        for (id, text) in tokens {
            if bound.entry(id.clone()).or_insert_with(|| text.clone()) != text {
                return Some(Refusal::IdRebound { id: id.clone() });
            }
        }
        if nonce.is_some_and(|nonce| self.nonces.get(&nonce).is_some_and(|until| *until >= self.now)) {
            return Some(Refusal::Replay);
        }
        let mut spent: BTreeMap<&String, u64> = BTreeMap::new();
        for (id, _) in tokens {
            let usage = self.budgets.get(id).copied().unwrap_or_default();
            let spent = spent.entry(id).or_default();
            if usage.settled + usage.reserved + *spent >= u64::from(limit) {
                let (capability_id, limit) = (id.clone(), u64::from(limit));
                return Some(Refusal::BudgetExhausted { capability_id, grant_index: 0, limit });
            }
            *spent += 1;
        }
        None
    }

    async fn admit(&mut self, store: &SqliteStore, step: &Step) {
        let Step::Admit { capability, ancestor, version, nonce: claim, limit, intent } = step else { return };
        let mut tokens = vec![(format!("c{capability}"), format!("{{\"version\":{version}}}"))];
        tokens.extend(ancestor.map(|ancestor| (format!("c{ancestor}"), "{\"version\":0}".to_owned())));
        let mut call = admission("");
        call.now = self.now;
        call.token = token_with_text(&tokens[0].0, &tokens[0].1);
        call.ancestors = tokens[1..].iter().map(|(id, text)| token_with_text(id, text)).collect();
        call.nonce = claim.map(|claim| nonce(&claim.to_string(), self.now + 4));
        call.charges = tokens.iter().map(|(id, _)| charge(id, u64::from(*limit))).collect();
        call.intent = intent.then(String::new);
        match (store.admit(call).await.unwrap(), self.refusal(&tokens, *claim, *limit)) {
            (AdmissionOutcome::Refused(refused), expected) => assert_eq!(Some(refused), expected),
            (AdmissionOutcome::Admitted(ticket), expected) => {
                assert_eq!(expected, None);
                self.bound.extend(tokens.iter().cloned());
                self.nonces.extend(claim.map(|claim| (claim, self.now + 4)));
                for (id, _) in &tokens {
                    self.budgets.entry(id.clone()).or_default().reserved += 1;
                }
                self.tickets.push((ticket, tokens.into_iter().map(|(id, _)| id).collect(), true));
            }
        }
    }

    /// Tickets without an intent are settled as often as they are handed in, so the model hands each in once.
    async fn complete(
        &mut self,
        store: &SqliteStore,
        ticket: usize,
        receipt: u8,
        release: bool,
        intents: &[bool],
    ) {
        let Some(index) = self.tickets.len().checked_sub(1 + ticket) else { return };
        let (handed_out, charged, is_open) = &mut self.tickets[index];
        if !*is_open && !intents[index] {
            return;
        }
        let settlement = if release { Settlement::Release } else { Settlement::Charge };
        let id = format!("r{receipt}");
        let done = store
            .complete(Completion { ticket: handed_out.clone(), settlement, receipt: fixtures::receipt(&id) })
            .await;
        if self.receipts.contains(&id) {
            assert_eq!(done, Err(StoreError::DuplicateReceipt { id }));
        } else if *is_open {
            *is_open = false;
            for charged in charged {
                let usage = self.budgets.get_mut(charged).unwrap();
                usage.reserved -= 1;
                usage.settled += u64::from(!release);
            }
            self.receipts.push(id);
            let size = self.receipts.len() as u64;
            assert_eq!(done, Ok(Committed { seq: size, leaf_index: size - 1, tree_size: size }));
        } else {
            assert_eq!(done, Err(StoreError::IntentClosed));
        }
    }

    async fn agrees(&self, store: &SqliteStore) {
        let mut tree = Frontier::new();
        for id in &self.receipts {
            tree.append(leaf_hash(receipt(id).text.as_bytes()), |_, _| {}).unwrap();
        }
        assert_eq!(store.head().await.unwrap(), Head { size: tree.size(), root: tree.root() });
        for (id, usage) in &self.budgets {
            assert_eq!(store.budget(id, 0).await.unwrap(), *usage);
        }
        for (id, text) in &self.bound {
            assert_eq!(*store.token(id).await.unwrap().unwrap().text, **text);
        }
        let open = self.tickets.iter().filter(|(.., open)| *open).count() as u64;
        let report = store.fsck(trusting()).await.unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert!(report.open_intents <= open);
    }
}

async fn play(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut model = Model { now: NOW, ..Model::default() };
    let mut intents = Vec::new();
    for step in steps {
        match step {
            Step::Admit { intent, .. } => {
                model.admit(&store, step).await;
                intents.resize(model.tickets.len(), *intent);
            }
            Step::Complete { ticket, receipt, release } => {
                model.complete(&store, *ticket, *receipt, *release, &intents).await;
            }
            Step::Append { receipt: number } => {
                let id = format!("r{number}");
                let done = store.append(receipt(&id)).await;
                assert_eq!(done.is_ok(), !model.receipts.contains(&id));
                if done.is_ok() {
                    model.receipts.push(id);
                }
            }
            Step::Revoke { capability } => {
                let capability_id = format!("c{capability}");
                let fresh = model.revoked.insert(capability_id.clone());
                let revocation = Revocation { capability_id, reason: String::new(), revoked_at: model.now };
                assert_eq!(store.revoke(revocation).await.unwrap(), fresh);
            }
            Step::Stop { everything } => {
                let agent = (!everything).then(|| "agent".to_owned());
                let was = std::mem::replace(&mut model.stopped[usize::from(*everything)], true);
                assert_eq!(store.stop(agent, model.now).await.unwrap(), !was);
            }
            Step::Resume { everything } => {
                let agent = (!everything).then(|| "agent".to_owned());
                let was = std::mem::replace(&mut model.stopped[usize::from(*everything)], false);
                assert_eq!(store.resume(agent).await.unwrap(), was);
            }
            Step::Checkpoint => {
                let made = store.checkpoint(signer()).await.unwrap();
                assert_eq!(made.is_some(), model.receipts.len() > model.covered);
                model.covered = model.receipts.len();
            }
            Step::Later { seconds } => model.now += u64::from(*seconds),
            Step::Reopen => {
                drop(store);
                store = open(dir.path());
            }
        }
    }
    model.agrees(&store).await;
    drop(store);
    let store = open(dir.path());
    model.agrees(&store).await;
    let dead = store.dead_intents().await.unwrap().len();
    let open = model.tickets.iter().zip(&intents).filter(|((.., open), intent)| *open && **intent).count();
    assert_eq!(dead, open);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_as_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps));
    }
}
