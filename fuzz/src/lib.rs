//! What must hold for any bytes at all, one function for each reader.
//!
//! The functions panic when a law is broken. They are called by the fuzz targets, which need a nightly compiler, and by
//! `tests/fuzz_twins`, which does not. Nobody but the makers of the golden vectors holds their keys, so the strongest law
//! for signed objects is simple: whatever verifies must be, byte for byte of what was signed, one of the vectors.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use chio_core::capability::{VerifiedToken, verify_chain};
use chio_core::hash::sha256;
use chio_core::receipt::{SignerTrust, trust, verify};
use chio_json::{Json, Sha256Hex, Signed, canonical, strict};
use chio_native::frame::{Message, PREFIX_BYTES, decode_frame, encode};
use chio_spec::{AgentMessage, CapabilityToken, KernelMessage, Receipt};
use serde_json::Value;

/// A frame that is read is one text of one message: written again it gives the same bytes.
pub fn frame(bytes: &[u8]) {
    message::<AgentMessage>(bytes);
    message::<KernelMessage>(bytes);
}

fn message<M: Message + Debug>(bytes: &[u8]) {
    match decode_frame::<M>(bytes) {
        Ok(Some((message, taken))) => {
            assert_eq!(encode(&message).expect("what was read can be written"), bytes[..taken]);
            // What follows a frame has no influence on it.
            assert!(matches!(decode_frame::<M>(&bytes[..taken]), Ok(Some((_, again))) if again == taken));
        }
        Ok(None) => {
            let announced = bytes.first_chunk().map_or(0, |prefix| u32::from_be_bytes(*prefix) as usize);
            assert!(bytes.len() < PREFIX_BYTES + announced.max(1), "a whole frame was left unread");
        }
        Err(error) => drop(error.to_string()),
    }
}

/// The scan accepts exactly the texts that the writer would leave as they are, and the strict reader reads all of them.
pub fn canonical(bytes: &[u8]) {
    let scanned = canonical::scan(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(scanned.is_err(), "text that is not UTF-8 was scanned");
        return;
    };
    let written = match strict::parse(text) {
        Ok(value) => canonical::from_value(&value),
        Err(error) => {
            assert!(scanned.is_err(), "scanned, but not read: {error}");
            return;
        }
    };
    assert_eq!(scanned.is_ok(), written == text, "the scan and the writer disagree");
    assert_eq!(
        canonical::scan(written.as_bytes()),
        Ok(written.as_str()),
        "what was written is not canonical"
    );
    assert_eq!(
        canonical::from_text(&written).as_deref(),
        Ok(written.as_str()),
        "canonical text has two forms"
    );
    let lenient: Value =
        serde_json::from_str(text).expect("strict reading accepts a part of what serde_json does");
    assert_eq!(canonical::from_value(&lenient), written, "strict reading changes a value");
    let opaque = Json::from_text(text.to_owned()).expect("a value is kept");
    assert_eq!(opaque.canonical().expect("a value that is read has a canonical text"), written);
    // The signed bytes of canonical text are cut out of it, those of any other text are written anew.
    for text in [text, &written] {
        let signed = Signed::<Value>::from_text(text.to_owned()).expect("a value is kept");
        let mut rest = lenient.clone();
        match rest.as_object_mut() {
            Some(members) => {
                members.retain(|name, _| name != "signature" && name != "algorithm");
                assert_eq!(
                    signed.signing_input(),
                    Ok(canonical::from_value(&rest)),
                    "other bytes are signed"
                );
            }
            None => assert!(signed.signing_input().is_err(), "only objects are signed"),
        }
    }
}

/// No token verifies that was not signed by who it names.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let report = verify_chain(text, 1_700_000_600, Some(5));
    assert_eq!(report.valid(), report.reasons.is_empty(), "the verdict and its reasons disagree");
    let Ok(signed) = Signed::<CapabilityToken>::from_text(text.to_owned()) else {
        assert!(!report.signature_valid);
        return;
    };
    if report.signature_valid {
        let input = signed.signing_input().expect("what verifies has signed bytes");
        assert!(SIGNED.contains(&sha256(input.as_bytes())), "a forged token verifies: {text}");
    }
    if let Ok(verified) = VerifiedToken::verify(&signed) {
        assert!(report.signature_valid, "one verifier accepts what the other refuses");
        assert_eq!(verified.token().issuer, report.issuer_key.expect("a usable token has an issuer"));
    }
}

/// No receipt verifies that was not signed by who it names.
pub fn receipt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let report = verify(text);
    assert_eq!(report.valid(), report.reasons.is_empty(), "the verdict and its reasons disagree");
    let trusted: Vec<_> = report.signer_key.into_iter().collect();
    assert_eq!(trust(&report, &[]) == SignerTrust::Invalid, !report.valid());
    assert_eq!(trust(&report, &trusted) == SignerTrust::Trusted, report.valid());
    if report.signature_valid {
        let signed = Signed::<Receipt>::from_text(text.to_owned()).expect("what verifies is JSON");
        let input = signed.signing_input().expect("what verifies has signed bytes");
        assert!(SIGNED.contains(&sha256(input.as_bytes())), "a forged receipt verifies: {text}");
    }
}

/// The hashes of everything that the makers of the vectors signed.
static SIGNED: LazyLock<HashSet<Sha256Hex>> = LazyLock::new(|| {
    let files = [
        (include_str!("../../spec/vectors/capabilities.json"), "token"),
        (include_str!("../../spec/vectors/delegations.json"), "token"),
        (include_str!("../../spec/vectors/receipts.json"), "receipt"),
    ];
    files.into_iter().flat_map(|(file, member)| inputs(file, member)).collect()
});

fn inputs(file: &str, member: &str) -> Vec<Sha256Hex> {
    let file: Value = serde_json::from_str(file).expect("vector files are JSON");
    let cases = file["cases"].as_array().expect("vector files have cases").iter();
    let texts = cases.filter(|case| case["expected"]["signature_valid"] != false).map(|case| &case[member]);
    texts
        .filter_map(|text| Signed::<Value>::from_text(text.as_str()?.to_owned()).ok()?.signing_input().ok())
        .map(|input| sha256(input.as_bytes()))
        .collect()
}
