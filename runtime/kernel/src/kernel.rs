//! The kernel as its owner sees it: what it is made of, and the ways into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chio_core::keys::SigningKey;
use chio_json::PublicKeyHex;
use chio_policy::EffectivePolicy;
use chio_spec::ServerId;
use chio_store::{Completion, Revocation, Store};
use tokio::sync::{Semaphore, broadcast};

use crate::checkpoints::Pending;
use crate::pace::Pace;
use crate::tokens::TokenCache;
use crate::{CallRequest, Clock, Outcome, StreamLimits, ToolServerConnection};

/// Most calls that are decided or recorded at once; further ones wait. Below the store's queue, so that a call that was
/// let in never finds the store busy through its own kernel. Calls whose tools run are not counted: surfaces bound how
/// many a caller may have.
const IN_FLIGHT: usize = 2048;

/// Receipts per second that callers who proved nothing may cause, and how many at once.
const UNAUTHENTICATED: (u32, u32) = (100, 500);

/// What a kernel is made of.
pub struct KernelSettings {
    /// Signs receipts and checkpoints.
    pub signing_key: Arc<SigningKey>,
    /// Keys whose root capabilities are trusted.
    pub trusted_issuers: BTreeSet<PublicKeyHex>,
    /// The policy in force.
    pub policy: Arc<EffectivePolicy>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Bounds of a stream.
    pub stream_limits: StreamLimits,
}

/// Stands between agents and tools: decides every call, runs the allowed ones, and signs a receipt for each.
///
/// The order of decision is fixed: emergency stop, structure, signature and issuer, validity, revocation, delegation,
/// subject, scope and constraints, proof of possession, tool, guards, and then, in one durable batch, stop and
/// revocation once more, nonce, budget and intent. The first failure wins. Everything that is not a clear yes is a no.
pub struct Kernel {
    pub(crate) settings: KernelSettings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tokens: TokenCache,
    pub(crate) in_flight: Semaphore,
    pub(crate) unauthenticated: Pace,
    pub(crate) checkpoints: Pending,
    pub(crate) trusted_issuers: Vec<PublicKeyHex>,
    /// Calls that ended and whose completion failed; see [`Kernel::finish_unfinished`].
    pub(crate) unfinished: Mutex<Vec<Completion>>,
    /// The latest time that a call was decided at.
    pub(crate) latest: AtomicU64,
    servers: RwLock<BTreeMap<ServerId, Arc<dyn ToolServerConnection>>>,
}

impl Kernel {
    /// A kernel over `store`, with no tool servers yet.
    #[must_use]
    pub fn new(settings: KernelSettings, store: Arc<dyn Store>) -> Arc<Self> {
        let (per_second, burst) = UNAUTHENTICATED;
        Arc::new(Self {
            trusted_issuers: settings.trusted_issuers.iter().copied().collect(),
            unfinished: Mutex::default(),
            latest: AtomicU64::new(0),
            settings,
            store,
            tokens: TokenCache::default(),
            in_flight: Semaphore::new(IN_FLIGHT),
            unauthenticated: Pace::new(per_second, burst),
            checkpoints: Pending::default(),
            servers: RwLock::default(),
        })
    }

    /// Decides `request`, runs it if it is allowed, and returns what became of it with its receipt.
    ///
    /// Dropping the future cancels the call; its receipt is written all the same.
    pub async fn call(self: &Arc<Self>, request: CallRequest) -> Outcome {
        let cancel_if_dropped = request.cancel.clone().drop_guard();
        let deciding = tokio::spawn(Arc::clone(self).run(request));
        match deciding.await {
            Ok(outcome) => {
                cancel_if_dropped.disarm();
                outcome
            }
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            // The runtime is shutting down and polls nothing any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Adds a tool server, or replaces the one of the same identifier.
    pub fn register(&self, server: Arc<dyn ToolServerConnection>) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        servers.insert(server.server_id().clone(), server);
    }

    /// The tool server of that identifier.
    #[must_use]
    pub fn server(&self, id: &ServerId) -> Option<Arc<dyn ToolServerConnection>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Arc<EffectivePolicy> {
        &self.settings.policy
    }

    /// The store behind the kernel.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The kernel's time, in Unix seconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.settings.clock.now()
    }

    /// The key that receipts and checkpoints are signed with.
    #[must_use]
    pub fn public_key(&self) -> PublicKeyHex {
        self.settings.signing_key.public().hex()
    }

    /// Every revocation from now on, by whichever process, for pushing to connected holders.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.store.watch_revocations()
    }
}
