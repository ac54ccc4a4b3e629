//! One decision on one thread, with everything but the disk: the store is in memory.

use std::sync::Arc;

use chio::core::dpop::{DpopClaims, make};
use chio::core::hash::hash_json;
use chio::spec::{Decision, DpopNonce};
use chio::store::MemoryStore;
use criterion::{BatchSize, Criterion};
use tokio::runtime::Builder;

use crate::fixture::{agent, arguments, kernel, now, request, server, token, tool};

pub(crate) fn measure(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let call = |kernel: &Arc<_>, request| {
        let outcome = runtime.block_on(chio::kernel::Kernel::call(kernel, request));
        assert_eq!(outcome.decision, Decision::Allow);
    };
    let mut group = criterion.benchmark_group("decide in memory");

    let warm = kernel(Arc::new(MemoryStore::new()));
    let known = token(false);
    group.bench_function("warm", |b| {
        b.iter_batched(
            || request(known.clone(), None),
            |request| call(&warm, request),
            BatchSize::LargeInput,
        );
    });

    let cold = kernel(Arc::new(MemoryStore::new()));
    group.bench_function("cold: token never seen", |b| {
        b.iter_batched(|| request(token(false), None), |request| call(&cold, request), BatchSize::LargeInput);
    });

    let proven = kernel(Arc::new(MemoryStore::new()));
    let bound = token(true);
    let holder = agent();
    let action_hash = hash_json(&arguments()).expect("JSON");
    let mut nonce = 0_u64;
    group.bench_function("warm with DPoP", |b| {
        b.iter_batched(
            || {
                nonce += 1;
                let claims = DpopClaims {
                    capability_id: bound.view().expect("a token").id.clone(),
                    tool_server: server(),
                    tool_name: tool(),
                    action_hash,
                    nonce: DpopNonce::new(format!("n{nonce}")).expect("a nonce"),
                    issued_at: now(),
                };
                request(bound.clone(), Some(make(&holder, claims).expect("a proof")))
            },
            |request| call(&proven, request),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
