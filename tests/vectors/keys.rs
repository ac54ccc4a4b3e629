//! Which texts are usable public keys.

use chio_core::keys::{KeyFault, PublicKey};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Named, named, same};
use crate::make::{key, public};

pub(crate) enum Keys {}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Case {
    FromSeed { seed: String, key: String },
    Read { key: String, fault: Option<String> },
}

impl Family for Keys {
    const NAME: &'static str = "keys";
    const ABOUT: &'static str = "With a `seed`: its Ed25519 public key. Without: whether the text is a key that may \
        sign. `fault` is null for a usable one; a point of small order (`weak`) or an encoding that is not the \
        canonical one of its point is refused, because verifiers disagree on them.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let seeds = [0x00, 0x07, 0x0b, 0x20, 0xff].map(|byte| {
            let case = Case::FromSeed { seed: format!("{byte:02x}").repeat(32), key: public(byte) };
            named(format!("seed-{byte:02x}"), "32 equal bytes", case)
        });
        let own = key(0x07).public().hex().to_string();
        let reads = READ.iter().map(|(id, about, fault, key)| read(id, about, key, *fault));
        seeds
            .into_iter()
            .chain([
                read("usable", "an ordinary key", &own, None),
                read("upper-case", "one text for one key", &own.to_uppercase(), Some("not_hex")),
                read("prefixed", "one text for one key", &format!("0x{own}"), Some("not_hex")),
                read("short", "one digit is missing", &own[1..], Some("not_hex")),
                read("long", "one digit too many", &format!("{own}0"), Some("not_hex")),
                read("white-space", "", &format!("{own}\n"), Some("not_hex")),
            ])
            .chain(reads)
            .collect()
    }

    fn judge(case: &Case) -> Result<(), String> {
        match case {
            Case::FromSeed { seed, key } => {
                let made = chio_core::keys::SigningKey::from_seed_hex(seed).unwrap().public();
                same("key", key.clone(), made.hex().to_string())
            }
            Case::Read { key, fault } => {
                let found = PublicKey::parse(key).err().map(|fault| match fault {
                    KeyFault::NotHex => "not_hex",
                    KeyFault::NotAPoint => "not_a_point",
                    KeyFault::NotCanonical => "not_canonical",
                    KeyFault::Weak => "weak",
                    _ => "another fault",
                });
                same("fault", fault.as_deref(), found)
            }
        }
    }
}

fn read(id: &str, about: &str, key: &str, fault: Option<&str>) -> Named<Case> {
    named(id, about, Case::Read { key: key.into(), fault: fault.map(Into::into) })
}

/// The points of small order in all their encodings, and texts that are no points.
#[rustfmt::skip]
pub(crate) const READ: &[(&str, &str, Option<&str>, &str)] = &[
    ("order-1", "the identity", Some("weak"), "0100000000000000000000000000000000000000000000000000000000000000"),
    ("order-1-sign", "the identity with a sign that it cannot have", Some("weak"), "0100000000000000000000000000000000000000000000000000000000000080"),
    ("order-2", "", Some("weak"), "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("order-2-sign", "with a sign that it cannot have", Some("weak"), "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ("order-4", "", Some("weak"), "0000000000000000000000000000000000000000000000000000000000000000"),
    ("order-4-negative", "", Some("weak"), "0000000000000000000000000000000000000000000000000000000000000080"),
    ("order-8-a", "", Some("weak"), "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ("order-8-a-negative", "", Some("weak"), "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    ("order-8-b", "", Some("weak"), "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ("order-8-b-negative", "", Some("weak"), "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ("non-canonical-0", "the prime itself stands for 0", Some("not_canonical"), "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("non-canonical-0-negative", "", Some("not_canonical"), "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ("non-canonical-1", "the prime and one stands for 1", Some("not_canonical"), "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("non-canonical-1-sign", "", Some("not_canonical"), "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ("non-canonical-largest", "2^255 - 1 stands for 18", Some("not_canonical"), "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("non-canonical-large-order", "the prime and three, an ordinary point in a second encoding", Some("not_canonical"), "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("not-a-point", "no x belongs to y = 2", Some("not_a_point"), "0200000000000000000000000000000000000000000000000000000000000000"),
    ("large-order-y-3", "an ordinary point whose secret nobody knows", None, "0300000000000000000000000000000000000000000000000000000000000000"),
];
