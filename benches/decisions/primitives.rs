//! Canonical JSON, signatures, hashes, and opaque parameters against a plain parse.

use std::hint::black_box;

use chio::json::{Json, canonical};
use chio::spec::AgentMessage;
use criterion::{Criterion, Throughput};
use serde_json::{Value, json};

use crate::fixture::{issuer, token};

pub(crate) fn measure(criterion: &mut Criterion) {
    let rows: Vec<Value> = (0..330)
        .map(|i| json!({"path": format!("/srv/data/file-{i}.txt"), "line": i, "ratio": f64::from(i) * 0.37, "text": "The quick brown fox\njumps over \"the\" dog", "flags": [true, false, null]}))
        .collect();
    let document = json!({"rows": rows});
    let text = canonical::from_value(&document);

    let mut group = criterion.benchmark_group("canonicalise");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("limit: serde_json to_vec", |b| b.iter(|| serde_json::to_vec(black_box(&document))));
    group.bench_function("write", |b| b.iter(|| canonical::from_value(black_box(&document))));
    group.bench_function("scan", |b| b.iter(|| canonical::scan(black_box(text.as_bytes())).is_ok()));
    group.finish();

    let frame = json!({
        "type": "tool_call_request", "id": "r", "server_id": "s", "tool": "t", "params": document,
        "capability_token": serde_json::from_str::<Value>(token(false).text()).expect("a token"),
    });
    let frame = canonical::from_value(&frame);
    let mut group = criterion.benchmark_group("decode 64 KiB params");
    group.bench_function("limit: plain parse into Value", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(&frame)).expect("JSON"));
    });
    group.bench_function("typed frame", |b| {
        b.iter(|| AgentMessage::from_json(black_box(&frame)).expect("a frame"));
    });
    group.bench_function("scan and typed frame", |b| {
        b.iter(|| {
            let text = canonical::scan(black_box(frame.as_bytes())).expect("canonical");
            AgentMessage::from_json(text).expect("a frame")
        });
    });
    group.finish();

    let key = issuer();
    let message = Json::from_value(&json!({"m": "x".repeat(500)})).get().as_bytes().to_vec();
    let signature = key.sign(&message);
    let public = key.public();
    let mut group = criterion.benchmark_group("raw crypto");
    group.bench_function("sign", |b| b.iter(|| key.sign(black_box(&message))));
    group.bench_function("verify", |b| b.iter(|| public.verify(black_box(&message), &signature)));
    group.bench_function("limit: sign and verify", |b| {
        b.iter(|| {
            let signature = key.sign(black_box(&message));
            public.verify(&message, &signature)
        });
    });
    group.finish();
}
