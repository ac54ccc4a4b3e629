//! What this crate promises to the crates above it: it is pure, and each of its errors has a place in the
//! registry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod fixture;

use std::path::Path;

use chio_core::CoreError;
use chio_core::capability::{admit, attenuate, subset};
use chio_core::keys::PublicKey;
use chio_json::Json;
use chio_spec::{ChioScope, ErrorCode};
use fixture::*;

/// No file, network, clock, randomness, environment, thread or waiting anywhere in the sources: what makes
/// the crate compile for WebAssembly and every test of it repeatable.
#[test]
fn the_sources_are_pure() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::io",
        "std::time",
        "SystemTime",
        "Instant::",
        "getrandom",
        "rand::",
        "OsRng",
        "async fn",
        ".await",
        "println!",
        "static mut",
        "thread_local!",
    ];
    let mut files = 0;
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in forbidden {
                assert!(!text.contains(word), "{} holds {word}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 20);
}

#[test]
fn every_error_has_a_registry_entry_and_a_reason_apart_from_its_text() {
    let scope = tools(vec![delegable("files", "read")]);
    let stranger = verified(&root(scope.clone()));
    let errors: [(CoreError, ErrorCode); 5] = [
        (
            Json::from_text(r#"{"a":1,"a":2}"#.to_owned()).unwrap().to_value().unwrap_err().into(),
            ErrorCode::InvalidRequestShape,
        ),
        (PublicKey::parse("x").unwrap_err().into(), ErrorCode::InvalidParams),
        (admit(&stranger, &[], &[], 5).unwrap_err().into(), ErrorCode::CapabilityIssuerUntrusted),
        (subset(&scope, &ChioScope::new()).unwrap_err().into(), ErrorCode::DelegationInvalid),
        (
            attenuate(&holder(3), &root(scope), request(1, ChioScope::new())).unwrap_err().into(),
            ErrorCode::SubjectMismatch,
        ),
    ];
    for (error, code) in errors {
        assert_eq!(error.code(), code);
        assert!(!error.reason().is_empty());
        assert_ne!(error.reason(), error.to_string(), "the caller is told less than the operator");
    }
}

/// The caller learns that something is refused, not the keys and names behind it.
#[test]
fn reasons_do_not_repeat_keys() {
    let scope = tools(vec![delegable("files", "read")]);
    let fault = admit(&verified(&root(scope)), &[], &[], 5).unwrap_err();
    assert!(fault.to_string().contains(&hex(&authority()).to_string()));
    assert!(!fault.reason().contains(&hex(&authority()).to_string()));
}
