//! Whatever is done to the text of a signed object, it is refused: bits flipped, members changed, removed,
//! added.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::capability::{VerifiedToken, verify_chain};
use chio_core::hash::sha256;
use chio_core::receipt::{ReceiptDraft, action, content_hash, verify};
use chio_json::{Json, Signed};
use chio_spec::{
    Constraint, Decision, DecisionDeny, GuardEvidence, ReceiptId, ReceiptMetadata, ReceiptRequest, ServerId,
    ToolName,
};
use fixture::*;
use proptest::prelude::*;
use serde_json::Value;

fn token() -> String {
    let grants = vec![
        delegable("files", "read")
            .with_max_invocations(5)
            .with_constraints(vec![path_prefix("/wörk/\u{1F600}"), Constraint::MaxLength(4096)]),
    ];
    chain(2, &tools(grants)).pop().unwrap().text().to_owned()
}

fn receipt() -> String {
    let arguments = r#"{"path":"/wörk/\u0001","list":[1,2.5,null,true],"deep":{"a":{"b":"c"}},"big":18446744073709551615}"#;
    let draft = ReceiptDraft {
        id: ReceiptId::new("rcpt-1").unwrap(),
        timestamp: START,
        capability_id: id("cap-1"),
        tool_server: ServerId::new("files").unwrap(),
        tool_name: ToolName::new("read").unwrap(),
        action: action(&Json::from_text(arguments.to_owned()).unwrap(), 1 << 15).unwrap(),
        decision: Decision::Deny(DecisionDeny::new("forbidden_path", "path is forbidden")),
        content_hash: content_hash(None).unwrap(),
        policy_hash: sha256(b"policy"),
        evidence: vec![GuardEvidence::new("capability", true), GuardEvidence::new("forbidden_path", false)],
        metadata: ReceiptMetadata::new().with_request(ReceiptRequest::new("1", "native")),
    };
    draft.sign(&authority()).unwrap().text().to_owned()
}

/// Both readers of a token agree that it is not good.
fn token_refused(text: &str) -> bool {
    let chain = verify_chain(text, START + 200, None);
    let typed = Signed::from_text(text.to_owned()).is_ok_and(|token| VerifiedToken::verify(&token).is_ok());
    let accepted = typed || (chain.signature_valid && chain.delegation_chain_valid);
    !accepted
}

fn receipt_refused(text: &str) -> bool {
    !verify(text).valid()
}

#[test]
fn the_untampered_texts_are_accepted() {
    assert!(!token_refused(&token()));
    assert!(!receipt_refused(&receipt()));
}

#[test]
fn every_single_flipped_bit_is_refused() {
    for (text, refused) in [(token(), token_refused as fn(&str) -> bool), (receipt(), receipt_refused)] {
        let mut flips = 0;
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                // What is no UTF-8 is no text to begin with.
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(refused(&changed), "bit {bit} of byte {position}: {changed}");
                flips += 1;
            }
        }
        println!("{flips} flips of {} bytes refused", text.len());
    }
}

#[test]
fn every_truncation_and_every_removed_byte_is_refused() {
    for (text, refused) in [(token(), token_refused as fn(&str) -> bool), (receipt(), receipt_refused)] {
        for (position, character) in text.char_indices() {
            assert!(refused(&text[..position]));
            let without = format!("{}{}", &text[..position], &text[position + character.len_utf8()..]);
            assert!(refused(&without), "{without}");
        }
    }
}

/// Every value in the document, by its JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let pointer = format!("{at}/{name}");
                pointers(member, &pointer, found);
                found.push(pointer);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{at}/{index}");
                pointers(item, &pointer, found);
                found.push(pointer);
            }
        }
        _ => {}
    }
}

fn edits(value: &Value) -> Vec<Value> {
    let mut all = vec![
        Value::Null,
        Value::Bool(true),
        Value::Bool(false),
        0.into(),
        1.into(),
        u64::MAX.into(),
        "".into(),
        "x".into(),
        Value::Array(Vec::new()),
        serde_json::json!({}),
    ];
    match value {
        Value::String(text) => all.extend([format!("{text} ").into(), text.to_uppercase().into()]),
        Value::Number(number) => all.extend(number.as_u64().map(|number| number.wrapping_add(1).into())),
        Value::Array(items) => all.push(items.iter().rev().cloned().chain([Value::Null]).collect()),
        _ => {}
    }
    all.retain(|edit| edit != value);
    all
}

#[test]
fn every_edited_member_is_refused() {
    for (text, refused) in [(token(), token_refused as fn(&str) -> bool), (receipt(), receipt_refused)] {
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut all = Vec::new();
        pointers(&document, "", &mut all);
        let mut count = 0;
        for pointer in &all {
            for edit in edits(document.pointer(pointer).unwrap()) {
                let mut changed = document.clone();
                *changed.pointer_mut(pointer).unwrap() = edit;
                assert!(
                    refused(&changed.to_string()),
                    "{pointer} became {}",
                    changed.pointer(pointer).unwrap()
                );
                count += 1;
            }
            // The member is gone, or another one stands beside it.
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let mut changed = document.clone();
            if let Some(Value::Object(members)) = changed.pointer_mut(parent) {
                members.remove(name);
                assert!(refused(&changed.to_string()), "{pointer} was removed");
                count += 1;
                let mut changed = document.clone();
                let members = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                members.insert("extra".to_owned(), 1.into());
                assert!(refused(&changed.to_string()), "{parent} has one more member");
                count += 1;
            }
        }
        println!("{count} edits of {} members refused", all.len());
        assert!(count > 400);
    }
}

#[test]
fn a_repeated_member_is_refused() {
    for (text, refused) in [(token(), token_refused as fn(&str) -> bool), (receipt(), receipt_refused)] {
        let document: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in document.as_object().unwrap() {
            // The same value again, and another one, before and after.
            for value in [value.clone(), Value::Null, "x".into()] {
                let first = text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
                let last = format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]);
                assert!(refused(&first) && refused(&last), "{name} twice");
            }
        }
    }
}

#[test]
fn a_signature_of_another_key_or_object_is_refused() {
    let (token, receipt) = (token(), receipt());
    let (token_value, receipt_value): (Value, Value) =
        (serde_json::from_str(&token).unwrap(), serde_json::from_str(&receipt).unwrap());
    let (ours, theirs) =
        (token_value["signature"].as_str().unwrap(), receipt_value["signature"].as_str().unwrap());
    assert!(token_refused(&token.replace(ours, theirs)));
    assert!(receipt_refused(&receipt.replace(theirs, ours)));
    let key = hex(&authority()).to_string();
    assert!(receipt_refused(&receipt.replace(&key, &hex(&holder(0)).to_string())));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several random bytes at once: refused, or the same JSON value (white space where white space may
    /// stand).
    #[test]
    fn random_damage_is_refused(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4)) {
        for (text, refused) in [(token(), token_refused as fn(&str) -> bool), (receipt(), receipt_refused)] {
            let mut bytes = text.clone().into_bytes();
            for (place, byte, kind) in &damage {
                match kind {
                    0 => { let at = place.index(bytes.len()); bytes[at] = *byte; }
                    1 => { let at = place.index(bytes.len()); bytes.insert(at, *byte); }
                    _ => { let at = place.index(bytes.len()); bytes.remove(at); }
                }
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let same = serde_json::from_str::<Value>(&changed).ok() == serde_json::from_str::<Value>(&text).ok();
            prop_assert!(same || refused(&changed), "{changed}");
        }
    }
}
