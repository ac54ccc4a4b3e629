//! What opaque parameters cost: a frame with 64 KiB of them against a plain parse of the same bytes.
//!
//! The promise is that keeping `params` as text makes reading a frame cheaper than parsing it into a `Value`, although
//! its tag is looked for first. The last line of the run states the ratio, measured in the same process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use chio_json::{Json, Signed, canonical};
use chio_spec::{AgentMessage, RequestId, ServerId, ToolCallRequest, ToolName};
use criterion::Criterion;
use serde_json::{Value, json};

fn main() {
    let frame = frame(64 * 1024);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("frame with 64 KiB of params");
    group.bench_function("parse into Value", |b| b.iter(|| parse(black_box(&frame))));
    group.bench_function("AgentMessage::from_json", |b| b.iter(|| read(black_box(&frame))));
    group.bench_function("canonical scan and from_json", |b| b.iter(|| scan_and_read(black_box(&frame))));
    let message = read(&frame);
    group.bench_function("serialize AgentMessage", |b| {
        b.iter(|| serde_json::to_string(black_box(&message)).unwrap());
    });
    group.finish();
    criterion.final_summary();

    let plain = best(|| drop(black_box(parse(&frame))));
    let ours = best(|| drop(black_box(read(&frame))));
    let scanned = best(|| drop(black_box(scan_and_read(&frame))));
    println!(
        "reading costs {:.2} of a plain parse, {:.2} with the canonical scan",
        ours.as_secs_f64() / plain.as_secs_f64(),
        scanned.as_secs_f64() / plain.as_secs_f64()
    );
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn read(text: &str) -> AgentMessage {
    AgentMessage::from_json(text).unwrap()
}

fn scan_and_read(text: &str) -> AgentMessage {
    read(canonical::scan(text.as_bytes()).unwrap())
}

/// The shortest of many runs, which load on the machine disturbs least.
fn best(mut run: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..400).map(once).min().unwrap_or_default()
}

/// A request whose parameters are many small members, which is what a parser works hardest at.
fn frame(size: usize) -> String {
    let mut edits = Vec::new();
    let mut params = String::new();
    while params.len() < size {
        let line = edits.len();
        edits.push(
            json!({"line": line, "old": "let a = 1;", "new": "let a = \"one\";\n", "force": line % 2 == 0}),
        );
        params = canonical::from_value(&json!({"path": "/srv/data/notes.txt", "edits": edits}));
    }
    let request = ToolCallRequest::new(
        Signed::from_text("{}".to_owned()).unwrap(),
        RequestId::new("req-1").unwrap(),
        Json::from_text(params).unwrap(),
        ServerId::new("files").unwrap(),
        ToolName::new("edit_file").unwrap(),
    );
    serde_json::to_string(&AgentMessage::ToolCallRequest(Box::new(request))).unwrap()
}
