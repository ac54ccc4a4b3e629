//! The RFC 6962 tree against public roots and proofs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod data;

use chio_core::merkle::{Frontier, leaf_hash, verify_consistency, verify_inclusion};
use chio_json::MerkleHash;
use serde_json::Value;

#[test]
fn roots_of_0_to_8_leaves() {
    let Some(file) = data::json("merkle/rfc6962_roots.json") else { return };
    let strings = |name: &str| -> Vec<String> {
        file[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let (leaves, hashes, roots) =
        (strings("leaf_inputs_hex"), strings("leaf_hashes_hex"), strings("roots_hex_by_size"));
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root().to_string(), format!("0x{}", roots[0]));
    for (index, leaf) in leaves.iter().enumerate() {
        let hash = leaf_hash(&data::hex(leaf));
        assert_eq!(hash.to_string(), format!("0x{}", hashes[index]));
        frontier.append(hash, |_, _| ()).unwrap();
        assert_eq!(frontier.root().to_string(), format!("0x{}", roots[index + 1]));
    }
    println!("RFC 6962 roots: {} leaves, {} roots", leaves.len(), roots.len());
    assert_eq!((leaves.len(), roots.len()), (8, 9));
}

#[test]
fn inclusion_proofs_98_of_98() {
    let Some(files) = data::json_files("merkle/testdata/inclusion") else { return };
    for (path, case) in &files {
        let verdict = (|| {
            let path = proof(&case["proof"])?;
            verify_inclusion(
                &hash(&case["leafHash"])?,
                case["leafIdx"].as_u64()?,
                case["treeSize"].as_u64()?,
                &path,
                &hash(&case["root"])?,
            )
            .ok()
        })();
        let wanted_error = case["wantErr"].as_bool().unwrap();
        assert_eq!(verdict.is_none(), wanted_error, "{}: {}", path.display(), case["desc"]);
    }
    println!("RFC 6962 inclusion proofs: {}", files.len());
    assert_eq!(files.len(), 98);
}

#[test]
fn consistency_proofs_98_of_98() {
    let Some(files) = data::json_files("merkle/testdata/consistency") else { return };
    for (path, case) in &files {
        let verdict = (|| {
            let path = proof(&case["proof"])?;
            verify_consistency(
                case["size1"].as_u64()?,
                case["size2"].as_u64()?,
                &hash(&case["root1"])?,
                &hash(&case["root2"])?,
                &path,
            )
            .ok()
        })();
        let wanted_error = case["wantErr"].as_bool().unwrap();
        assert_eq!(verdict.is_none(), wanted_error, "{}: {}", path.display(), case["desc"]);
    }
    println!("RFC 6962 consistency proofs: {}", files.len());
    assert_eq!(files.len(), 98);
}

/// `None` for bytes that are too long for a hash, which some negative cases hold. Some others hold short
/// words where the hash does not matter.
fn hash(value: &Value) -> Option<MerkleHash> {
    let mut bytes = base64(value.as_str()?);
    if !bytes.is_empty() {
        bytes.resize(bytes.len().max(32), 0);
    }
    Some(MerkleHash::from_bytes(bytes.try_into().ok()?))
}

fn proof(value: &Value) -> Option<Vec<MerkleHash>> {
    match value {
        Value::Null => Some(Vec::new()),
        hashes => hashes.as_array()?.iter().map(hash).collect(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|known| *known == digit).expect("a base64 digit");
        buffer = (buffer << 6) | u32::try_from(value).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).unwrap());
        }
    }
    bytes
}
