//! Public test vectors. They are not part of this repository: `CHIO_TEST_DATA` names the folder that holds
//! them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use serde_json::Value;

/// The text of a vector file, or `None` where no data is present. Under `CI` absent data is a failure.
pub fn text(path: &str) -> Option<String> {
    let file = folder().join(path);
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!("test data {} is missing: {error}", file.display())
        }
        Err(_) => {
            eprintln!("SKIPPED: test data {} is missing; set CHIO_TEST_DATA to its folder", file.display());
            None
        }
    }
}

/// A vector file in JSON.
pub fn json(path: &str) -> Option<Value> {
    text(path).map(|text| serde_json::from_str(&text).expect("vector files are JSON"))
}

/// Every file below a folder whose name ends in `.json`, sorted.
pub fn json_files(path: &str) -> Option<Vec<(PathBuf, Value)>> {
    let root = folder().join(path);
    if !root.is_dir() {
        text(path)?;
    }
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                found.push((path, serde_json::from_str(&text).expect("vector files are JSON")));
            }
        }
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Some(found)
}

/// The bytes of hexadecimal text.
pub fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal text"))
        .collect()
}

fn folder() -> PathBuf {
    std::env::var_os("CHIO_TEST_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    )
}
