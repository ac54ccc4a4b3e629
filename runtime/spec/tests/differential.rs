//! Schema against type: every document gets the same verdict from both, and an accepted one survives a round trip.
//!
//! Documents are made at random from the schemas and then damaged: members dropped, added, nulled, retyped, pushed
//! over their bounds. `jsonschema` judges by the schema, serde by the generated type. An example-based test would
//! only find the differences that somebody thought of.
//!
//! The run is the same every time. `CHIO_DIFFERENTIAL_SEED` starts it elsewhere, `CHIO_DIFFERENTIAL_DOCUMENTS` makes
//! it longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "differential/documents.rs"]
mod documents;
#[path = "differential/specification.rs"]
mod specification;
#[path = "differential/types.rs"]
mod types;

use std::collections::BTreeSet;

use chio_json::canonical;
use serde::Deserialize;
use serde_json::Value;

use documents::Random;
use specification::Specification;
use types::Decode;

/// What both sides say of the documents that were tried.
#[derive(Default)]
struct Tally {
    documents: usize,
    accepted: usize,
    disagreements: Vec<String>,
}

impl Tally {
    /// Tries one document on one type.
    fn judge(&mut self, name: &str, schema: &jsonschema::Validator, decode: Decode, document: &Value) {
        let text = canonical::from_value(document);
        // Canonical text writes 1.0 as 1, so the judge sees what a peer would send.
        let document: Value = serde_json::from_str(&text).unwrap();
        let (valid, decoded) = (schema.is_valid(&document), decode(&text));
        self.documents += 1;
        self.accepted += usize::from(valid);
        match (valid, decoded) {
            (true, Ok(written)) if written == text => {}
            (false, Err(_)) => {}
            (true, Ok(written)) => {
                self.disagreements.push(format!("{name} rewrote\n  {text} as\n  {written}"));
            }
            (true, Err(error)) => {
                self.disagreements
                    .push(format!("{name}: the schema accepts, the type says {error}:\n  {text}"));
            }
            (false, Ok(_)) => {
                let fault = schema.iter_errors(&document).next().map(|fault| fault.to_string());
                let fault = fault.unwrap_or_default();
                self.disagreements
                    .push(format!("{name}: the type accepts, the schema says {fault}:\n  {text}"));
            }
        }
    }
}

/// Tries sound and damaged documents of one type.
fn compare(
    specification: &Specification,
    name: &str,
    decode: Decode,
    documents: usize,
    random: &mut Random,
) -> Tally {
    let (schema, validator) = (specification.schema(name), specification.validator(name));
    let mut tally = Tally::default();
    while tally.documents < documents && tally.disagreements.len() < 5 {
        let sound = documents::sound(specification, &schema, random);
        assert!(validator.is_valid(&sound), "{name}: the generator of documents is wrong: {sound}");
        tally.judge(name, &validator, decode, &sound);
        for _ in 0..6 {
            let mut damaged = sound.clone();
            for _ in 0..=random.below(2) {
                documents::damage(&mut damaged, random);
            }
            tally.judge(name, &validator, decode, &damaged);
        }
    }
    tally
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn schemas_and_types_agree() {
    let specification = Specification::read();
    let documents = usize::try_from(setting("CHIO_DIFFERENTIAL_DOCUMENTS", 120_000)).unwrap();
    let mut random = Random::new(setting("CHIO_DIFFERENTIAL_SEED", 20_261_121));
    let (mut tried, mut accepted, mut disagreements) = (0, 0, Vec::new());
    for (name, decode) in types::ALL {
        // Messages are made of everything else; they get more documents.
        let share = if types::MESSAGES.contains(name) { 10 } else { 1 };
        let shares = types::ALL.len() + 9 * types::MESSAGES.len();
        let tally = compare(&specification, name, *decode, documents * share / shares + 1, &mut random);
        assert!(tally.accepted * 8 >= tally.documents, "{name}: too few sound documents");
        assert!(tally.accepted < tally.documents, "{name}: no damaged document");
        tried += tally.documents;
        accepted += tally.accepted;
        disagreements.extend(tally.disagreements);
    }
    println!("{tried} documents of {} types, {accepted} of them sound", types::ALL.len());
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert!(tried >= documents);
}

/// Every schema has its type compared, or is a branch of a union that has.
#[test]
fn no_schema_is_left_out() {
    let compared: BTreeSet<&str> = types::ALL.iter().map(|(name, _)| *name).collect();
    let expected = Specification::read().names_outside_unions();
    assert_eq!(compared, expected.iter().map(String::as_str).collect());
}

/// The comparison would notice a type that is more lenient than its schema.
#[test]
fn a_lenient_type_is_found_out() {
    #[derive(Deserialize, serde::Serialize)]
    struct Lenient {
        guard: String,
        reason: String,
    }

    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Sequenced {
        guard: String,
        reason: String,
    }

    let specification = Specification::read();
    for decode in [types::plain::<Lenient> as Decode, types::plain::<Sequenced> as Decode] {
        let tally = compare(&specification, "PolicyDenial", decode, 10_000, &mut Random::new(1));
        assert!(!tally.disagreements.is_empty());
    }
}
