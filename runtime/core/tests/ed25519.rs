//! Ed25519 at the strict level: public vectors, and what a registered key must not be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod data;

use chio_core::keys::{KeyFault, PublicKey, SigningKey};
use chio_json::{PublicKeyHex, SignatureHex};
use serde_json::Value;

/// The verdict that a kernel would give: an unusable key verifies nothing.
fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (<[u8; 32]>::try_from(key), <[u8; 64]>::try_from(signature)) else {
        return false;
    };
    let Ok(key) = PublicKey::try_from(PublicKeyHex::from_bytes(key)) else { return false };
    key.verify(message, &SignatureHex::from_bytes(signature))
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a string"))
}

#[test]
fn wycheproof_151_of_151() {
    let Some(file) = data::json("crypto/wycheproof/testvectors_v1/ed25519_test.json") else { return };
    let (mut valid, mut invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = data::hex(string(&group["publicKey"], "pk"));
        for case in group["tests"].as_array().unwrap() {
            let expected = string(case, "result") == "valid";
            let found = verifies(&key, &data::hex(string(case, "msg")), &data::hex(string(case, "sig")));
            assert_eq!(found, expected, "Wycheproof case {}: {}", case["tcId"], case["comment"]);
            if expected { valid += 1 } else { invalid += 1 }
        }
    }
    println!("Wycheproof Ed25519: {valid} valid and {invalid} invalid of {} cases", valid + invalid);
    assert_eq!((valid, invalid), (88, 63));
}

#[test]
fn cctv_914_strict_level_accepts_43() {
    let Some(file) = data::json("crypto/cctv-ed25519/ed25519/ed25519vectors.json") else { return };
    let cases = file.as_array().unwrap();
    let mut accepted = 0;
    for case in cases {
        let flags: Vec<&str> =
            case["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let message = string(case, "msg").as_bytes();
        if verifies(&data::hex(string(case, "key")), message, &data::hex(string(case, "sig"))) {
            accepted += 1;
            for refused in
                ["low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"]
            {
                assert!(!flags.contains(&refused), "case {} was accepted although {refused}", case["number"]);
            }
        }
    }
    println!("CCTV Ed25519: {accepted} of {} accepted at the strict level", cases.len());
    assert_eq!((cases.len(), accepted), (914, 43));
}

#[test]
fn dalek_validation_vectors_agree_with_the_strict_level() {
    let Some(file) = data::json("crypto/ed25519-other/dalek-VALIDATIONVECTORS.json") else { return };
    let cases = file.as_array().unwrap();
    let mut accepted = 0;
    for case in cases {
        let found = verifies(
            &data::hex(string(case, "key")),
            string(case, "msg").as_bytes(),
            &data::hex(string(case, "sig")),
        );
        if found {
            accepted += 1;
            let flags = case["flags"].to_string();
            for refused in ["low_order_A\"", "low_order_R\"", "non_canonical", "low_order_residue"] {
                assert!(!flags.contains(refused), "case {} was accepted although {refused}", case["number"]);
            }
        }
    }
    println!("dalek validation vectors: {accepted} of {} accepted", cases.len());
    assert!(!cases.is_empty() && accepted > 0);
}

#[test]
fn rfc8032_section_7_1() {
    let Some(file) = data::json("rfc/rfc8032_ed25519.json") else { return };
    let cases = file["vectors"].as_array().unwrap();
    for case in cases {
        let key = SigningKey::from_seed_hex(string(case, "secret")).unwrap();
        let message = data::hex(string(case, "message"));
        assert_eq!(key.public().hex().to_string(), string(case, "public"));
        let signature = key.sign(&message);
        assert_eq!(signature.to_string(), string(case, "signature"));
        assert!(key.public().verify(&message, &signature));
    }
    println!("RFC 8032: {} vectors", cases.len());
    assert_eq!(cases.len(), 3);
}

#[test]
fn djb_sign_input() {
    let Some(text) = data::text("crypto/ed25519-other/djb-sign.input") else { return };
    let mut count = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(':').collect();
        let key = SigningKey::from_seed_hex(&fields[0][..64]).unwrap();
        let message = data::hex(fields[2]);
        assert_eq!(key.public().hex().to_string(), fields[1]);
        assert_eq!(key.sign(&message).to_string(), fields[3][..128]);
        assert!(key.public().verify(&message, &key.sign(&message)));
        count += 1;
    }
    println!("djb sign.input: {count} lines");
    assert_eq!(count, 128);
}

#[test]
fn keys_of_small_order_are_refused() {
    // The eight points of small order in their canonical encodings.
    for text in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ] {
        assert_eq!(PublicKey::parse(text), Err(KeyFault::Weak), "{text}");
    }
}

#[test]
fn keys_in_a_second_encoding_are_refused() {
    // y = p + 1 and y = p, and the highest value that 255 bits hold.
    for text in [
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        assert_eq!(PublicKey::parse(text), Err(KeyFault::NotCanonical), "{text}");
    }
    // x = 0 with a sign bit is the other second encoding; those points are weak as well.
    for text in [
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        assert!(matches!(PublicKey::parse(text), Err(KeyFault::Weak | KeyFault::NotAPoint)), "{text}");
    }
}

#[test]
fn text_that_is_no_key_is_refused() {
    let good = SigningKey::from_seed([1; 32]).public().hex().to_string();
    assert!(PublicKey::parse(&good).is_ok());
    let not_hex = [
        "".to_owned(),
        "not-a-public-key".to_owned(),
        good.to_uppercase(),
        format!("0x{good}"),
        format!("{good}00"),
        good[..62].to_owned(),
        format!(" {}", &good[1..]),
    ];
    for text in not_hex {
        assert_eq!(PublicKey::parse(&text), Err(KeyFault::NotHex), "{text:?}");
    }
    let no_point = "0200000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(PublicKey::parse(no_point), Err(KeyFault::NotAPoint));
}

#[test]
fn seeds_are_read_strictly_and_come_back() {
    let key = SigningKey::from_seed([0xab; 32]);
    assert_eq!(key.seed_hex().as_str(), "ab".repeat(32));
    assert_eq!(SigningKey::from_seed_hex(&key.seed_hex()).unwrap().public(), key.public());
    for text in ["", "ab", &"AB".repeat(32), &"ab".repeat(33), &"zz".repeat(32), &"é".repeat(32)] {
        assert_eq!(SigningKey::from_seed_hex(text).unwrap_err(), KeyFault::NotHex, "{text:?}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let key = SigningKey::from_seed([0xab; 32]);
    let shown = format!("{key:?}");
    assert!(!shown.contains("abab"), "{shown}");
    assert!(shown.contains(&key.public().hex().to_string()));
}

#[test]
fn a_fingerprint_is_the_beginning_of_the_key() {
    let key = SigningKey::from_seed([1; 32]).public();
    assert_eq!(key.fingerprint().len(), 16);
    assert!(key.hex().to_string().starts_with(&key.fingerprint()));
}

#[test]
fn a_signature_fits_one_message_and_one_key() {
    let (key, other) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    let signature = key.sign(b"message");
    assert!(key.public().verify(b"message", &signature));
    assert!(!key.public().verify(b"messagf", &signature));
    assert!(!key.public().verify(b"messag", &signature));
    assert!(!other.public().verify(b"message", &signature));
    for bit in 0..512 {
        let mut bytes = *signature.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.public().verify(b"message", &SignatureHex::from_bytes(bytes)), "bit {bit}");
    }
}
