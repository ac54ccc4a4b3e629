//! What a surface hands to the kernel, and what it gets back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chio_json::{Json, PublicKeyHex, Signed};
use chio_policy::Identity;
use chio_spec::{
    CapabilityId, CapabilityToken, Decision, DpopProof, ErrorCode, ModelMetadata, Receipt, ServerId,
    ToolCallResult,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Pauses, Target};

/// Most tokens that one caller session remembers for `list_capabilities`.
const MAX_SESSION_TOKENS: usize = 256;

/// One request to call something, as a surface decoded it.
#[derive(Debug)]
pub struct CallRequest {
    /// Identifier that the caller gave the request; only echoed and recorded.
    pub request_id: String,
    /// Name of the surface, recorded in the receipt: `native`, `mcp-stdio`, …
    pub surface: &'static str,
    /// Who calls, over the life of the connection.
    pub caller: Arc<CallerSession>,
    /// The authority that the caller presents.
    pub capability: Signed<CapabilityToken>,
    /// Parents of a delegated capability, root first, as far as the caller presented them.
    pub ancestors: Vec<Signed<CapabilityToken>>,
    /// Proof of possession of the subject's key.
    pub dpop_proof: Option<DpopProof>,
    /// Server that owns the target.
    pub server_id: ServerId,
    /// What is called.
    pub target: Target,
    /// The arguments, as they arrived.
    pub arguments: Json,
    /// Protocol metadata that travels to the tool server and is not part of the action.
    pub meta: Option<Json>,
    /// Largest result, in bytes, that the surface can carry.
    pub result_limit: usize,
    /// Where the chunks of a stream go; without it they are collected into one array.
    pub chunks: Option<mpsc::Sender<Json>>,
    /// How long the call may take.
    pub patience: Patience,
    /// The model behind the caller, as far as the caller says.
    pub model: Option<ModelMetadata>,
    /// Cancelled by the surface when the caller cancels the call or is gone.
    pub cancel: CancellationToken,
}

/// How long a call may take before it is given up.
#[derive(Clone, Debug, Default)]
pub enum Patience {
    /// As long as the policy gives tools.
    #[default]
    Call,
    /// As long as the policy gives tools, not counting its pauses, which together are no longer than what it gives tasks.
    CallBesides(Pauses),
    /// As long as the policy gives tasks.
    Task,
}

/// What became of a call. Exactly one receipt stands behind every outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The decision, as the receipt states it.
    pub decision: Decision,
    /// The result in terms of the native wire.
    pub result: ToolCallResult,
    /// The exact registry entry; none for a call that completed.
    pub error: Option<ErrorCode>,
    /// The signed receipt.
    pub receipt: Signed<Receipt>,
    /// Whether the receipt is durable in the log. It is not only when the store itself failed, and then the
    /// outcome is an internal error that says so.
    pub logged: bool,
}

/// One caller over the life of its connection or session.
///
/// The subject of the first capability that verifies binds the session: a stolen token of somebody else cannot ride
/// along. The tokens that verified are what `list_capabilities` answers, so that one token never fetches its
/// siblings.
#[derive(Debug, Default)]
pub struct CallerSession {
    /// Who the surface says it is.
    identity: Option<Arc<Identity>>,
    /// The surface's name of the session.
    session_id: Option<String>,
    subject: OnceLock<PublicKeyHex>,
    verified: Mutex<BTreeMap<CapabilityId, VerifiedEntry>>,
}

/// A token that verified on a session, with the ids whose revocation ends it.
#[derive(Clone, Debug)]
struct VerifiedEntry {
    token: Signed<CapabilityToken>,
    expires_at: u64,
    ancestors: Vec<CapabilityId>,
}

impl CallerSession {
    /// A session whose subject is not known yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A session whose subject the surface has authenticated itself.
    #[must_use]
    pub fn bound_to(subject: PublicKeyHex) -> Arc<Self> {
        let session = Self::default();
        session.bind(subject);
        Arc::new(session)
    }

    /// The session of a caller that the surface has authenticated. Receipts name both. Until
    /// [a subject is bound](Self::and_bound_to), the first capability that verifies binds the session.
    #[must_use]
    pub fn of(identity: Arc<Identity>, session_id: Option<String>) -> Self {
        Self { identity: Some(identity), session_id, ..Self::default() }
    }

    /// The same session, bound to a subject.
    #[must_use]
    pub fn and_bound_to(self, subject: PublicKeyHex) -> Self {
        self.bind(subject);
        self
    }

    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The subject that the session is bound to.
    #[must_use]
    pub fn subject(&self) -> Option<PublicKeyHex> {
        self.subject.get().copied()
    }

    /// Binds the session on first use; afterwards tells whether `subject` is the one it is bound to.
    pub(crate) fn bind(&self, subject: PublicKeyHex) -> bool {
        *self.subject.get_or_init(|| subject) == subject
    }

    pub(crate) fn remember(&self, token: &Signed<CapabilityToken>, view: &CapabilityToken) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.contains_key(&view.id) || verified.len() >= MAX_SESSION_TOKENS {
            return;
        }
        let ancestors = view.delegation_chain.iter().map(|link| link.capability_id.clone()).collect();
        let entry = VerifiedEntry { token: token.clone(), expires_at: view.expires_at, ancestors };
        verified.insert(view.id.clone(), entry);
    }

    /// The tokens that verified on this session and have not expired at `now`.
    #[must_use]
    pub fn capabilities(&self, now: u64) -> Vec<Signed<CapabilityToken>> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.values().filter(|entry| now < entry.expires_at).map(|entry| entry.token.clone()).collect()
    }

    /// Forgets the tokens that the revocation of `id` ends, and returns their ids.
    pub fn revoke(&self, id: &CapabilityId) -> Vec<CapabilityId> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let ended =
            |(key, entry): &(&CapabilityId, &VerifiedEntry)| *key == id || entry.ancestors.contains(id);
        let gone: Vec<CapabilityId> = verified.iter().filter(ended).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| {
            verified.remove(key);
        });
        gone
    }
}
