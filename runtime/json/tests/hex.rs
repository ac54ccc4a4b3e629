//! The hexadecimal types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeSet, HashSet};

use chio_json::{HexFault, JsonError, MerkleHash, PublicKeyHex, Sha256Hex, SignatureHex};

const DIGITS: &str = "00ff0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";

#[test]
fn text_and_bytes_are_the_same_thing() {
    let hash: Sha256Hex = DIGITS.parse().unwrap();
    assert_eq!(hash.as_bytes()[..4], [0x00, 0xff, 0x01, 0x23]);
    assert_eq!(hash.to_string(), DIGITS);
    assert_eq!(format!("{hash:?}"), format!("Sha256Hex({DIGITS})"));
    assert_eq!(Sha256Hex::from_bytes(*hash.as_bytes()), hash);
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{DIGITS}\""));
    assert_eq!(serde_json::from_str::<Sha256Hex>(&format!("\"{DIGITS}\"")).unwrap(), hash);

    let node = MerkleHash::from_bytes(*hash.as_bytes());
    assert_eq!(node.to_string(), format!("0x{DIGITS}"));
    assert_eq!(serde_json::from_value::<MerkleHash>(serde_json::json!(node)).unwrap(), node);
    assert_eq!(PublicKeyHex::from_bytes([0xab; 32]).to_string(), "ab".repeat(32));
    assert_eq!("1f".repeat(64).parse::<SignatureHex>().unwrap(), SignatureHex::from_bytes([0x1f; 64]));
    assert_eq!((Sha256Hex::LEN, MerkleHash::LEN, PublicKeyHex::LEN, SignatureHex::LEN), (32, 32, 32, 64));
}

#[test]
fn values_sort_as_their_texts_do() {
    let hashes = [[0; 32], [0x0a; 32], [0x90; 32], [0xff; 32]].map(Sha256Hex::from_bytes);
    let texts = hashes.map(|hash| hash.to_string());
    assert!(hashes.is_sorted() && texts.is_sorted());
    assert_eq!(BTreeSet::from(hashes).len(), 4);
    assert_eq!(HashSet::from(hashes).len(), 4);
}

#[test]
fn one_spelling_only() {
    let fault = |text: &str| match text.parse::<Sha256Hex>() {
        Err(JsonError::Hex { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(""), HexFault::Length { found: 0 });
    assert_eq!(fault(&DIGITS[1..]), HexFault::Length { found: 63 });
    assert_eq!(fault(&format!("{DIGITS}0")), HexFault::Length { found: 65 });
    assert_eq!(fault(&format!("0x{DIGITS}")), HexFault::Length { found: 66 });
    assert_eq!(fault(&DIGITS.to_uppercase()), HexFault::Digit { offset: 2 });
    assert_eq!(fault(&format!("{} ", &DIGITS[1..])), HexFault::Digit { offset: 63 });
    for digit in ['g', 'G', '`', '/', ':'] {
        assert_eq!(fault(&format!("{digit}{}", &DIGITS[1..])), HexFault::Digit { offset: 0 }, "{digit}");
    }
    assert_eq!(fault(&"é".repeat(32)), HexFault::Digit { offset: 0 });

    let fault = |text: &str| match text.parse::<MerkleHash>() {
        Err(JsonError::Hex { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(DIGITS), HexFault::Prefix);
    assert_eq!(fault(&format!("0X{DIGITS}")), HexFault::Prefix);
    assert_eq!(fault(&format!("0xG{}", &DIGITS[1..])), HexFault::Digit { offset: 2 });

    let shown = "abc".parse::<MerkleHash>().unwrap_err().to_string();
    assert_eq!(
        shown,
        "this is not a MerkleHash, which is `0x` and 64 lower-case hexadecimal digits: it does not begin with `0x`"
    );
    for json in ["7", "null", "\"ab\"", "[]"] {
        assert!(serde_json::from_str::<SignatureHex>(json).is_err(), "{json}");
    }
}
