//! Laws that hold for every input, checked on random ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use chio_json::{Json, JsonError, Signed, canonical, strict};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

/// The longest integer that every reader of doubles keeps exactly.
const MAX_SAFE: u64 = 1 << 53;

/// Characters where the encodings, the escapes and the two sort orders differ.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        4 => prop::char::range('a', 'd'),
        1 => prop::char::range('\0', '\u{1f}'),
        2 => prop::sample::select(vec!['"', '\\', '/', '\u{7f}', '\u{80}', '\u{9f}', 'é', '\u{2028}', '\u{d7ff}', '\u{e000}', '\u{fb33}', '\u{ffff}', '\u{10000}', '\u{1f602}', '\u{10ffff}']),
        1 => any::<char>(),
    ]
}

fn string() -> impl Strategy<Value = String> {
    // Long enough to cross the eight bytes that are looked at together.
    prop::collection::vec(character(), 0..20).prop_map(String::from_iter)
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        any::<i64>().prop_map(|integer| integer as f64),
        (any::<i32>(), -330i32..310)
            .prop_map(|(digits, exponent)| format!("{digits}e{exponent}").parse().unwrap()),
    ]
    .prop_filter("finite", |double| double.is_finite())
}

fn integer() -> impl Strategy<Value = Number> {
    let near =
        prop::sample::select(vec![0, MAX_SAFE, 1 << 62, 1 << 63, 10u64.pow(15), 10u64.pow(18), u64::MAX]);
    prop_oneof![
        any::<u64>().prop_map(Number::from),
        any::<i64>().prop_map(Number::from),
        (near, 0u64..3, any::<bool>()).prop_map(|(near, off, above)| {
            Number::from(if above { near.saturating_add(off) } else { near.saturating_sub(off) })
        }),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![integer(), double().prop_map(|double| Number::from_f64(double).unwrap())]
}

fn value_of(number: impl Strategy<Value = Number> + 'static) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::Number),
        string().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((string(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    value_of(number())
}

/// Everything that a number can look like, mostly lawful.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,24})",
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        "-?[0-9]{0,3}\\.?[0-9]{0,3}[eE]?[+-]?[0-9]{0,3}",
        "-?(922337203685477[0-9]{4}|1844674407370955[0-9]{4}|[19]0{14,24})",
        "-?[1-9](\\.[0-9]{1,17})?e[+-](6|7|20|21|22)",
        "-?0\\.0{4,7}[1-9]{1,18}",
        number().prop_map(|number| canonical::from_value(&Value::Number(number))),
        number().prop_map(|number| number.to_string()),
    ]
}

/// A text that is canonical but for one small wound.
fn wounded() -> impl Strategy<Value = Vec<u8>> {
    let tokens = vec![
        "",
        " ",
        "\n",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        "\\n",
        "\\u000a",
        "\\u000b",
        "\\u001F",
        "\\/",
        "\\ud83d\\ude02",
        "\\ud800",
        "0",
        "-",
        ".",
        "e",
        "1.0",
        "null",
        "\u{e000}",
        "😂",
        "\"a\":1,",
        "\u{1}",
    ];
    let wound = prop_oneof![
        3 => prop::sample::select(tokens).prop_map(|token| token.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    (value(), any::<prop::sample::Index>(), 0usize..3, wound).prop_map(|(value, place, cut, wound)| {
        let mut text = canonical::from_value(&value).into_bytes();
        let start = place.index(text.len() + 1);
        let end = (start + cut).min(text.len());
        text.splice(start..end, wound);
        text
    })
}

/// A text of the same value in careless writing: spaces, needless escapes, members in any order.
fn careless() -> impl Strategy<Value = String> {
    (value(), prop::collection::vec(any::<u8>(), 1..64)).prop_map(|(value, dice)| {
        let mut dice = dice.into_iter().cycle();
        let mut out = String::new();
        write_carelessly(&mut out, &value, &mut dice);
        out
    })
}

fn write_carelessly(out: &mut String, value: &Value, dice: &mut impl Iterator<Item = u8>) {
    let space = |out: &mut String, die: u8| out.push_str(["", "", "", " ", "\n\t"][usize::from(die % 5)]);
    space(out, dice.next().unwrap());
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_carelessly(out, item, dice);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            let mut members: Vec<_> = members.iter().collect();
            let turn = usize::from(dice.next().unwrap()) % members.len().max(1);
            members.rotate_left(turn);
            for (index, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_carelessly(out, &Value::String(key.clone()), dice);
                out.push(':');
                write_carelessly(out, member, dice);
            }
            out.push('}');
        }
        Value::String(text) => {
            out.push('"');
            for unit in text.encode_utf16() {
                match char::from_u32(u32::from(unit)) {
                    Some(plain)
                        if plain >= ' ' && plain != '"' && plain != '\\' && dice.next().unwrap() > 60 =>
                    {
                        out.push(plain);
                    }
                    _ => out.push_str(&format!("\\u{unit:04X}")),
                }
            }
            out.push('"');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
    space(out, dice.next().unwrap());
}

/// The central law: the scan accepts exactly the texts that canonicalisation leaves alone.
fn scan_agrees_with_rewriting(bytes: &[u8]) {
    let scanned = canonical::scan(bytes);
    let rewritten = std::str::from_utf8(bytes).map(canonical::from_text);
    match (scanned, rewritten) {
        (Ok(text), Ok(Ok(rewritten))) => assert_eq!(text, rewritten),
        (Ok(text), refused) => panic!("the scan accepts {text:?}, the reader says {refused:?}"),
        (Err(fault), Ok(Ok(rewritten))) => {
            assert_ne!(rewritten.as_bytes(), bytes, "the scan refuses canonical text: {fault}");
            assert!(fault.offset <= bytes.len());
        }
        (Err(_), _) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_value_survives_its_canonical_text(value in value()) {
        let text = canonical::from_value(&value);
        prop_assert_eq!(canonical::scan(text.as_bytes()), Ok(text.as_str()));
        prop_assert_eq!(&canonical::from_text(&text).unwrap(), &text);
        prop_assert_eq!(&canonical::to_string(&value).unwrap(), &text);
        // Whole doubles come back as integers, so values are compared by what they print.
        prop_assert_eq!(&canonical::from_value(&strict::parse(&text).unwrap()), &text);
        prop_assert_eq!(&canonical::from_text(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), &text);
    }

    #[test]
    fn careless_writing_has_the_same_canonical_text(text in careless()) {
        let canonical = canonical::from_text(&text).unwrap();
        prop_assert_eq!(canonical::from_value(&serde_json::from_str(&text).unwrap()), canonical.as_str());
        let json = Json::from_text(text.clone()).unwrap();
        prop_assert_eq!(json.get(), text.trim_matches([' ', '\n', '\t']));
        prop_assert_eq!(json.canonical().unwrap(), canonical.as_str());
        prop_assert_eq!(canonical::to_string(&json).unwrap(), canonical.as_str());
        scan_agrees_with_rewriting(text.as_bytes());
    }

    #[test]
    fn the_oracle_agrees(value in value_of(prop_oneof![
        (0..=MAX_SAFE).prop_map(Number::from),
        (0..=MAX_SAFE as i64).prop_map(|integer| Number::from(-integer)),
        double().prop_map(|double| Number::from_f64(double).unwrap()),
    ])) {
        let oracle = serde_json_canonicalizer::to_string(&value).unwrap();
        prop_assert_eq!(canonical::from_value(&value), oracle);
    }

    #[test]
    fn integers_print_every_digit(number in integer()) {
        let digits = number.to_string();
        prop_assert_eq!(canonical::from_value(&Value::Number(number)), digits.as_str());
        prop_assert_eq!(canonical::scan(digits.as_bytes()), Ok(digits.as_str()));
    }

    #[test]
    fn the_scan_agrees_on_numbers(literal in literal()) {
        scan_agrees_with_rewriting(literal.as_bytes());
        scan_agrees_with_rewriting(format!("[{literal}]").as_bytes());
    }

    #[test]
    fn the_scan_agrees_on_wounded_text(bytes in wounded()) {
        scan_agrees_with_rewriting(&bytes);
    }

    #[test]
    fn the_scan_agrees_on_two_keys(first in string(), second in string()) {
        let quote = |key: &str| canonical::from_value(&Value::from(key));
        let object = format!("{{{}:1,{}:2}}", quote(&first), quote(&second));
        scan_agrees_with_rewriting(object.as_bytes());
        // The definition: UTF-16 code units.
        let ascending = first.encode_utf16().lt(second.encode_utf16());
        prop_assert_eq!(canonical::scan(object.as_bytes()).is_ok(), ascending);
        prop_assert_eq!(strict::parse(&object).is_ok(), first != second);
    }

    #[test]
    fn cutting_the_signature_out_equals_rewriting(
        mut members in prop::collection::vec((string(), value()), 0..4),
        signature in prop::option::of(value()),
        algorithm in prop::option::of(value()),
        nested in any::<bool>(),
    ) {
        if nested {
            members.push(("body".into(), serde_json::json!({"signature": 1, "algorithm": 2})));
        }
        let mut object: Map<String, Value> = members.into_iter().collect();
        object.remove("signature");
        object.remove("algorithm");
        let expected = canonical::from_value(&Value::Object(object.clone()));
        object.extend(signature.map(|value| ("signature".to_owned(), value)));
        object.extend(algorithm.map(|value| ("algorithm".to_owned(), value)));
        let object = Value::Object(object);

        let canonical = Signed::<Value>::from_text(canonical::from_value(&object)).unwrap();
        prop_assert_eq!(canonical.signing_input().unwrap(), expected.as_str());
        prop_assert!(canonical::scan(expected.as_bytes()).is_ok());
        let pretty = Signed::<Value>::from_text(serde_json::to_string_pretty(&object).unwrap()).unwrap();
        prop_assert_eq!(pretty.signing_input().unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(b"{}[]\",:\\u0123456789abcdefE+-. tnrl\xc3\xa9\xed\xa0\x80\xf0".to_vec()), 0..60),
        wounded(),
    ]) {
        scan_agrees_with_rewriting(&bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let parsed = strict::parse(&text);
        if let Ok(json) = Json::from_text(text.clone()) {
            prop_assert_eq!(json.to_value(), parsed.clone());
            prop_assert_eq!(json.canonical().is_ok(), parsed.is_ok());
            prop_assert_eq!(json.parse::<Value>().is_ok(), parsed.is_ok());
            let again: Json = serde_json::from_str(&serde_json::to_string(&json).unwrap()).unwrap();
            prop_assert_eq!(again, json);
        } else {
            prop_assert!(parsed.is_err());
        }
        if let Ok(signed) = Signed::<Value>::from_text(text) {
            prop_assert_eq!(signed.view().is_ok(), parsed.is_ok());
            match (signed.signing_input(), parsed) {
                (Ok(input), Ok(Value::Object(_))) => prop_assert!(canonical::scan(input.as_bytes()).is_ok()),
                (Err(error), Ok(_)) => prop_assert_eq!(error, JsonError::NotAnObject),
                (input, Err(_)) => prop_assert!(input.is_err()),
                (Ok(input), Ok(_)) => prop_assert!(false, "{} signed", input),
            }
        }
    }
}
