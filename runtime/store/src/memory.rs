//! The engine that forgets: everything in memory, for scratch work.
//!
//! It keeps the whole contract but durability. The kernel's self-test runs on it, and so do measurements of everything
//! but the disk; no command ever serves from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chio_core::merkle::{Frontier, MerkleFault, NodeId, consistency_proof, inclusion_proof, leaf_hash};
use chio_json::{MerkleHash, PublicKeyHex, Sha256Hex};
use tokio::sync::broadcast;

use crate::call::{
    Admission, AdmissionOutcome, Committed, Completion, DeadIntent, NewReceipt, Refusal, Settlement, Ticket,
    Token,
};
use crate::error::StoreError;
use crate::log::{
    BudgetUsage, CheckpointInput, CheckpointSigner, CheckpointVerifier, FsckReport, Head, Inclusion, ProofAt,
    Query, Revocation, Stops, StoredCheckpoint, StoredReceipt,
};
use crate::store::Store;

/// A receiver of revocations further behind than this is told so and has to ask again.
const BROADCAST: usize = 1_024;

/// A [`Store`] in memory. Its contents end with it.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    announce: broadcast::Sender<Revocation>,
}

#[derive(Debug, Default)]
struct State {
    tokens: HashMap<String, (Sha256Hex, Arc<str>)>,
    nonces: HashMap<(PublicKeyHex, String), u64>,
    budgets: HashMap<(String, u32), BudgetUsage>,
    open_intents: HashMap<u64, String>,
    next_intent: u64,
    revoked: HashMap<String, Revocation>,
    stops: Arc<Stops>,
    receipts: Vec<NewReceipt>,
    by_id: HashMap<String, usize>,
    tree: Frontier,
    nodes: HashMap<NodeId, MerkleHash>,
    checkpoints: Vec<StoredCheckpoint>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Mutex::default(), announce: broadcast::Sender::new(BROADCAST) }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&mut self, admission: &Admission) -> Option<Refusal> {
        if self.stops.everything.is_some() {
            return Some(Refusal::Stopped { agent: None });
        }
        if let Some(agent) = admission.agents.iter().find(|agent| self.stops.agents.contains_key(*agent)) {
            return Some(Refusal::Stopped { agent: Some(agent.clone()) });
        }
        let tokens = || std::iter::once(&admission.token).chain(&admission.ancestors);
        if let Some(token) = tokens().find(|token| self.revoked.contains_key(&token.id)) {
            return Some(Refusal::Revoked { id: token.id.clone() });
        }
        let mut seen: HashMap<&str, Sha256Hex> = HashMap::new();
        for token in tokens() {
            let bound = self.tokens.get(&token.id).map(|(digest, _)| *digest);
            let bound = bound.unwrap_or_else(|| *seen.entry(&token.id).or_insert(token.digest));
            if bound != token.digest {
                return Some(Refusal::IdRebound { id: token.id.clone() });
            }
        }
        self.nonces.retain(|_, keep_until| *keep_until >= admission.now);
        if let Some(nonce) = &admission.nonce
            && self.nonces.contains_key(&(nonce.key, nonce.nonce.clone()))
        {
            return Some(Refusal::Replay);
        }
        let mut taken: HashMap<(&str, u32), u64> = HashMap::new();
        let exhausted = admission.charges.iter().find(|charge| {
            let usage = self.budget(&charge.capability_id, charge.grant_index);
            let taken = taken.entry((&charge.capability_id, charge.grant_index)).or_default();
            *taken += 1;
            usage.settled + usage.reserved + *taken > charge.limit
        })?;
        Some(Refusal::BudgetExhausted {
            capability_id: exhausted.capability_id.clone(),
            grant_index: exhausted.grant_index,
            limit: exhausted.limit,
        })
    }

    fn budget(&self, capability_id: &str, grant_index: u32) -> BudgetUsage {
        self.budgets.get(&(capability_id.to_owned(), grant_index)).copied().unwrap_or_default()
    }

    fn take(&mut self, admission: Admission) -> Ticket {
        for token in std::iter::once(admission.token).chain(admission.ancestors) {
            self.tokens.entry(token.id).or_insert((token.digest, token.text));
        }
        if let Some(nonce) = admission.nonce {
            self.nonces.insert((nonce.key, nonce.nonce), nonce.keep_until);
        }
        let charges: Vec<_> =
            admission.charges.into_iter().map(|charge| (charge.capability_id, charge.grant_index)).collect();
        for charge in &charges {
            self.budgets.entry(charge.clone()).or_default().reserved += 1;
        }
        let intent = admission.intent.map(|intent| {
            self.next_intent += 1;
            self.open_intents.insert(self.next_intent, intent);
            self.next_intent
        });
        Ticket { intent, charges }
    }

    fn append(&mut self, receipt: NewReceipt) -> Result<Committed, StoreError> {
        if self.by_id.contains_key(&receipt.id) {
            return Err(StoreError::DuplicateReceipt { id: receipt.id });
        }
        let nodes = &mut self.nodes;
        let leaf_index = self
            .tree
            .append(leaf_hash(receipt.text.as_bytes()), |node, hash| {
                nodes.insert(node, hash);
            })
            .map_err(|fault| StoreError::Invalid { field: "receipt", detail: fault.to_string() })?;
        self.by_id.insert(receipt.id.clone(), self.receipts.len());
        self.receipts.push(receipt);
        Ok(Committed { seq: leaf_index + 1, leaf_index, tree_size: leaf_index + 1 })
    }

    fn node(&self, node: NodeId) -> Result<MerkleHash, MerkleFault> {
        let NodeId { level, index } = node;
        self.nodes.get(&node).copied().ok_or(MerkleFault::MissingNode { level, index })
    }

    fn stored(&self, index: usize) -> Option<StoredReceipt> {
        let receipt = self.receipts.get(index)?;
        Some(StoredReceipt { seq: index as u64 + 1, id: receipt.id.clone(), text: receipt.text.clone() })
    }
}

fn proven<T>(proof: Result<T, MerkleFault>) -> Result<T, StoreError> {
    proof.map_err(|fault| StoreError::NoProof { detail: fault.to_string() })
}

fn matches(query: &Query, seq: u64, receipt: &NewReceipt) -> bool {
    query.outcome.is_none_or(|outcome| outcome == receipt.outcome)
        && query.tool.as_ref().is_none_or(|tool| *tool == receipt.tool)
        && query.server.as_ref().is_none_or(|server| *server == receipt.server)
        && query.capability_id.as_ref().is_none_or(|id| *id == receipt.capability_id)
        && query.since.is_none_or(|since| receipt.timestamp >= since)
        && query.after_seq.is_none_or(|after| seq > after)
}

#[async_trait]
impl Store for MemoryStore {
    async fn admit(&self, admission: Admission) -> Result<AdmissionOutcome, StoreError> {
        let mut state = self.state();
        Ok(match state.refusal(&admission) {
            Some(refusal) => AdmissionOutcome::Refused(refusal),
            None => AdmissionOutcome::Admitted(state.take(admission)),
        })
    }

    async fn complete(&self, completion: Completion) -> Result<Committed, StoreError> {
        let mut state = self.state();
        let Completion { ticket, settlement, receipt } = completion;
        if ticket.intent.is_some_and(|intent| !state.open_intents.contains_key(&intent)) {
            return Err(StoreError::IntentClosed);
        }
        let committed = state.append(receipt)?;
        if let Some(intent) = ticket.intent {
            state.open_intents.remove(&intent);
        }
        for charge in ticket.charges {
            let usage = state.budgets.entry(charge).or_default();
            usage.reserved = usage.reserved.saturating_sub(1);
            usage.settled += u64::from(settlement == Settlement::Charge);
        }
        Ok(committed)
    }

    async fn append(&self, receipt: NewReceipt) -> Result<Committed, StoreError> {
        self.state().append(receipt)
    }

    async fn dead_intents(&self) -> Result<Vec<DeadIntent>, StoreError> {
        // The store ends with its process, and every intent with it.
        Ok(Vec::new())
    }

    async fn revoke(&self, revocation: Revocation) -> Result<bool, StoreError> {
        let mut state = self.state();
        if state.revoked.contains_key(&revocation.capability_id) {
            return Ok(false);
        }
        state.revoked.insert(revocation.capability_id.clone(), revocation.clone());
        drop(state);
        // Nobody listening is fine.
        drop(self.announce.send(revocation));
        Ok(true)
    }

    fn first_revoked<'a>(&self, ids: &[&'a str]) -> Option<&'a str> {
        let state = self.state();
        ids.iter().copied().find(|id| state.revoked.contains_key(*id))
    }

    fn watch_revocations(&self) -> broadcast::Receiver<Revocation> {
        self.announce.subscribe()
    }

    async fn stop(&self, agent: Option<String>, at: u64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let mut stops = Stops::clone(&state.stops);
        let new = match agent {
            None => stops.everything.is_none(),
            Some(ref agent) => !stops.agents.contains_key(agent),
        };
        match agent {
            None => *stops.everything.get_or_insert(at),
            Some(agent) => *stops.agents.entry(agent).or_insert(at),
        };
        state.stops = Arc::new(stops);
        Ok(new)
    }

    async fn resume(&self, agent: Option<String>) -> Result<bool, StoreError> {
        let mut state = self.state();
        let mut stops = Stops::clone(&state.stops);
        let was = match agent {
            None => stops.everything.take().is_some(),
            Some(agent) => stops.agents.remove(&agent).is_some(),
        };
        state.stops = Arc::new(stops);
        Ok(was)
    }

    fn stops(&self) -> Arc<Stops> {
        Arc::clone(&self.state().stops)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let state = self.state();
        Ok(Head { size: state.tree.size(), root: state.tree.root() })
    }

    async fn receipt(&self, id: &str) -> Result<Option<StoredReceipt>, StoreError> {
        let state = self.state();
        Ok(state.by_id.get(id).and_then(|index| state.stored(*index)))
    }

    async fn receipts(&self, query: Query) -> Result<Vec<StoredReceipt>, StoreError> {
        let state = self.state();
        let mut found: Vec<_> = (0..state.receipts.len())
            .filter(|index| state.receipts.get(*index).is_some_and(|r| matches(&query, *index as u64 + 1, r)))
            .filter_map(|index| state.stored(index))
            .collect();
        let surplus = query.newest.map_or(0, |newest| found.len().saturating_sub(newest));
        found.drain(..surplus);
        Ok(found)
    }

    async fn inclusion(&self, receipt_id: &str, at: ProofAt) -> Result<Inclusion, StoreError> {
        let state = self.state();
        let Some(index) = state.by_id.get(receipt_id).copied() else {
            return Err(StoreError::UnknownReceipt { id: receipt_id.to_owned() });
        };
        let (tree_size, root) = match at {
            ProofAt::Head => (state.tree.size(), state.tree.root()),
            ProofAt::Checkpoint(seq) => {
                let checkpoint = state.checkpoints.iter().find(|checkpoint| checkpoint.seq == seq);
                let checkpoint = checkpoint.ok_or(StoreError::UnknownCheckpoint { seq })?;
                (checkpoint.tree_size, checkpoint.root)
            }
        };
        let leaf_index = index as u64;
        if leaf_index >= tree_size {
            let detail = format!("the tree of {tree_size} receipts does not hold receipt {}", leaf_index + 1);
            return Err(StoreError::NoProof { detail });
        }
        let audit_path = proven(inclusion_proof(tree_size, leaf_index, |node| state.node(node)))?;
        let leaf_hash = proven(state.node(NodeId { level: 0, index: leaf_index }))?;
        Ok(Inclusion { leaf_index, leaf_hash, tree_size, root, audit_path })
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<MerkleHash>, StoreError> {
        let state = self.state();
        if old_size == 0 || old_size > new_size || new_size > state.tree.size() {
            let detail = format!("from {old_size} to {new_size} in a log of {} receipts", state.tree.size());
            return Err(StoreError::NoProof { detail });
        }
        proven(consistency_proof(old_size, new_size, |node| state.node(node)))
    }

    async fn checkpoint(&self, sign: CheckpointSigner) -> Result<Option<StoredCheckpoint>, StoreError> {
        let mut state = self.state();
        let (tree_size, root) = (state.tree.size(), state.tree.root());
        let previous = state.checkpoints.last();
        let covered = previous.map_or(0, |checkpoint| checkpoint.tree_size);
        if tree_size <= covered {
            return Ok(None);
        }
        let seq = previous.map_or(1, |checkpoint| checkpoint.seq + 1);
        let input = CheckpointInput {
            seq,
            batch_start_seq: covered + 1,
            batch_end_seq: tree_size,
            tree_size,
            root,
            previous: previous.map(|checkpoint| Arc::clone(&checkpoint.text)),
        };
        let text = sign(input).map_err(|reason| StoreError::Signer { reason })?;
        let checkpoint = StoredCheckpoint { seq, tree_size, root, text: Arc::from(text) };
        state.checkpoints.push(checkpoint.clone());
        Ok(Some(checkpoint))
    }

    async fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreError> {
        Ok(self.state().checkpoints.clone())
    }

    async fn latest_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        Ok(self.state().checkpoints.last().cloned())
    }

    async fn token(&self, capability_id: &str) -> Result<Option<Token>, StoreError> {
        let state = self.state();
        Ok(state.tokens.get(capability_id).map(|(digest, text)| Token {
            id: capability_id.to_owned(),
            digest: *digest,
            text: Arc::clone(text),
        }))
    }

    async fn budget(&self, capability_id: &str, grant_index: u32) -> Result<BudgetUsage, StoreError> {
        Ok(self.state().budget(capability_id, grant_index))
    }

    async fn fsck(&self, verify: CheckpointVerifier) -> Result<FsckReport, StoreError> {
        let state = self.state();
        let mut tree = Frontier::new();
        let mut problems = Vec::new();
        for receipt in &state.receipts {
            if let Err(fault) = tree.append(leaf_hash(receipt.text.as_bytes()), |_, _| {}) {
                problems.push(fault.to_string());
            }
        }
        if tree.root() != state.tree.root() {
            problems.push("the receipts do not lead to the root of the log".to_owned());
        }
        let previous = std::iter::once(None).chain(state.checkpoints.iter().map(Some));
        for (checkpoint, previous) in state.checkpoints.iter().zip(previous) {
            let problem = verify(checkpoint, previous).err();
            problems.extend(problem.map(|problem| format!("checkpoint {}: {problem}", checkpoint.seq)));
        }
        Ok(FsckReport {
            receipts: state.receipts.len() as u64,
            nodes: state.nodes.len() as u64,
            checkpoints: state.checkpoints.len() as u64,
            open_intents: state.open_intents.len() as u64,
            revocations: state.revoked.len() as u64,
            root: Some(tree.root()),
            problems,
        })
    }
}
