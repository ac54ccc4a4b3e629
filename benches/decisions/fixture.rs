//! A kernel with an echo tool, tokens for it, and a way to keep many calls in flight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chio::core::capability::{CapabilityTemplate, issue};
use chio::core::keys::SigningKey;
use chio::json::{Json, Signed};
use chio::kernel::{
    CallRequest, CallerSession, ChunkSink, Kernel, KernelError, KernelSettings, Patience, StreamLimits,
    SystemClock, Target, ToolCall, ToolOutput, ToolServerConnection,
};
use chio::policy::EffectivePolicy;
use chio::spec::{
    CapabilityId, CapabilityToken, ChioScope, Decision, DpopProof, Operation, ServerId, ToolDefinition,
    ToolGrant, ToolName,
};
use chio::store::Store;
use serde_json::json;
use tokio_util::sync::CancellationToken;

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn issuer() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

pub(crate) fn agent() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

/// A kernel without guards, over `store`.
pub(crate) fn kernel(store: Arc<dyn Store>) -> Arc<Kernel> {
    let settings = KernelSettings {
        signing_key: Arc::new(SigningKey::from_seed([9; 32])),
        trusted_issuers: BTreeSet::from([issuer().public().hex()]),
        policy: Arc::new(EffectivePolicy::parse("{}", "none").expect("an empty policy")),
        clock: Arc::new(SystemClock),
        stream_limits: StreamLimits::default(),
    };
    let kernel = Kernel::new(settings, store);
    kernel.register(Arc::new(Echo(server())));
    kernel
}

pub(crate) fn server() -> ServerId {
    ServerId::new("bench").expect("a name")
}

pub(crate) fn tool() -> ToolName {
    ToolName::new("echo").expect("a name")
}

/// A fresh token that no cache has seen.
pub(crate) fn token(dpop: bool) -> Signed<CapabilityToken> {
    let grant = ToolGrant::new(vec![Operation::Invoke], server(), tool());
    let grant = if dpop { grant.with_dpop_required(true) } else { grant };
    let number = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
    let now = now();
    let template = CapabilityTemplate {
        id: CapabilityId::new(format!("cap-{number}")).expect("a name"),
        subject: agent().public().hex(),
        scope: ChioScope::new().with_grants(vec![grant]),
        issued_at: now - 10,
        expires_at: now + 10_000,
        delegation_chain: Vec::new(),
    };
    issue(&issuer(), template).expect("a token")
}

pub(crate) fn now() -> u64 {
    use chio::kernel::Clock;
    SystemClock.now()
}

/// About half a kilobyte of arguments.
pub(crate) fn arguments() -> Json {
    Json::from_value(&json!({"path": "/srv/data/report.txt", "text": "x".repeat(400), "line": 17}))
}

pub(crate) fn request(capability: Signed<CapabilityToken>, dpop_proof: Option<DpopProof>) -> CallRequest {
    CallRequest {
        request_id: "bench".to_owned(),
        surface: "bench",
        caller: CallerSession::new(),
        capability,
        ancestors: Vec::new(),
        dpop_proof,
        patience: Patience::Call,
        model: None,
        server_id: server(),
        target: Target::Tool(tool()),
        arguments: arguments(),
        meta: None,
        result_limit: 1 << 20,
        chunks: None,
        cancel: CancellationToken::new(),
    }
}

/// Makes `calls` calls with `in_flight` of them at a time; every one must be allowed.
pub(crate) async fn calls(kernel: &Arc<Kernel>, token: &Signed<CapabilityToken>, calls: u64, in_flight: u64) {
    let left = Arc::new(AtomicU64::new(calls));
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (kernel, token, left) = (Arc::clone(kernel), token.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let outcome = kernel.call(request(token.clone(), None)).await;
                    assert_eq!(outcome.decision, Decision::Allow);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("a worker");
    }
}

struct Echo(ServerId);

#[async_trait]
impl ToolServerConnection for Echo {
    fn server_id(&self) -> &ServerId {
        &self.0
    }

    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError> {
        Ok(Vec::new())
    }

    async fn knows(&self, _target: &Target, _meta: Option<&Json>) -> Result<bool, KernelError> {
        Ok(true)
    }

    async fn invoke(&self, call: &ToolCall, _chunks: &ChunkSink) -> Result<ToolOutput, KernelError> {
        Ok(ToolOutput::Value(call.arguments.clone()))
    }
}
