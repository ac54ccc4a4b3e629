//! Golden pairs: a small schema beside the Rust that is expected of it, compared as text, compiled, and used.
//!
//! After a deliberate change, `CHIO_BLESS=1 cargo test -p chio-codegen` writes the Rust anew; read the diff
//! and run the tests again, which then compile it. A new pair begins with an empty Rust file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "the expected halves of the pairs stand here as private modules"
)]

use std::collections::BTreeMap;
use std::path::Path;

use chio_json::{Json, Sha256Hex, SignatureHex, Signed};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[rustfmt::skip]
#[path = "golden/all_optional.rs"]
mod all_optional;
#[rustfmt::skip]
#[path = "golden/arrays.rs"]
mod arrays;
#[rustfmt::skip]
#[path = "golden/content_before_tag.rs"]
mod content_before_tag;
#[rustfmt::skip]
#[path = "golden/content_union.rs"]
mod content_union;
#[rustfmt::skip]
#[path = "golden/enumeration.rs"]
mod enumeration;
#[rustfmt::skip]
#[path = "golden/object.rs"]
mod object;
#[rustfmt::skip]
#[path = "golden/references.rs"]
mod references;
#[rustfmt::skip]
#[path = "golden/signed_and_opaque.rs"]
mod signed_and_opaque;
#[rustfmt::skip]
#[path = "golden/single_value.rs"]
mod single_value;
#[rustfmt::skip]
#[path = "golden/tagged_union.rs"]
mod tagged_union;
#[rustfmt::skip]
#[path = "golden/text.rs"]
mod text;

/// The pairs that are compiled above; a schema that is not among them fails the comparison.
const COMPILED: &[&str] = &[
    "all_optional",
    "arrays",
    "content_before_tag",
    "content_union",
    "enumeration",
    "object",
    "references",
    "signed_and_opaque",
    "single_value",
    "tagged_union",
    "text",
];

#[test]
fn each_schema_makes_the_expected_rust() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("CHIO_BLESS").is_some();
    let mut faults = Vec::new();
    let mut found_names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file.strip_suffix(".schema.json") else { continue };
        found_names.push(name.to_owned());
        let schema = std::fs::read_to_string(&path).unwrap();
        let files = BTreeMap::from([(format!("spec/schemas/golden/{file}"), schema)]);
        let rust = chio_codegen::rust::single_file(&chio_codegen::model(&files).unwrap()).unwrap();
        let expected_path = folder.join(format!("{name}.rs"));
        if update {
            std::fs::write(&expected_path, &rust).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if rust != expected {
            let diff = similar::TextDiff::from_lines(&expected, &rust);
            faults.push(format!("{name}:\n{}", diff.unified_diff().header("expected", "generated")));
        }
    }
    found_names.sort();
    assert_eq!(found_names, COMPILED, "every schema has its Rust compiled by this test");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Reads a canonical text and sees it written back byte for byte.
fn accepts<T: DeserializeOwned + Serialize>(text: &str) -> T {
    let value: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
    value
}

fn refuses<T: DeserializeOwned>(text: &str) -> String {
    match serde_json::from_str::<T>(text) {
        Ok(_) => panic!("accepted {text}"),
        Err(error) => error.to_string(),
    }
}

const PROBE: &str = r#"{"chunks":null,"enabled":true,"label":"a","percent":1,"port":65535,"retries":4294967295,"started_at":9007199254740991,"summary":null,"type":"t"}"#;

#[test]
fn an_object_reads_exactly_what_its_schema_says() {
    use object::Probe;

    let made = Probe::new(None, true, "a", 1, u16::MAX, u32::MAX, 9_007_199_254_740_991, None, "t");
    assert_eq!(accepts::<Probe>(PROBE), made);
    let full = made.clone().with_limit(10).with_note("n").with_stopped_at(0);
    assert_eq!(accepts::<Probe>(&serde_json::to_string(&full).unwrap()), full);

    for (from, to) in [
        (r#""chunks":null,"#, ""),
        (r#""chunks":null"#, r#""chunks":-1"#),
        (r#""chunks":null"#, r#""chunks":9007199254740992"#),
        (r#""enabled":true"#, r#""enabled":null"#),
        (r#""percent":1"#, r#""percent":0"#),
        (r#""percent":1"#, r#""percent":101"#),
        (r#""percent":1"#, r#""note":null,"percent":1"#),
        (r#""percent":1"#, r#""other":1,"percent":1"#),
        (r#""percent":1"#, r#""limit":11,"percent":1"#),
        (r#""percent":1"#, r#""percent":1,"percent":1"#),
        ("65535", "65536"),
        ("9007199254740991", "9007199254740992"),
        (r#""summary":null,"#, ""),
        (r#""type":"t""#, r#""type_":"t""#),
    ] {
        let text = PROBE.replace(from, to);
        assert_ne!(text, PROBE);
        refuses::<Probe>(&text);
    }
    refuses::<Probe>(r#"[null,true,"a",null,null,1,1,1,1,null,null,"t"]"#);
    refuses::<Probe>("null");
}

#[test]
fn an_integer_out_of_bounds_is_not_written() {
    let mut probe: object::Probe = accepts(PROBE);
    probe.started_at = u64::MAX;
    assert!(serde_json::to_string(&probe).unwrap_err().to_string().contains("9007199254740991"));
    let rule = content_union::Rule::Limit(u64::MAX);
    assert!(serde_json::to_string(&rule).is_err());
}

#[test]
fn an_object_without_required_fields_is_read_from_an_object_only() {
    use all_optional::Extras;

    assert_eq!(accepts::<Extras>("{}"), Extras::new());
    assert_eq!(Extras::default(), Extras::new());
    accepts::<Extras>(r#"{"color":"red","sizes":["s"]}"#);
    for text in ["[]", "null", r#"{"sizes":[]}"#, r#"{"color":null}"#, r#"{"x":1}"#] {
        refuses::<Extras>(text);
    }
}

#[test]
fn arrays_keep_their_length_rules() {
    use arrays::Lists;

    accepts::<Lists>(r#"{"any":[],"pair":["k","v"],"some":["a"],"unknown":null,"values":[]}"#);
    accepts::<Lists>(
        r#"{"any":["a"],"maybe":["b"],"pair":["k","v"],"some":["a"],"unknown":[],"values":[null,{"b":1e2}]}"#,
    );
    for text in [
        r#"{"any":[],"pair":["k","v"],"some":[],"unknown":null,"values":[]}"#,
        r#"{"any":[],"maybe":[],"pair":["k","v"],"some":["a"],"unknown":null,"values":[]}"#,
        r#"{"any":[],"pair":["k"],"some":["a"],"unknown":null,"values":[]}"#,
        r#"{"any":[],"pair":["k","v","w"],"some":["a"],"unknown":null,"values":[]}"#,
        r#"{"any":[],"pair":["k","v"],"some":["a"],"values":[]}"#,
        r#"{"any":null,"pair":["k","v"],"some":["a"],"unknown":null,"values":[]}"#,
    ] {
        refuses::<Lists>(text);
    }
}

#[test]
fn strings_and_enumerations_obey_their_rules() {
    use enumeration::Level;
    use single_value::SampleSchema;
    use text::{Currency, Long, Name, Short, Title};

    accepts::<Name>(r#""n""#);
    accepts::<Title>(r#""äöüäöüäö""#);
    accepts::<Short>(r#""""#);
    accepts::<Long>(r#""four""#);
    accepts::<Currency>(r#""EUR""#);
    refuses::<Name>(r#""""#);
    refuses::<Title>(r#""nine char""#);
    refuses::<Short>(r#""four""#);
    refuses::<Long>(r#""tri""#);
    for text in [r#""EURO""#, r#""eur""#, r#""EUR\n""#, "1", "null"] {
        refuses::<Currency>(text);
    }
    let error = Currency::new("eur").unwrap_err();
    assert_eq!(error.to_string(), "not a valid Currency: it must match ^[A-Z]{3}$");

    assert_eq!(accepts::<Level>(r#""read_only""#), Level::ReadOnly);
    assert_eq!("all".parse::<Level>().unwrap().to_string(), "all");
    for text in [r#""other""#, "null", r#"{"none":null}"#, "0"] {
        refuses::<Level>(text);
    }
    accepts::<SampleSchema>(r#""chio.sample.v1""#);
}

#[test]
fn a_tagged_union_checks_its_tag_and_writes_it_in_order() {
    use tagged_union::{Event, EventSaid};

    accepts::<Event>(r#"{"kind":"opened"}"#);
    let said = accepts::<Event>(r#"{"at":5,"kind":"said","text":"hello"}"#);
    assert_eq!(said, Event::Said(EventSaid::new(5, "hello")));
    accepts::<Event>(r#"{"kind":"left","reason":"tired"}"#);
    accepts::<Event>(r#"{"kind":"left","reason":"tired","zeal":"low"}"#);
    let sent = accepts::<Event>(r#"{"kind":"sent","payload":{ "b": 1.50, "a": 10000000000000000000001 }}"#);
    assert!(matches!(&sent, Event::Sent(body) if body.payload.get().contains("1.50")));
    assert_eq!(Event::TAGS, ["opened", "said", "sent", "left"]);

    // The tag is found wherever it stands.
    for text in [r#"{"text":"hello","at":5,"kind":"said"}"#, r#"{"kind":"said","text":"hello","at":5}"#] {
        assert_eq!(Event::from_json(text).unwrap(), said);
    }
    for text in [
        "{}",
        "[]",
        "null",
        r#""opened""#,
        r#"{"kind":"closed"}"#,
        r#"{"kind":1}"#,
        r#"{"kind":null}"#,
        r#"{"kind":"opened","x":1}"#,
        r#"{"kind":"opened","kind":"opened"}"#,
        r#"{"kind":"opened"} {}"#,
        r#"{"kind":"opened""#,
        r#"{"kind":"said","text":"hello"}"#,
        r#"{"at":5,"kind":"said","other":1,"text":"hello"}"#,
        r#"{"at":5,"at":5,"kind":"said","text":"hello"}"#,
        r#"{"at":9007199254740992,"kind":"said","text":"hello"}"#,
        r#"{"kind":"sent"}"#,
        r#"{"kind":"left","reason":"tired","zeal":null}"#,
    ] {
        refuses::<Event>(text);
        assert!(Event::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn a_tagged_union_survives_a_value() {
    use tagged_union::Event;

    let event: Event = accepts(r#"{"kind":"sent","payload":{"a":[1,2]}}"#);
    let value = serde_json::to_value(&event).unwrap();
    assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
    accepts::<Vec<Event>>(r#"[{"kind":"opened"},{"at":5,"kind":"said","text":"hello"}]"#);
}

#[test]
fn content_belongs_to_its_tag() {
    use content_before_tag::Reply;
    use content_union::{Detail, Rule};

    accepts::<Rule>(r#"{"type":"always"}"#);
    accepts::<Rule>(r#"{"type":"prefix","value":"/tmp"}"#);
    assert_eq!(
        accepts::<Rule>(r#"{"type":"limit","value":9007199254740991}"#),
        Rule::Limit(9_007_199_254_740_991)
    );
    accepts::<Rule>(r#"{"type":"count","value":4294967295}"#);
    accepts::<Rule>(r#"{"type":"pair","value":["k","v"]}"#);
    accepts::<Rule>(r#"{"type":"names","value":[]}"#);
    accepts::<Rule>(r#"{"type":"raw","value":null}"#);
    assert_eq!(accepts::<Rule>(r#"{"type":"nested","value":{"guard":"g"}}"#), Rule::Nested(Detail::new("g")));
    assert_eq!(Rule::from_json(r#"{"value":"/tmp","type":"prefix"}"#).unwrap(), Rule::Prefix("/tmp".into()));
    for text in [
        r#"{"type":"always","value":null}"#,
        r#"{"type":"prefix"}"#,
        r#"{"type":"prefix","value":null}"#,
        r#"{"type":"prefix","value":"/tmp","x":1}"#,
        r#"{"type":"prefix","type":"prefix","value":"/tmp"}"#,
        r#"{"type":"prefix","value":"/tmp","value":"/tmp"}"#,
        r#"{"type":"limit","value":9007199254740992}"#,
        r#"{"type":"count","value":4294967296}"#,
        r#"{"type":"pair","value":["k"]}"#,
        r#"{"type":"nested","value":["g"]}"#,
        r#"{"type":"nested","value":{"guard":"g","x":1}}"#,
        r#"{"type":"other"}"#,
        r#"{"value":"/tmp"}"#,
        r#"["always"]"#,
    ] {
        refuses::<Rule>(text);
    }
    accepts::<Reply>(r#"{"body":"b","status":"ok"}"#);
    accepts::<Reply>(r#"{"status":"gone"}"#);
}

#[test]
fn signed_and_opaque_values_survive_byte_for_byte() {
    use signed_and_opaque::{Envelope, Note};

    let signature = SignatureHex::from_bytes([7; 64]);
    let note = format!(r#"{{"signature":"{signature}","text":"hello"}}"#);
    let text = format!(
        r#"{{"metadata":null,"note":{note},"older":[{{ "odd": 1e400 }}],"params":{{"z": 1.0, "a": 18446744073709551615}}}}"#
    );
    let envelope = accepts::<Envelope>(&text);
    assert_eq!(envelope.note.view().unwrap(), &Note::new(signature, "hello"));
    assert!(envelope.older.first().unwrap().view().is_err());
    assert_eq!(envelope.metadata, Some(Json::null()));

    let made = Envelope::new(Signed::from_text(note).unwrap(), Json::from_text("[1]".into()).unwrap());
    accepts::<Envelope>(&serde_json::to_string(&made).unwrap());
}

#[test]
fn references_may_be_required_optional_and_nullable() {
    use references::{Grant, Mode, Owner, OwnerId};

    let digest = Sha256Hex::from_bytes([1; 32]);
    let grant = Grant::new(digest, Mode::Safe, vec![], None);
    let text = serde_json::to_string(&grant).unwrap();
    assert_eq!(accepts::<Grant>(&text), grant);
    let owner = Owner::new(OwnerId::new("o").unwrap());
    let full = Grant::new(digest, Mode::Safe, vec![owner.clone()], Some(owner)).with_fallback(Mode::Fast);
    accepts::<Grant>(&serde_json::to_string(&full).unwrap());
    for (from, to) in [(r#","owner":null"#, ""), (r#""mode":"safe""#, r#""fallback":null,"mode":"safe""#)] {
        refuses::<Grant>(&text.replace(from, to));
    }
}
