//! The strict reader and the values that rest on it, case by case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use chio_json::{Json, JsonError, MAX_DEPTH, Signed, canonical, strict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[test]
fn a_key_may_appear_once() {
    for (text, key, line, column) in [
        (r#"{"a":1,"a":1}"#, "a", 1, 10),
        (r#"{"a":1,"\u0061":2}"#, "a", 1, 15),
        ("[0,{\"x\":{\"é\":1,\n\"z\":2,\"é\":3}}]", "é", 2, 10),
        (r#"{"":1,"":2}"#, "", 1, 8),
    ] {
        assert_eq!(
            strict::parse(text),
            Err(JsonError::DuplicateKey { key: key.into(), line, column }),
            "{text}"
        );
    }
    assert!(strict::parse(r#"{"a":{"a":[{"a":1},{"a":1}]},"A":1}"#).is_ok());
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(strict::parse(&nested(MAX_DEPTH)).is_ok());
    let refused = strict::parse(&nested(MAX_DEPTH + 1));
    assert_eq!(refused, Err(JsonError::TooDeep { line: 1, column: MAX_DEPTH + 2 }));
    assert!(matches!(strict::parse(&"[".repeat(1_000_000)), Err(JsonError::TooDeep { .. })));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "1 2",
        "nul",
        "NaN",
        "Infinity",
        "'a'",
        "01",
        "1e400",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        "\"\t\"",
        "\u{feff}1",
    ] {
        assert!(matches!(strict::parse(text), Err(JsonError::Syntax { .. })), "{text}");
    }
    let error = strict::parse("{\"a\":\n1 2}").unwrap_err();
    assert_eq!(error.to_string(), "this is not JSON at line 2 column 3: expected `,` or `}`");
}

#[test]
fn numbers_are_read_as_exactly_as_a_value_can_hold_them() {
    assert_eq!(strict::parse("18446744073709551615").unwrap(), json!(u64::MAX));
    assert_eq!(strict::parse("-9223372036854775808").unwrap(), json!(i64::MIN));
    // One more and it is a double.
    assert_eq!(strict::parse("18446744073709551616").unwrap(), json!(18_446_744_073_709_551_616.0));
    // Shortest spellings come back to the bit, which needs serde_json's `float_roundtrip`.
    assert_eq!(strict::parse("1.7976931348623157e308").unwrap(), json!(f64::MAX));
    assert_eq!(strict::parse("0.37037037037037035").unwrap(), json!(0.370_370_370_370_370_35));
}

#[test]
fn a_type_is_read_only_from_text_with_one_meaning() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Call {
        tool: String,
        arguments: Json,
    }

    let call: Call = strict::from_str(r#"{ "tool": "read", "arguments": {"b":1, "a":2} }"#).unwrap();
    assert_eq!(call.arguments.get(), r#"{"b":1, "a":2}"#);
    // serde itself would let the opaque part pass.
    let hidden = r#"{"tool":"read","arguments":{"path":"a","path":"b"}}"#;
    assert!(serde_json::from_str::<Call>(hidden).is_ok());
    assert!(matches!(strict::from_str::<Call>(hidden), Err(JsonError::DuplicateKey { .. })));
    assert!(matches!(
        strict::from_str::<BTreeMap<String, u8>>(r#"{"a":1,"a":2}"#),
        Err(JsonError::DuplicateKey { .. })
    ));

    let error = strict::from_str::<Call>(r#"{"arguments":1,"tool":2}"#).unwrap_err();
    let expected = "this JSON does not fit at line 1 column 23: invalid type: integer `2`, expected a string";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, JsonError::Shape { line: 1, column: 23, .. }));
}

#[test]
fn an_opaque_value_keeps_its_text() {
    #[derive(Serialize, Deserialize)]
    struct Envelope {
        value: Json,
    }

    let text = r#"{"value":{ "b" : 1.0, "a":12345678901234567890123 }}"#;
    let envelope: Envelope = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&envelope).unwrap(), text);
    assert_eq!(format!("{:?}", envelope.value), r#"{ "b" : 1.0, "a":12345678901234567890123 }"#);
    let value: Envelope = serde_json::from_value(json!({"value": [1, null]})).unwrap();
    assert_eq!(value.value, Json::from_text("[1,null]".into()).unwrap());
    let bytes: Envelope = serde_json::from_slice(text.as_bytes()).unwrap();
    assert_eq!(bytes.value, envelope.value);
}

#[test]
fn an_opaque_value_opens_strictly() {
    let careless = Json::from_text("\n{\"b\":1.0,\"a\":[]} ".into()).unwrap();
    assert_eq!(careless.get(), "{\"b\":1.0,\"a\":[]}");
    assert_eq!(careless.to_value().unwrap(), json!({"a": [], "b": 1.0}));
    assert!(matches!(careless.canonical().unwrap(), Cow::Owned(text) if text == r#"{"a":[],"b":1}"#));
    let canonical = Json::of(&careless).unwrap();
    assert!(matches!(canonical.canonical().unwrap(), Cow::Borrowed(text) if text == canonical.get()));
    assert_eq!(canonical.parse::<BTreeMap<String, Value>>().unwrap().len(), 2);
    assert_ne!(canonical, careless);

    assert_eq!(Json::null().get(), "null");
    assert_eq!(Json::from_value(&json!({"b": 2, "a": 1})).get(), r#"{"a":1,"b":2}"#);
    assert!(Json::of(&f64::NAN).is_err());
    // What another reader let in can be held, and is refused when it is opened.
    let deep = (0..200).fold(json!(0), |inner, _| json!([inner]));
    assert!(matches!(Json::from_value(&deep).to_value(), Err(JsonError::TooDeep { .. })));
    for text in ["", "1 2", "{", "[1,]"] {
        assert!(matches!(Json::from_text(text.into()), Err(JsonError::Syntax { .. })), "{text}");
    }
    let twice = Json::from_text(r#"{"a":1,"a":2}"#.into()).unwrap();
    assert!(matches!(twice.to_value(), Err(JsonError::DuplicateKey { .. })));
    assert!(matches!(twice.canonical(), Err(JsonError::DuplicateKey { .. })));
    assert!(matches!(twice.parse::<Value>(), Err(JsonError::DuplicateKey { .. })));
}

#[test]
fn a_signed_object_shows_text_view_and_signing_input() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Token {
        id: String,
        signature: String,
    }

    let canonical = r#"{"id":"cap-1","signature":"00"}"#;
    let signed: Signed<Token> = serde_json::from_str(canonical).unwrap();
    assert_eq!(signed.text(), canonical);
    assert_eq!(signed.view(), Ok(&Token { id: "cap-1".into(), signature: "00".into() }));
    assert_eq!(signed.signing_input().unwrap(), r#"{"id":"cap-1"}"#);
    assert_eq!(serde_json::to_string(&signed).unwrap(), canonical);
    assert_eq!(format!("{signed:?}"), format!("Signed({canonical})"));
    // A clone shares the view that is parsed already.
    assert!(std::ptr::eq(signed.view().unwrap(), signed.clone().view().unwrap()));

    assert_eq!(Signed::<Token>::from(Json::from_text(canonical.into()).unwrap()), signed);

    let careless = "{ \"signature\" : \"00\", \"id\":\"cap-1\" }";
    let forwarded: Signed<Token> = serde_json::from_str(careless).unwrap();
    assert_eq!(serde_json::to_string(&forwarded).unwrap(), careless);
    assert_eq!(forwarded.view(), signed.view());
    assert_eq!(forwarded.signing_input(), signed.signing_input());
    assert_ne!(forwarded, signed);
}

#[test]
fn only_the_outer_signature_is_cut_out() {
    for (text, expected) in [
        ("{}", "{}"),
        (r#"{"signature":1}"#, "{}"),
        (r#"{"algorithm":"ed25519","signature":1}"#, "{}"),
        (r#"{"a":0,"algorithm":1}"#, r#"{"a":0}"#),
        (r#"{"algorithm":1,"b":0}"#, r#"{"b":0}"#),
        (r#"{"a":0,"signature":{"b":[1]},"z":1}"#, r#"{"a":0,"z":1}"#),
        (r#"{"a":{"signature":1},"signature":2}"#, r#"{"a":{"signature":1}}"#),
        (r#"{"signatures":1,"z":["signature"]}"#, r#"{"signatures":1,"z":["signature"]}"#),
        // Not canonical: rewritten, and an escaped name is the same name.
        (r#"{"z":1.0,"s\u0069gnature":1}"#, r#"{"z":1}"#),
    ] {
        let signed = Signed::<Value>::from_text(text.into()).unwrap();
        assert_eq!(signed.signing_input().unwrap(), expected, "{text}");
    }
}

#[test]
fn a_malformed_object_is_held_and_its_view_refused() {
    #[derive(Debug, Deserialize)]
    struct Token {
        #[expect(dead_code, reason = "only reading it matters")]
        id: String,
    }

    let hold = |text: &str| serde_json::from_str::<Signed<Token>>(text).unwrap();
    for text in ["7", "null", "[]", "{}", r#"{"id":7}"#] {
        assert!(matches!(hold(text).view(), Err(JsonError::Shape { .. })), "{text}");
    }
    for text in ["7", "null", "[{}]", "\"a\"", " 7"] {
        assert_eq!(hold(text).signing_input(), Err(JsonError::NotAnObject), "{text}");
    }
    let twice = hold(r#"{"id":"a","unknown":{"b":1,"b":2}}"#);
    assert!(matches!(twice.view(), Err(JsonError::DuplicateKey { key, .. }) if key == "b"));
    assert!(matches!(twice.signing_input(), Err(JsonError::DuplicateKey { .. })));
    let deep = hold(&format!(r#"{{"id":"a","unknown":{}{}}}"#, "[".repeat(64), "]".repeat(64)));
    assert!(matches!(deep.view(), Err(JsonError::TooDeep { .. })));
    assert!(matches!(deep.signing_input(), Err(JsonError::TooDeep { .. })));
}

#[test]
fn errors_say_what_happened() {
    assert_eq!(
        strict::parse(r#"{"a":1,"a":1}"#).unwrap_err().to_string(),
        r#"the key "a" appears twice in one object, the second time at line 1 column 10"#
    );
    assert_eq!(
        strict::parse(&"[".repeat(65)).unwrap_err().to_string(),
        "objects and arrays are nested deeper than 64 at line 1 column 65"
    );
    let fault = canonical::scan(b"01").unwrap_err();
    assert_eq!(JsonError::from(fault).to_string(), fault.to_string());
}
