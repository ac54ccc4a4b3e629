//! What a kernel must be able to refuse before it may serve.
//!
//! A gate that is broken and lets everything pass looks just like one that works. So before it serves, a kernel runs a
//! canary through its own pipeline, on a scratch store: a call that must be allowed, so that the rest means something;
//! then one with a tampered token, one with a revoked token, and a receipt with one changed character, all of which must
//! be refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chio_core::capability::{CapabilityTemplate, issue};
use chio_core::keys::SigningKey;
use chio_core::receipt;
use chio_json::{Json, Signed};
use chio_policy::EffectivePolicy;
use chio_spec::{
    CapabilityId, CapabilityToken, ChioScope, Decision, ErrorCode, Operation, ServerId, ToolDefinition,
    ToolGrant, ToolName,
};
use chio_store::{Revocation, Store};
use tokio_util::sync::CancellationToken;

use crate::{
    CallRequest, CallerSession, ChunkSink, Kernel, KernelError, KernelSettings, Outcome, Patience,
    StreamLimits, SystemClock, Target, ToolCall, ToolOutput, ToolServerConnection,
};

const NAME: &str = "canary";

/// Runs the canary. `scratch` is a store of its own that nobody needs afterwards; `key` is the kernel's signing key.
///
/// # Errors
/// [`KernelError::SelfTest`] says what did not behave as it must; the kernel must not serve then.
pub async fn self_test(key: Arc<SigningKey>, scratch: Arc<dyn Store>) -> Result<(), KernelError> {
    let policy =
        EffectivePolicy::safe_preset().map_err(|error| failed(&format!("the safe preset: {error}")))?;
    let issuer = SigningKey::from_seed([0xca; 32]);
    let settings = KernelSettings {
        signing_key: key,
        trusted_issuers: BTreeSet::from([issuer.public().hex()]),
        policy: Arc::new(policy),
        clock: Arc::new(SystemClock),
        stream_limits: StreamLimits::default(),
    };
    let kernel = Kernel::new(settings, Arc::clone(&scratch));
    let canary = Arc::new(Canary { id: server()?, calls: AtomicU64::new(0) });
    kernel.register(Arc::<Canary>::clone(&canary));
    let token = token(&kernel, &issuer)?;

    let allowed = kernel.call(request(token.clone())?).await;
    expect(allowed.decision == Decision::Allow, "a call that must be allowed was denied")?;
    expect(canary.calls.load(Ordering::SeqCst) == 1, "an allowed call did not reach its tool")?;

    let tampered =
        Signed::from_text(token.text().replacen("\"max_invocations\":9", "\"max_invocations\":8", 1))
            .map_err(|error| failed(&error.to_string()))?;
    expect(tampered.text() != token.text(), "the canary token has no budget to tamper with")?;
    let refused = kernel.call(request(tampered)?).await;
    expect_denied(&refused, ErrorCode::CapabilitySignatureInvalid, "a tampered token was not refused")?;

    let id = token.view().map_err(|error| failed(&error.to_string()))?.id.as_str().to_owned();
    let revocation = Revocation { capability_id: id, reason: "canary".to_owned(), revoked_at: kernel.now() };
    scratch.revoke(revocation).await?;
    let refused = kernel.call(request(token)?).await;
    expect_denied(&refused, ErrorCode::CapabilityRevoked, "a revoked token was not refused")?;
    expect(canary.calls.load(Ordering::SeqCst) == 1, "a refused call reached its tool")?;

    let text = allowed.receipt.text();
    let changed = text.replacen("\"tool_name\":\"canary\"", "\"tool_name\":\"canarx\"", 1);
    expect(receipt::verify(text).signature_valid, "a genuine receipt does not verify")?;
    expect(changed != text && !receipt::verify(&changed).signature_valid, "a tampered receipt verifies")
}

fn failed(what: &str) -> KernelError {
    KernelError::SelfTest(what.to_owned())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), KernelError> {
    if holds { Ok(()) } else { Err(failed(otherwise)) }
}

fn expect_denied(outcome: &Outcome, code: ErrorCode, otherwise: &str) -> Result<(), KernelError> {
    let denied =
        matches!(outcome.decision, Decision::Deny(_)) && outcome.error == Some(code) && outcome.logged;
    expect(denied, otherwise)
}

fn server() -> Result<ServerId, KernelError> {
    ServerId::new(NAME).map_err(|error| failed(&error.to_string()))
}

fn tool() -> Result<ToolName, KernelError> {
    ToolName::new(NAME).map_err(|error| failed(&error.to_string()))
}

fn token(kernel: &Kernel, issuer: &SigningKey) -> Result<Signed<CapabilityToken>, KernelError> {
    let grant = ToolGrant::new(vec![Operation::Invoke], server()?, tool()?).with_max_invocations(9);
    let now = kernel.now();
    let template = CapabilityTemplate {
        id: CapabilityId::new("cap-canary").map_err(|error| failed(&error.to_string()))?,
        subject: SigningKey::from_seed([0xcb; 32]).public().hex(),
        scope: ChioScope::new().with_grants(vec![grant]),
        issued_at: now,
        expires_at: now.saturating_add(60),
        delegation_chain: Vec::new(),
    };
    issue(issuer, template).map_err(|error| failed(&error.to_string()))
}

fn request(capability: Signed<CapabilityToken>) -> Result<CallRequest, KernelError> {
    Ok(CallRequest {
        request_id: NAME.to_owned(),
        surface: "self-test",
        caller: CallerSession::new(),
        capability,
        ancestors: Vec::new(),
        dpop_proof: None,
        patience: Patience::Call,
        model: None,
        server_id: server()?,
        target: Target::Tool(tool()?),
        arguments: Json::null(),
        meta: None,
        result_limit: 1024,
        chunks: None,
        cancel: CancellationToken::new(),
    })
}

/// A tool server that counts its calls.
struct Canary {
    id: ServerId,
    calls: AtomicU64,
}

#[async_trait]
impl ToolServerConnection for Canary {
    fn server_id(&self) -> &ServerId {
        &self.id
    }

    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError> {
        let schema = Json::from_value(&serde_json::json!({"type": "object"}));
        Ok(vec![ToolDefinition::new("Counts its calls.", false, schema, None, tool()?)])
    }

    async fn invoke(&self, _call: &ToolCall, _chunks: &ChunkSink) -> Result<ToolOutput, KernelError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(ToolOutput::Value(Json::null()))
    }
}
