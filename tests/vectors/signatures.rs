//! Ed25519, strictly.

use chio_core::keys::PublicKey;
use chio_json::SignatureHex;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use crate::family::{Family, Named, named, same};
use crate::make::{key, public};

pub(crate) enum Signatures {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    public_key: String,
    message: String,
    signature: String,
    valid: bool,
}

impl Family for Signatures {
    const NAME: &'static str = "signatures";
    const ABOUT: &'static str = "Whether `signature` over the UTF-8 bytes of `message` counts as made by `public_key`. \
        The check is strict: S below the group order, neither key nor R of small order or oddly encoded, and the \
        equation without cofactor. Some of the refused ones pass laxer verifiers, which is why they stand here.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let message = r#"{"action":"read","amount":9007199254740993}"#;
        let good = key(0x09).sign(message.as_bytes()).to_string();
        let own = public(0x09);
        let (r, s) = good.split_at(64);
        vec![
            case("valid", "an ordinary signature", &own, message, &good, true),
            case(
                "valid-empty",
                "nothing can be signed too",
                &own,
                "",
                &key(0x09).sign(b"").to_string(),
                true,
            ),
            case(
                "valid-unicode",
                "the bytes are UTF-8",
                &own,
                "\u{e9}\u{1f600}",
                &key(0x09).sign("\u{e9}\u{1f600}".as_bytes()).to_string(),
                true,
            ),
            case("other-message", "one letter differs", &own, &message.replace("read", "reed"), &good, false),
            case(
                "other-spelling",
                "white space is part of what is signed",
                &own,
                &message.replace(':', ": "),
                &good,
                false,
            ),
            case("other-key", "somebody else", &public(0x0a), message, &good, false),
            case("flipped-r", "one bit of R", &own, message, &format!("{}{s}", flip(r)), false),
            case("flipped-s", "one bit of S", &own, message, &format!("{r}{}", flip(s)), false),
            case("swapped-halves", "S before R", &own, message, &format!("{s}{r}"), false),
            case(
                "malleable",
                "S and the group order: the same residue, another text",
                &own,
                message,
                &malleable(&good),
                false,
            ),
            case("zero", "R and S are zero bytes", &own, message, &"0".repeat(128), false),
            case("upper-case", "one text for one signature", &own, message, &good.to_uppercase(), false),
            case("short", "one digit is missing", &own, message, &good[1..], false),
            case("prefixed", "", &own, message, &format!("0x{good}"), false),
            case(
                "weak-key",
                "under the identity as key, R = identity and S = 0 would fit every message",
                IDENTITY,
                message,
                &format!("{IDENTITY}{}", "0".repeat(64)),
                false,
            ),
            case(
                "weak-key-order-2",
                "under a key of order 2 the same fits every second message",
                ORDER_2,
                message,
                &format!("{IDENTITY}{}", "0".repeat(64)),
                false,
            ),
            spoilt("small-order-r", "R is the identity, and S fits", message, Spoilt::R),
            spoilt(
                "torsion-in-r",
                "R carries a component of small order, which only the equation with cofactor forgives",
                message,
                Spoilt::ROff,
            ),
            spoilt(
                "torsion-in-key",
                "the key carries a component of small order, which only the equation with cofactor forgives",
                message,
                Spoilt::KeyOff,
            ),
        ]
    }

    fn judge(case: &Case) -> Result<(), String> {
        let signature: Option<SignatureHex> = case.signature.parse().ok();
        let valid = match (PublicKey::parse(&case.public_key), signature) {
            (Ok(key), Some(signature)) => key.verify(case.message.as_bytes(), &signature),
            _ => false,
        };
        same("valid", case.valid, valid)
    }
}

const IDENTITY: &str = "0100000000000000000000000000000000000000000000000000000000000000";
const ORDER_2: &str = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
/// The group order, least significant byte first (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn case(id: &str, about: &str, key: &str, message: &str, signature: &str, valid: bool) -> Named<Case> {
    let (public_key, message, signature) = (key.into(), message.into(), signature.into());
    named(id, about, Case { public_key, message, signature, valid })
}

fn flip(hex: &str) -> String {
    let other = if hex.starts_with('0') { '1' } else { '0' };
    format!("{other}{}", &hex[1..])
}

fn malleable(signature: &str) -> String {
    let signature: SignatureHex = signature.parse().unwrap();
    let mut bytes = *signature.as_bytes();
    let mut carry = 0_u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    SignatureHex::from_bytes(bytes).to_string()
}

/// Which part a dishonest holder of a key spoils.
#[derive(Clone, Copy, PartialEq)]
enum Spoilt {
    R,
    ROff,
    KeyOff,
}

/// A signature that a holder of the secret made on purpose so that verifiers disagree.
fn spoilt(id: &str, about: &str, message: &str, spoilt: Spoilt) -> Named<Case> {
    let secret = Scalar::from_bytes_mod_order(clamp_integer([0x42; 32]));
    let torsion = EIGHT_TORSION[1];
    let mut key = ED25519_BASEPOINT_POINT * secret;
    if spoilt == Spoilt::KeyOff {
        key += torsion;
    }
    // The nonce is counted up until the torsion does not vanish by chance, which it does for one in eight.
    for nonce in 1_u64.. {
        let nonce = if spoilt == Spoilt::R { Scalar::ZERO } else { Scalar::from(nonce) };
        let mut r = ED25519_BASEPOINT_POINT * nonce;
        if spoilt == Spoilt::ROff {
            r += torsion;
        }
        let challenge = challenge(&r, &key, message);
        if spoilt == Spoilt::KeyOff && challenge.to_bytes()[0].is_multiple_of(8) {
            continue;
        }
        let s = nonce + challenge * secret;
        let signature = [r.compress().to_bytes(), s.to_bytes()].concat();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        return case(id, about, &hex(key.compress().as_bytes()), message, &hex(&signature), false);
    }
    unreachable!("the loop has no end")
}

fn challenge(r: &EdwardsPoint, key: &EdwardsPoint, message: &str) -> Scalar {
    let mut hash = Sha512::new();
    hash.update(r.compress().as_bytes());
    hash.update(key.compress().as_bytes());
    hash.update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}
