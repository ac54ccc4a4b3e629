//! Schema against type: every document gets the same verdict from both, and an accepted one survives a round trip.
//!
//! Documents are made at random from the schemas and then damaged: members dropped, added, nulled, retyped, pushed
//! over their bounds. `jsonschema` judges by the schema, serde by the generated type. An example-based test would
//! only find the differences that somebody thought of.
//!
//! Sound documents are also spelled differently, which must change nothing, and with a member said twice, which nobody may
//! accept.
//!
//! The run is the same every time. `CHIO_DIFFERENTIAL_SEED` starts it elsewhere, `CHIO_DIFFERENTIAL_DOCUMENTS` makes
//! it longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod documents;
#[path = "../specification.rs"]
mod specification;
mod spellings;
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
    /// Types and branches of unions that an accepted document was an example of.
    seen: BTreeSet<String>,
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

impl Tally {
    /// Tries other spellings of a sound document.
    fn judge_spellings(&mut self, name: &str, decode: Decode, document: &Value, random: &mut Random) {
        let canonical = canonical::from_value(document);
        let other = spellings::respelled(document, random);
        self.documents += 1;
        self.accepted += 1;
        match decode(&other).map(|written| canonical::from_text(&written)) {
            Ok(Ok(written)) if written == canonical => {}
            said => {
                self.disagreements.push(format!("{name}: spelled differently, it is {said:?}:\n  {other}"));
            }
        }
        if let Some(twice) = spellings::doubled(document, random) {
            self.documents += 1;
            if let Ok(written) = decode(&twice) {
                let said = format!("{name}: a member said twice is read as {written}:\n  {twice}");
                self.disagreements.push(said);
            }
        }
    }
}

/// Documents of each type whose parts are noted.
const NOTED: usize = 1000;

/// Tries sound and damaged documents of one type.
fn compare(
    specification: &Specification,
    name: &str,
    decode: Decode,
    documents: usize,
    random: &mut Random,
) -> Tally {
    let ((file, schema), validator) = (specification.schema(name), specification.validator(name));
    let mut tally = Tally::default();
    while tally.documents < documents && tally.disagreements.len() < 5 {
        let sound = documents::sound(specification, &file, schema, random);
        assert!(validator.is_valid(&sound), "{name}: the generator of documents is wrong: {sound}");
        tally.judge(name, &validator, decode, &sound);
        tally.judge_spellings(name, decode, &sound, random);
        if tally.documents < NOTED {
            specification.examples(name, &sound, &mut tally.seen);
        }
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
    let seed = setting("CHIO_DIFFERENTIAL_SEED", 20_261_121);
    let mut random = Random::new(seed);
    let (mut tried, mut accepted, mut disagreements) = (0, 0, Vec::new());
    let mut seen = BTreeSet::new();
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
        seen.extend(tally.seen);
    }
    println!("{tried} documents of {} types from seed {seed}, {accepted} of them sound", types::ALL.len());
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    assert!(tried >= documents);
    let missed: Vec<_> = specification.everything().into_iter().filter(|part| !seen.contains(part)).collect();
    assert!(missed.is_empty(), "no sound document holds {missed:?}");
}

/// Every schema has its type compared, or is a branch of a union that has.
#[test]
fn no_schema_is_left_out() {
    let compared: BTreeSet<&str> = types::ALL.iter().map(|(name, _)| *name).collect();
    let expected = Specification::read().names_outside_unions();
    assert_eq!(compared, expected.iter().map(String::as_str).collect());
}

/// The comparison would notice a type that is more lenient than its schema. Each twin lacks one thing that the generator
/// writes; so would a generator that forgot it.
#[test]
fn a_lenient_type_is_found_out() {
    /// Without `deny_unknown_fields`.
    #[derive(Deserialize, serde::Serialize)]
    struct Open {
        guard: String,
        reason: String,
    }

    /// Without the refusal of arrays.
    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Sequenced {
        guard: String,
        reason: String,
    }

    /// Without the bounds of the integer.
    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Unbounded {
        currency: chio_spec::CurrencyCode,
        units: i64,
    }

    /// With an optional member that may be null.
    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Nullable {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
        guard_name: String,
        verdict: bool,
    }

    /// With optional arrays that may be empty.
    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Emptiable {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        grants: Vec<chio_spec::ToolGrant>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        prompt_grants: Vec<chio_spec::PromptGrant>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resource_grants: Vec<chio_spec::ResourceGrant>,
    }

    /// With other bounds of a text.
    #[derive(Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Unnamed {
        operations: Vec<chio_spec::Operation>,
        prompt_name: chio_spec::RequestId,
    }

    let specification = Specification::read();
    let twins: [(&str, Decode); 6] = [
        ("PolicyDenial", types::plain::<Open>),
        ("PolicyDenial", types::plain::<Sequenced>),
        ("MonetaryAmount", types::plain::<Unbounded>),
        ("GuardEvidence", types::plain::<Nullable>),
        ("ChioScope", types::plain::<Emptiable>),
        ("PromptGrant", types::plain::<Unnamed>),
    ];
    for (name, decode) in twins {
        let tally = compare(&specification, name, decode, 10_000, &mut Random::new(1));
        assert!(!tally.disagreements.is_empty(), "the twin of {name} was not found out");
    }
    let sound = compare(
        &specification,
        "PolicyDenial",
        types::plain::<chio_spec::PolicyDenial>,
        10_000,
        &mut Random::new(1),
    );
    assert!(sound.disagreements.is_empty());
}
