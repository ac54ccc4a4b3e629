//! The public Chio vectors and the golden file: canonical JSON, hashing, signing, receipts, capabilities,
//! manifests, proof of possession, streams, Merkle trees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod data;

use chio_core::capability::{CapabilityTemplate, TimeStatus, VerifiedToken, issue, verify_chain};
use chio_core::dpop::{self, DpopClaims, Expected};
use chio_core::hash::{NULL_CONTENT_HASH, hash_json, sha256};
use chio_core::keys::{PublicKey, SigningKey};
use chio_core::merkle::{Frontier, MerkleFault, NodeId, inclusion_proof, leaf_hash, verify_inclusion};
use chio_core::receipt::{self, StreamHasher, content_hash};
use chio_core::{manifest, merkle};
use chio_json::{Json, MerkleHash, Signed, canonical};
use chio_spec::{CapabilityId, CapabilityToken, DpopNonce, DpopProof, Receipt, ServerId, ToolName};
use serde_json::Value;
use std::collections::HashMap;

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a string"))
}

fn cases<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().unwrap_or_else(|| panic!("{name} is an array"))
}

#[test]
fn canonical_json_vectors() {
    let Some(file) = data::json("chio/vectors/canonical/v1.json") else { return };
    for case in cases(&file, "cases") {
        let found = canonical::from_text(string(case, "input_json")).unwrap();
        assert_eq!(found, string(case, "canonical_json"), "{}", case["id"]);
    }
    println!("Chio canonical JSON vectors: {}", cases(&file, "cases").len());
    assert_eq!(cases(&file, "cases").len(), 5);
}

#[test]
fn hashing_vectors() {
    let Some(file) = data::json("chio/vectors/hashing/v1.json") else { return };
    for case in cases(&file, "cases") {
        assert_eq!(sha256(string(case, "input_utf8").as_bytes()).to_string(), string(case, "sha256_hex"));
    }
    println!("Chio hashing vectors: {}", cases(&file, "cases").len());
    assert_eq!(cases(&file, "cases").len(), 3);
}

#[test]
fn signing_vectors() {
    let Some(file) = data::json("chio/vectors/signing/v1.json") else { return };
    let key = SigningKey::from_seed_hex(string(&file, "signing_key_seed_hex")).unwrap();
    let mut count = 0;
    for (group, input) in [("utf8_cases", "input_utf8"), ("json_cases", "input_json")] {
        for case in cases(&file, group) {
            let message = match group {
                "utf8_cases" => string(case, input).to_owned(),
                _ => canonical::from_text(string(case, input)).unwrap(),
            };
            if let Some(expected) = case.get("canonical_json").and_then(Value::as_str) {
                assert_eq!(message, expected, "{}", case["id"]);
            }
            let expected = case["expected_verify"].as_bool().unwrap();
            let signature = string(case, "signature_hex").parse().unwrap();
            let found = match PublicKey::parse(string(case, "public_key_hex")) {
                Ok(public) => public.verify(message.as_bytes(), &signature),
                Err(_) => false,
            };
            assert_eq!(found, expected, "{}", case["id"]);
            if expected {
                assert_eq!(key.sign(message.as_bytes()), signature, "{}", case["id"]);
            }
            count += 1;
        }
    }
    println!("Chio signing vectors: {count}");
    assert!(count >= 4);
}

#[test]
fn receipt_vectors() {
    let Some(file) = data::json("chio/vectors/receipt/v1.json") else { return };
    for case in cases(&file, "cases") {
        let text = case["receipt"].to_string();
        let signed = Signed::<Receipt>::from_text(text.clone()).unwrap();
        assert_eq!(
            signed.signing_input().unwrap(),
            string(case, "receipt_body_canonical_json"),
            "{}",
            case["id"]
        );
        let report = receipt::verify(&text);
        let expected = &case["expected"];
        assert_eq!(
            report.signature_valid, expected["signature_valid"],
            "{}: {:?}",
            case["id"], report.reasons
        );
        assert_eq!(report.parameter_hash_valid, expected["parameter_hash_valid"], "{}", case["id"]);
        assert_eq!(report.decision.as_deref(), expected["decision"].as_str(), "{}", case["id"]);
        signed.view().unwrap_or_else(|error| panic!("{}: {error}", case["id"]));
    }
    println!("Chio receipt vectors: {}", cases(&file, "cases").len());
    assert_eq!(cases(&file, "cases").len(), 4);
}

#[test]
fn capability_vectors() {
    let Some(file) = data::json("chio/vectors/capability/v1.json") else { return };
    for case in cases(&file, "cases") {
        let text = case["capability"].to_string();
        let signed = Signed::<CapabilityToken>::from_text(text.clone()).unwrap();
        assert_eq!(
            signed.signing_input().unwrap(),
            string(case, "capability_body_canonical_json"),
            "{}",
            case["id"]
        );
        let report = verify_chain(&text, case["verify_at"].as_u64().unwrap(), None);
        let expected = &case["expected"];
        assert_eq!(
            report.signature_valid, expected["signature_valid"],
            "{}: {:?}",
            case["id"], report.reasons
        );
        assert_eq!(report.delegation_chain_valid, expected["delegation_chain_valid"], "{}", case["id"]);
        assert_eq!(report.time_valid(), expected["time_valid"], "{}", case["id"]);
        assert_eq!(report.time_status.map(TimeStatus::as_str), expected["time_status"].as_str());
        let all_good = expected["signature_valid"] == true && expected["delegation_chain_valid"] == true;
        assert_eq!(VerifiedToken::verify(&signed).is_ok(), all_good, "{}", case["id"]);
    }
    println!("Chio capability vectors: {}", cases(&file, "cases").len());
    assert_eq!(cases(&file, "cases").len(), 5);
}

#[test]
fn manifest_vectors() {
    let Some(file) = data::json("chio/vectors/manifest/v1.json") else { return };
    for case in cases(&file, "cases") {
        let signed = &case["signed_manifest"];
        assert_eq!(canonical::from_value(&signed["manifest"]), string(case, "manifest_body_canonical_json"));
        let report = manifest::verify(&signed.to_string());
        let expected = &case["expected"];
        let id = &case["id"];
        assert_eq!(report.structure_valid, expected["structure_valid"], "{id}: {:?}", report.reasons);
        assert_eq!(report.signature_valid, expected["signature_valid"], "{id}");
        assert_eq!(report.embedded_public_key_valid, expected["embedded_public_key_valid"], "{id}");
        assert_eq!(
            report.embedded_public_key_matches_signer, expected["embedded_public_key_matches_signer"],
            "{id}"
        );
    }
    println!("Chio manifest vectors: {}", cases(&file, "cases").len());
    assert_eq!(cases(&file, "cases").len(), 5);
}

#[test]
fn golden_hashes_and_stream() {
    let Some(file) = data::json("chio/golden.json") else { return };
    assert_eq!(NULL_CONTENT_HASH.to_string(), string(&file, "null_content_hash"));
    assert_eq!(content_hash(None).unwrap(), content_hash(Some(&Json::null())).unwrap());
    for (name, value) in [
        ("action_hash", "args"),
        ("http_content_hash", "binding"),
        ("anonymous_caller_identity_hash", "identity"),
    ] {
        let hash = hash_json(&Json::from_value(&file[name][value])).unwrap();
        assert_eq!(hash.to_string(), string(&file[name], "sha256_jcs"), "{name}");
    }
    let stream = &file["stream_content_hash"];
    let mut hasher = StreamHasher::new();
    for chunk in cases(stream, "chunks") {
        // White space and key order of a chunk do not matter.
        hasher.push(&Json::from_text(format!(" {chunk:#}\n")).unwrap()).unwrap();
    }
    let (hash, metadata) = hasher.finish(Some(2));
    assert_eq!(hash.to_string(), string(stream, "content_hash"));
    let hashes: Vec<String> = metadata.chunk_hashes.iter().map(ToString::to_string).collect();
    assert_eq!(Value::from(hashes), stream["chunk_hashes"]);
    assert_eq!((metadata.chunks_received, metadata.chunks_expected, metadata.total_bytes), (2, Some(2), 14));
    println!("golden: 4 hashes, 1 stream of {} chunks", metadata.chunks_received);
}

#[test]
fn golden_fixture_capability_is_issued_byte_for_byte() {
    let Some(file) = data::json("chio/golden.json") else { return };
    let fixture = &file["native_conformance_valid_capability_g1"];
    let expected = Signed::<CapabilityToken>::from_text(fixture.to_string()).unwrap();
    let token = expected.view().unwrap();
    let issuer = SigningKey::from_seed([0x07; 32]);
    let issued = issue(
        &issuer,
        CapabilityTemplate {
            id: token.id.clone(),
            subject: SigningKey::from_seed([0x0b; 32]).public().hex(),
            scope: token.scope.clone(),
            issued_at: 1_700_000_000,
            expires_at: 1_800_000_000,
            delegation_chain: Vec::new(),
        },
    )
    .unwrap();
    assert_eq!(issued.text(), canonical::from_value(fixture));
    assert!(verify_chain(&fixture.to_string(), 1_750_000_000, Some(5)).valid());
    VerifiedToken::verify(&expected).unwrap();
}

/// The second generation signs a `schema` member that ours does not know: its bytes still verify, and a
/// kernel that speaks the first generation does not act on it.
#[test]
fn golden_capability_of_the_second_generation_verifies_and_is_not_admitted() {
    let Some(file) = data::json("chio/golden.json") else { return };
    let text = file["native_conformance_valid_capability_g2"].to_string();
    assert!(verify_chain(&text, 1_750_000_000, None).signature_valid);
    assert!(VerifiedToken::verify(&Signed::from_text(text).unwrap()).is_err());
}

#[test]
fn golden_dpop_proof_verifies_and_is_made_byte_for_byte() {
    let Some(file) = data::json("chio/golden.json") else { return };
    let golden: DpopProof = serde_json::from_value(file["dpop"].clone()).unwrap();
    let agent = SigningKey::from_seed([0x11; 32]);
    let made = dpop::make(
        &agent,
        DpopClaims {
            capability_id: CapabilityId::new("cap-dpop-001").unwrap(),
            tool_server: ServerId::new("conformance").unwrap(),
            tool_name: ToolName::new("transfer").unwrap(),
            action_hash: golden.body.action_hash,
            nonce: DpopNonce::new("nonce-001").unwrap(),
            issued_at: 1_700_000_000,
        },
    )
    .unwrap();
    assert_eq!(made, golden);
    let expected = Expected {
        capability_id: "cap-dpop-001",
        tool_server: "conformance",
        tool_name: "transfer",
        action_hash: &golden.body.action_hash,
        subject: &agent.public(),
        now: 1_700_000_000,
    };
    let claim = dpop::verify(&golden, &expected).unwrap();
    assert_eq!((claim.nonce.as_str(), claim.keep_until), ("nonce-001", 1_700_000_330));
}

#[test]
fn golden_merkle_trees_of_1_to_7_leaves() {
    let Some(file) = data::json("chio/golden.json") else { return };
    let leaves: Vec<MerkleHash> = cases(&file["merkle"], "leaf_bytes_utf8")
        .iter()
        .map(|leaf| leaf_hash(leaf.as_str().unwrap().as_bytes()))
        .collect();
    let (mut frontier, mut nodes) = (Frontier::new(), HashMap::new());
    let mut paths = 0;
    for (tree, leaf) in cases(&file["merkle"], "trees").iter().zip(&leaves) {
        frontier
            .append(*leaf, |id, hash| {
                nodes.insert(id, hash);
            })
            .unwrap();
        let size = tree["tree_size"].as_u64().unwrap();
        assert_eq!(frontier.size(), size);
        assert_eq!(frontier.root().to_string(), string(tree, "root"));
        for (index, expected) in cases(tree, "paths").iter().enumerate() {
            let path = inclusion_proof(size, index as u64, |NodeId { level, index }| {
                nodes.get(&NodeId { level, index }).copied().ok_or(MerkleFault::MissingNode { level, index })
            })
            .unwrap();
            let texts: Vec<String> = path.iter().map(ToString::to_string).collect();
            assert_eq!(Value::from(texts), *expected);
            verify_inclusion(&leaves[index], index as u64, size, &path, &frontier.root()).unwrap();
            paths += 1;
        }
    }
    println!("golden Merkle trees: {} trees, {paths} paths", frontier.size());
    assert_eq!((frontier.size(), paths), (7, 28));
    assert_eq!(
        merkle::empty_root().to_string(),
        "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}
