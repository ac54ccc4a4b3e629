//! The ratios, read from what was just measured.

use std::fs;
use std::path::Path;

/// A group of measurements and one function in it.
type Measured = (&'static str, &'static str);

/// What is divided by what: a name, the thing, and its limit.
const ROWS: &[(&str, Measured, Measured)] = &[
    (
        "canonical write / serde_json::to_vec",
        ("canonicalise", "write"),
        ("canonicalise", "limit: serde_json to_vec"),
    ),
    (
        "canonical scan / serde_json::to_vec",
        ("canonicalise", "scan"),
        ("canonicalise", "limit: serde_json to_vec"),
    ),
    (
        "typed frame, 64 KiB params / parse into Value",
        ("decode 64 KiB params", "typed frame"),
        ("decode 64 KiB params", "limit: plain parse into Value"),
    ),
    (
        "scan + typed frame / parse into Value",
        ("decode 64 KiB params", "scan and typed frame"),
        ("decode 64 KiB params", "limit: plain parse into Value"),
    ),
    (
        "warm decision in memory / sign + verify",
        ("decide in memory", "warm"),
        ("raw crypto", "limit: sign and verify"),
    ),
    (
        "cold decision in memory / sign + verify",
        ("decide in memory", "cold: token never seen"),
        ("raw crypto", "limit: sign and verify"),
    ),
    (
        "warm decision with DPoP / sign + verify",
        ("decide in memory", "warm with DPoP"),
        ("raw crypto", "limit: sign and verify"),
    ),
    (
        "durable decision, 1 in flight / its limit",
        ("durable, 1 in flight", "decisions"),
        ("durable, 1 in flight", "limit: sign and two synced writes"),
    ),
    (
        "durable decision, 64 in flight / its limit",
        ("durable, 64 in flight", "decisions"),
        ("durable, 64 in flight", "limit: sign and two synced writes"),
    ),
    (
        "durable decision, 1024 in flight / its limit",
        ("durable, 1024 in flight", "decisions"),
        ("durable, 1024 in flight", "limit: sign and two synced writes"),
    ),
    (
        "receipts together / one sync for each",
        ("store: group commit", "all at once"),
        ("store: group commit", "limit: one sync for each receipt"),
    ),
    (
        "heartbeat / raw round trip",
        ("round trip over TCP", "heartbeat"),
        ("round trip over TCP", "limit: raw bytes"),
    ),
];

/// Prints, for every pair that was measured, time over time of the limit, and the share of the limit's rate.
pub(crate) fn print(results: &Path) {
    println!("\n{:<48} {:>10} {:>12}", "", "time ratio", "rate share");
    for (name, thing, limit) in ROWS {
        if let (Some(thing), Some(limit)) = (median(results, thing), median(results, limit)) {
            println!("{name:<48} {:>9.2}x {:>11.0}%", thing / limit, 100.0 * limit / thing);
        }
    }
}

/// Nanoseconds per iteration, as criterion wrote them down.
fn median(results: &Path, (group, function): &Measured) -> Option<f64> {
    // Criterion replaces what file names cannot hold.
    let folder = |name: &str| name.replace(['?', '"', '/', '\\', '*', '<', '>', ':', '|', '^'], "_");
    let path = results.join(folder(group)).join(folder(function)).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    estimates.get("median")?.get("point_estimate")?.as_f64()
}
