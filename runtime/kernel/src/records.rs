//! What a call leaves behind: the intent before it runs, the signed receipt after it ended.

use std::sync::{Arc, OnceLock};

use chio_core::capability::VerifiedToken;
use chio_core::hash::sha256;
use chio_core::receipt::{ReceiptDraft, action};
use chio_json::{Json, JsonError, Sha256Hex, Signed};
use chio_policy::Identity;
use chio_spec::{
    CapabilityId, CapabilityToken, Decision, ErrorCode, ModelMetadata, ProvenanceClass, Receipt,
    ReceiptAction, ReceiptAttribution, ReceiptCaller, ReceiptError, ReceiptId, ReceiptMetadata,
    ReceiptModelMetadata, ReceiptRequest, ServerId, ToolName,
};
use chio_store::{NewReceipt, Token};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::trail::{Denial, Progress, bounded, step};
use crate::verdict::Verdict;
use crate::{CallRequest, Kernel, KernelError, UngovernedRequest};

/// What receipts name where the token, or an intent, could not even be read.
const UNREADABLE: &str = "unreadable";

/// What is known about a call from the first moment on.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) receipt_id: String,
    pub(crate) timestamp: u64,
    pub(crate) request_id: String,
    pub(crate) surface: &'static str,
    pub(crate) server: ServerId,
    pub(crate) tool: ToolName,
    session_id: Option<String>,
    caller: Option<Arc<Identity>>,
    model: Option<ReceiptModelMetadata>,
    arguments: Json,
    /// The action as intent and receipt state it, made once.
    action: OnceLock<ReceiptAction>,
}

impl Facts {
    pub(crate) fn of_call(request: &CallRequest, timestamp: u64) -> Self {
        Self {
            receipt_id: new_receipt_id(),
            timestamp,
            request_id: bounded(request.request_id.clone()),
            surface: request.surface,
            server: request.server_id.clone(),
            tool: request.target.tool_name().clone(),
            session_id: request.caller.session_id().map(str::to_owned),
            caller: request.caller.identity().cloned(),
            model: request.model.as_ref().map(asserted),
            arguments: request.arguments.clone(),
            action: OnceLock::new(),
        }
    }

    pub(crate) fn of_ungoverned(request: UngovernedRequest, timestamp: u64) -> Self {
        Self {
            receipt_id: new_receipt_id(),
            timestamp,
            request_id: bounded(request.request_id),
            surface: request.surface,
            server: request.server_id,
            tool: request.method,
            session_id: request.caller.as_ref().and_then(|caller| caller.session_id().map(str::to_owned)),
            caller: request.caller.as_ref().and_then(|caller| caller.identity().cloned()),
            model: None,
            arguments: request.params,
            action: OnceLock::new(),
        }
    }

    /// The same call, of which only a digest of the arguments is kept: callers who proved nothing never get their
    /// arguments into the log.
    pub(crate) fn of_stranger(self) -> Self {
        let action = recorded_action(&self.arguments, 0).map_or_else(|_| OnceLock::new(), OnceLock::from);
        Self { arguments: Json::null(), action, ..self }
    }

    /// The same call under another receipt.
    pub(crate) fn renamed(&self) -> Self {
        Self {
            receipt_id: new_receipt_id(),
            request_id: self.request_id.clone(),
            server: self.server.clone(),
            tool: self.tool.clone(),
            session_id: self.session_id.clone(),
            caller: self.caller.clone(),
            model: self.model.clone(),
            arguments: self.arguments.clone(),
            action: self.action.clone(),
            ..*self
        }
    }

    fn action(&self, limit: usize) -> Result<ReceiptAction, KernelError> {
        if let Some(action) = self.action.get() {
            return Ok(action.clone());
        }
        let action = recorded_action(&self.arguments, limit)?;
        Ok(self.action.get_or_init(|| action).clone())
    }

    fn request(&self) -> ReceiptRequest {
        let request = ReceiptRequest::new(self.request_id.clone(), self.surface);
        match &self.session_id {
            Some(session) => request.with_session_id(session.clone()),
            None => request,
        }
    }
}

fn new_receipt_id() -> String {
    format!("rcpt-{}", Uuid::now_v7())
}

/// An admitted call as its intent keeps it: all that the receipt needs should this kernel end before the call does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) receipt_id: ReceiptId,
    pub(crate) capability_id: CapabilityId,
    pub(crate) server: ServerId,
    pub(crate) tool: ToolName,
    pub(crate) action: ReceiptAction,
    pub(crate) policy_hash: Sha256Hex,
    pub(crate) attribution: Option<ReceiptAttribution>,
    pub(crate) request: ReceiptRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<ReceiptCaller>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ReceiptModelMetadata>,
}

impl Intent {
    /// What stands in for an intent that cannot be read: a digest of its text, and names that say so.
    pub(crate) fn unreadable(context: &str, policy_hash: Sha256Hex) -> Result<Self, KernelError> {
        fn name<T, E: std::fmt::Display>(name: Result<T, E>) -> Result<T, KernelError> {
            name.map_err(|error| KernelError::Receipt(error.to_string()))
        }
        Ok(Self {
            receipt_id: receipt_id(&new_receipt_id())?,
            capability_id: name(CapabilityId::new(UNREADABLE))?,
            server: name(ServerId::new(UNREADABLE))?,
            tool: name(ToolName::new(UNREADABLE))?,
            action: recorded_action(&Json::from_value(&context.into()), 0)?,
            policy_hash,
            attribution: None,
            request: ReceiptRequest::new(UNREADABLE, "recovery"),
            caller: None,
            model: None,
        })
    }
}

pub(crate) fn intent(
    kernel: &Kernel,
    facts: &Facts,
    token: &CapabilityToken,
    grant_index: u32,
) -> Result<String, Denial> {
    let build = || -> Result<String, KernelError> {
        let intent = Intent {
            receipt_id: receipt_id(&facts.receipt_id)?,
            capability_id: token.id.clone(),
            server: facts.server.clone(),
            tool: facts.tool.clone(),
            action: facts.action(kernel.policy().receipt_parameter_limit())?,
            policy_hash: kernel.policy().hash(),
            attribution: Some(attribution(token).with_grant_index(grant_index)),
            request: facts.request(),
            caller: facts.caller.as_deref().map(caller),
            model: facts.model.clone(),
        };
        serde_json::to_string(&intent).map_err(|error| KernelError::Receipt(error.to_string()))
    };
    build().map_err(|error| {
        Denial::new(ErrorCode::InternalError, step::ADMISSION, "the call could not be recorded")
            .with_details(error.to_string())
    })
}

/// The token as the store keeps it. Its identity is the hash of what was signed: other white space is no other token.
pub(crate) fn stored_token(token: &VerifiedToken) -> Token {
    Token {
        id: token.token().id.as_str().to_owned(),
        digest: *token.body_hash(),
        text: token.signed().text().into(),
    }
}

pub(crate) fn attribution(token: &CapabilityToken) -> ReceiptAttribution {
    // A chain that fits in a message has fewer than 2^32 links.
    let depth = u32::try_from(token.delegation_chain.len()).unwrap_or(u32::MAX);
    ReceiptAttribution::new(depth, token.issuer, token.subject)
}

fn caller(identity: &Identity) -> ReceiptCaller {
    let mut caller = ReceiptCaller::new(identity.method, bounded(identity.principal.clone()));
    let bounded = |text: &String| bounded(text.clone());
    caller.issuer = identity.issuer.as_ref().map(bounded);
    caller.subject = identity.subject.as_ref().map(bounded);
    caller.client_id = identity.client_id.as_ref().map(bounded);
    caller
}

/// Whatever a caller says about the provenance of its own statement, nobody but the caller stands behind it (seed,
/// "Model Metadata Admission").
fn asserted(model: &ModelMetadata) -> ReceiptModelMetadata {
    let mut asserted = ReceiptModelMetadata::new(model.model_id.clone(), ProvenanceClass::Asserted);
    asserted.provider.clone_from(&model.provider);
    asserted.safety_tier = model.safety_tier;
    asserted
}

/// Arguments that cannot be canonicalised are recorded by the digest of their bytes.
fn recorded_action(arguments: &Json, limit: usize) -> Result<ReceiptAction, KernelError> {
    action(arguments, limit)
        .or_else(|_| {
            let raw = arguments.get().as_bytes();
            let digest = json!({"chio_digest": {"bytes": raw.len(), "sha256": sha256(raw).to_string()}});
            action(&Json::from_value(&digest), usize::MAX)
        })
        .map_err(unsigned)
}

fn receipt_id(id: &str) -> Result<ReceiptId, KernelError> {
    ReceiptId::new(id).map_err(|error| KernelError::Receipt(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn unsigned(error: JsonError) -> KernelError {
    KernelError::Receipt(error.to_string())
}

impl Kernel {
    /// The signed receipt of a finished call.
    pub(crate) fn sign(
        &self,
        facts: &Facts,
        progress: &Progress,
        verdict: &Verdict,
    ) -> Result<Signed<Receipt>, KernelError> {
        let mut metadata = ReceiptMetadata::new().with_request(facts.request());
        if let Some(identity) = &facts.caller {
            metadata = metadata.with_caller(caller(identity));
        }
        if let Some(model) = &facts.model {
            metadata = metadata.with_model_metadata(model.clone());
        }
        if let Some((_, attribution)) = &progress.token {
            metadata = metadata.with_attribution(attribution.clone());
        }
        if let Some(denial) = &verdict.denial {
            metadata = metadata.with_error(ReceiptError::new(denial.code.number(), denial.code.name()));
            if let Some(rule) = &denial.rule {
                metadata = metadata.with_rule((**rule).clone());
            }
        }
        if let Some(stream) = &verdict.stream {
            metadata = metadata.with_stream(stream.clone());
        }
        let draft = ReceiptDraft {
            id: receipt_id(&facts.receipt_id)?,
            timestamp: facts.timestamp,
            capability_id: CapabilityId::new(capability_id(progress))
                .map_err(|error| KernelError::Receipt(error.to_string()))?,
            tool_server: facts.server.clone(),
            tool_name: facts.tool.clone(),
            action: facts.action(self.policy().receipt_parameter_limit())?,
            decision: verdict.decision.clone(),
            content_hash: verdict.content_hash,
            policy_hash: self.policy().hash(),
            evidence: progress.trail.evidence().to_vec(),
            metadata,
        };
        draft.sign(&self.settings.signing_key).map_err(unsigned)
    }
}

/// A signed receipt as the store takes it.
pub(crate) fn new_receipt(
    facts: &Facts,
    progress: &Progress,
    decision: &Decision,
    receipt: &Signed<Receipt>,
) -> NewReceipt {
    NewReceipt {
        id: facts.receipt_id.clone(),
        timestamp: facts.timestamp,
        outcome: outcome(decision),
        capability_id: capability_id(progress).to_owned(),
        server: facts.server.as_str().to_owned(),
        tool: facts.tool.as_str().to_owned(),
        text: receipt.text().to_owned(),
    }
}

fn capability_id(progress: &Progress) -> &str {
    progress.token.as_ref().map_or(UNREADABLE, |(id, _)| id.as_str())
}

pub(crate) fn outcome(decision: &Decision) -> chio_store::Outcome {
    match decision {
        Decision::Allow => chio_store::Outcome::Allow,
        Decision::Deny(_) => chio_store::Outcome::Deny,
        Decision::Cancelled(_) => chio_store::Outcome::Cancelled,
        Decision::Incomplete(_) => chio_store::Outcome::Incomplete,
    }
}

/// What stands in for a receipt that could not be signed: a JSON `null`, which verifies nowhere.
pub(crate) fn no_receipt() -> Signed<Receipt> {
    Signed::from(Json::null())
}
