//! Canonical JSON against vectors that others wrote: RFC 8785's own files, the ECMAScript number list
//! and the published Chio vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod public_data;

use std::fs;

use chio_json::{Signed, canonical};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

#[test]
fn rfc_8785_pairs() {
    let Some(folder) = public_data::find("canonical-json/testdata") else { return };
    let inputs = public_data::files(&folder.join("input"));
    for (name, input) in &inputs {
        let expected = fs::read_to_string(folder.join("output").join(name)).unwrap();
        let hex = fs::read_to_string(folder.join("outhex").join(name.replace(".json", ".txt"))).unwrap();
        let bytes: Vec<_> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let canonical = canonical::from_text(&fs::read_to_string(input).unwrap()).unwrap();
        assert_eq!(canonical, expected, "{name}");
        assert_eq!(canonical.as_bytes(), bytes, "{name}");
        assert_eq!(canonical::scan(&bytes), Ok(expected.as_str()), "{name}");
    }
    println!("RFC 8785: {} pairs", inputs.len());
    assert_eq!(inputs.len(), 6);
}

#[test]
fn es6_numbers_of_the_list() {
    let Some(file) = public_data::find("canonical-json/es6testfile-10k.txt") else { return };
    let lines = fs::read_to_string(file).unwrap();
    for line in lines.lines() {
        let (bits, expected) = line.split_once(',').unwrap();
        check_number(u64::from_str_radix(bits, 16).unwrap(), expected);
    }
    println!("ECMAScript numbers: {} lines", lines.lines().count());
    assert_eq!(lines.lines().count(), 10_000);
}

/// The list is defined by a rule, and its digests are published for lengths far beyond the file.
#[test]
fn es6_numbers_of_the_rule() {
    let Some(file) = public_data::find("canonical-json/es6numbers.json") else { return };
    let definition: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let statics = definition["static_u64s"].as_array().unwrap();
    let statics = statics.iter().map(|bits| u64::from_str_radix(bits.as_str().unwrap(), 16).unwrap());
    let serial = (0..2000).map(|offset| 0x0010_0000_0000_0000 + offset);
    let mut digest = Sha256::new();
    let mut checked = Vec::new();
    for (index, bits) in statics.chain(serial).chain(RandomDoubles::new()).take(100_000).enumerate() {
        let number = Number::from_f64(f64::from_bits(bits)).unwrap();
        let print = canonical::from_value(&Value::Number(number));
        check_number(bits, &print);
        digest.update(format!("{bits:x},{print}\n"));
        let lines = (index + 1).to_string();
        if let Some(checkpoint) = definition["sha256_checkpoints"].get(&lines) {
            assert_eq!(hex(&digest.clone().finalize()), checkpoint[0], "after {lines} lines");
            checked.push(lines);
        }
    }
    println!("ECMAScript numbers: digests equal after {} lines", checked.join(", "));
    assert_eq!(checked, ["1000", "10000", "100000"]);
}

#[test]
fn chio_canonical_cases() {
    let Some(file) = public_data::find("chio/vectors/canonical/v1.json") else { return };
    let cases = cases(&file, "cases");
    for case in &cases {
        let (input, expected) =
            (case["input_json"].as_str().unwrap(), case["canonical_json"].as_str().unwrap());
        assert_eq!(canonical::from_text(input).unwrap(), expected, "{}", case["id"]);
        assert_eq!(canonical::scan(expected.as_bytes()), Ok(expected), "{}", case["id"]);
    }
    println!("Chio canonical JSON: {} cases", cases.len());
    assert!(!cases.is_empty());
}

#[test]
fn chio_messages_to_be_signed() {
    let Some(file) = public_data::find("chio/vectors/signing/v1.json") else { return };
    let cases = cases(&file, "json_cases");
    for case in &cases {
        assert_eq!(
            canonical::from_text(case["input_json"].as_str().unwrap()).unwrap(),
            case["canonical_json"]
        );
    }
    println!("Chio signing: {} messages", cases.len());
    assert!(!cases.is_empty());
}

/// The published signed objects come with the text that their signatures cover.
#[test]
fn chio_signed_objects() {
    let kinds = [
        ("capability", "/capability", "capability_body_canonical_json"),
        ("receipt", "/receipt", "receipt_body_canonical_json"),
        // The signature of a manifest stands beside it, not in it.
        ("manifest", "/signed_manifest/manifest", "manifest_body_canonical_json"),
    ];
    for (folder, object, body) in kinds {
        let Some(file) = public_data::find(&format!("chio/vectors/{folder}/v1.json")) else { return };
        let cases = cases(&file, "cases");
        let mut compared = 0;
        for case in &cases {
            let Some(expected) = case.get(body) else { continue };
            let object = case.pointer(object).unwrap();
            let canonical: Signed<Value> = Signed::from_text(canonical::from_value(object)).unwrap();
            let pretty = serde_json::to_string_pretty(object).unwrap();
            let pretty: Signed<Value> = Signed::from_text(pretty).unwrap();
            assert_eq!(&canonical.signing_input().unwrap(), expected, "{}", case["id"]);
            assert_eq!(&pretty.signing_input().unwrap(), expected, "{}", case["id"]);
            compared += 1;
        }
        println!("Chio {folder}: {compared} of {} cases state what is signed", cases.len());
        assert!(compared > 0, "{folder}");
    }
}

fn check_number(bits: u64, expected: &str) {
    let double = f64::from_bits(bits);
    let number = Value::Number(Number::from_f64(double).unwrap());
    assert_eq!(canonical::from_value(&number), expected, "{bits:x}");
    assert_eq!(canonical::to_string(&double).unwrap(), expected, "{bits:x}");
    assert_eq!(canonical::from_text(expected).unwrap(), expected, "{bits:x}");
    assert_eq!(canonical::scan(expected.as_bytes()), Ok(expected), "{bits:x}");
}

fn cases(file: &std::path::Path, list: &str) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    document[list].as_array().unwrap().clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 applied to its own output, four little-endian doubles a block, without zeros, NaN and infinity.
struct RandomDoubles {
    block: [u8; 32],
    doubles: Vec<u64>,
}

impl RandomDoubles {
    fn new() -> Self {
        Self { block: [0; 32], doubles: Vec::new() }
    }
}

impl Iterator for RandomDoubles {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(bits) = self.doubles.pop() {
                let double = f64::from_bits(bits);
                if double != 0.0 && double.is_finite() {
                    return Some(bits);
                }
            } else {
                self.block = Sha256::digest(self.block).into();
                self.doubles = self
                    .block
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .rev()
                    .map(|bytes| u64::from_le_bytes(*bytes))
                    .collect();
            }
        }
    }
}
