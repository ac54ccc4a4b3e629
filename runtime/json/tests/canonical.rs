//! The canonical writer and the scan, case by case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};

use chio_json::canonical::{self, Fault, NotCanonical};
use chio_json::{Json, JsonError, MAX_DEPTH};
use serde::Serialize;
use serde_json::json;

#[test]
fn integers_keep_their_digits() {
    for (value, text) in [
        (json!(9_007_199_254_740_993_u64), "9007199254740993"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
        (json!(0), "0"),
    ] {
        assert_eq!(canonical::from_value(&value), text);
        assert_eq!(canonical::from_text(text).unwrap(), text);
        assert_eq!(canonical::scan(text.as_bytes()), Ok(text));
    }
}

#[test]
fn floats_print_as_ecmascript_does() {
    for (input, text) in [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1E+21", "1e+21"),
        ("0.000001", "0.000001"),
        ("1e-6", "0.000001"),
        ("1e-7", "1e-7"),
        ("5e-324", "5e-324"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("-0.0000012345678901234567", "-0.0000012345678901234567"),
        ("18446744073709551616", "18446744073709552000"),
        ("-9223372036854775809", "-9223372036854776000"),
        ("9007199254740993.0", "9007199254740992"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ] {
        assert_eq!(canonical::from_text(input).unwrap(), text, "{input}");
        assert_eq!(canonical::scan(text.as_bytes()), Ok(text));
        assert_eq!(canonical::scan(input.as_bytes()).is_ok(), input == text, "{input}");
    }
}

#[test]
fn only_the_necessary_is_escaped() {
    let text: String =
        (0..0x20).map(char::from).chain("\"\\/\u{7f}\u{80}\u{9f}é\u{2028}😂".chars()).collect();
    let expected = concat!(
        r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
        r"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f",
        "\\\"\\\\/\u{7f}\u{80}\u{9f}é\u{2028}😂\"",
    );
    assert_eq!(canonical::from_value(&json!(text)), expected);
    assert_eq!(canonical::scan(expected.as_bytes()), Ok(expected));
}

#[test]
fn keys_sort_by_utf16_code_units() {
    // U+1F602 begins with the surrogate 0xD83D and therefore precedes U+FB33.
    let expected = "{\"\":0,\"\\n\":1,\"a\":2,\"é\":3,\"\u{1f602}\":4,\"\u{fb33}\":5}";
    let reversed = "{\"\u{fb33}\":5,\"\u{1f602}\":4,\"é\":3,\"a\":2,\"\\u000a\":1,\"\":0}";
    assert_eq!(canonical::from_text(reversed).unwrap(), expected);
    assert_eq!(canonical::scan(expected.as_bytes()), Ok(expected));
    assert_eq!(fault("{\"\u{fb33}\":5,\"\u{1f602}\":4}".as_bytes()), (9, Fault::KeyOrder));
}

#[test]
fn every_fault_has_its_place() {
    for (bytes, offset, expected) in [
        (&b"\"a\xff\""[..], 2, Fault::NotUtf8),
        (b"\"\xed\xa0\x80\"", 1, Fault::NotUtf8),
        (b"", 0, Fault::UnexpectedEnd),
        (b"[1", 2, Fault::UnexpectedEnd),
        (b"{\"a\"", 4, Fault::UnexpectedEnd),
        (b"\"abc", 4, Fault::UnexpectedEnd),
        (b"nul", 0, Fault::UnexpectedByte),
        (b"[1,]", 3, Fault::UnexpectedByte),
        (b"[,1]", 1, Fault::UnexpectedByte),
        (b"[1}", 2, Fault::UnexpectedByte),
        (b"{\"a\":1,}", 7, Fault::UnexpectedByte),
        (b"{a:1}", 1, Fault::UnexpectedByte),
        (b"{\"a\",1}", 4, Fault::UnexpectedByte),
        (b"+1", 0, Fault::UnexpectedByte),
        (b"NaN", 0, Fault::UnexpectedByte),
        (b"\xef\xbb\xbf1", 0, Fault::UnexpectedByte),
        (b" 1", 0, Fault::Whitespace),
        (b"1\n", 1, Fault::Whitespace),
        (b"[1, 2]", 3, Fault::Whitespace),
        (b"{\"a\" :1}", 4, Fault::Whitespace),
        (b"{ }", 1, Fault::Whitespace),
        (b"1]", 1, Fault::TrailingData),
        (b"{}{}", 2, Fault::TrailingData),
        (b"truefalse", 4, Fault::TrailingData),
        (b"\"a\tb\"", 2, Fault::ControlCharacter),
        (b"\"0123456\0\"", 8, Fault::ControlCharacter),
        (b"\"\\/\"", 1, Fault::Escape),
        (b"\"\\u0041\"", 1, Fault::Escape),
        (b"\"\\u000a\"", 1, Fault::Escape),
        (b"\"\\u0008\"", 1, Fault::Escape),
        (b"\"\\u001F\"", 1, Fault::Escape),
        (b"\"\\u007f\"", 1, Fault::Escape),
        (b"\"\\ud83d\\ude02\"", 1, Fault::Escape),
        (b"\"\\ud800\"", 1, Fault::Escape),
        (b"\"\\u00", 1, Fault::Escape),
        (b"\"\\x\"", 1, Fault::Escape),
        (b"\"\\", 1, Fault::Escape),
        (b"01", 0, Fault::Number),
        (b"-", 0, Fault::Number),
        (b"-0", 0, Fault::Number),
        (b"-01", 0, Fault::Number),
        (b"[1.0]", 1, Fault::Number),
        (b"1.", 0, Fault::Number),
        (b"1e3", 0, Fault::Number),
        (b"1e21", 0, Fault::Number),
        (b"1E+21", 0, Fault::Number),
        (b"1e400", 0, Fault::Number),
        (b"0.10", 0, Fault::Number),
        (b"1-2", 0, Fault::Number),
        (b"18446744073709551616", 0, Fault::Number),
        (b"-9223372036854775809", 0, Fault::Number),
        (b"{\"b\":1,\"a\":2}", 7, Fault::KeyOrder),
        (b"{\"ab\":1,\"a\":2}", 8, Fault::KeyOrder),
        (b"{\"a\":1,\"b\":2,\"a\":3}", 13, Fault::KeyOrder),
        (b"{\"b\":1,\"\\n\":2}", 7, Fault::KeyOrder),
        (b"{\"a\":1,\"a\":2}", 7, Fault::DuplicateKey),
        (b"[{\"\":1,\"\":1}]", 7, Fault::DuplicateKey),
        (b"{\"\\n\":1,\"\\n\":2}", 8, Fault::DuplicateKey),
        // The second spelling of `a` is a fault of its own, and it comes first.
        (b"{\"a\":1,\"\\u0061\":2}", 8, Fault::Escape),
    ] {
        assert_eq!(fault(bytes), (offset, expected), "{}", String::from_utf8_lossy(bytes));
    }
    let shown = canonical::scan(b"[1, 2]").unwrap_err().to_string();
    assert_eq!(shown, "this text is not canonical JSON: white space outside a string at byte 3");
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical::scan(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(fault(nested(MAX_DEPTH + 1).as_bytes()), (MAX_DEPTH, Fault::TooDeep));
    assert!(canonical::from_text(&nested(MAX_DEPTH)).is_ok());
    assert!(matches!(canonical::from_text(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep { .. })));

    let objects = |depth: usize| format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(canonical::scan(objects(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(fault(objects(MAX_DEPTH + 1).as_bytes()), (5 * MAX_DEPTH, Fault::TooDeep));
    assert_eq!(fault(&b"[".repeat(1_000_000)), (MAX_DEPTH, Fault::TooDeep));
}

#[test]
fn any_serialisable_value_becomes_canonical() {
    #[derive(Serialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Shape {
        Circle { radius: f32, centre: (i8, f64) },
        Named { opaque: Json },
    }

    let circle = Shape::Circle { radius: 0.5, centre: (-1, 1e21) };
    assert_eq!(
        canonical::to_string(&circle).unwrap(),
        r#"{"centre":[-1,1e+21],"radius":0.5,"type":"circle"}"#
    );
    let named = Shape::Named { opaque: Json::from_text(r#"{ "b": 1.0, "a": "\u0041" }"#.into()).unwrap() };
    assert_eq!(canonical::to_string(&named).unwrap(), r#"{"opaque":{"a":"A","b":1},"type":"named"}"#);
    assert_eq!(
        canonical::to_string(&BTreeMap::from([(10, 'a'), (9, 'b')])).unwrap(),
        r#"{"10":"a","9":"b"}"#
    );
    assert_eq!(canonical::to_string(&-0.0).unwrap(), "0");
    // A reader of doubles holds this f32 as this double.
    assert_eq!(canonical::to_string(&0.1_f32).unwrap(), "0.10000000149011612");
    assert_eq!(canonical::to_string(&i128::from(i64::MIN)).unwrap(), "-9223372036854775808");
    assert_eq!(canonical::to_string(&u128::from(u64::MAX)).unwrap(), "18446744073709551615");
}

#[test]
fn what_has_no_json_form_is_refused() {
    #[derive(Serialize)]
    struct Newtype<T>(T);

    let unwritable = |result: Result<String, JsonError>| match result {
        Err(JsonError::Unwritable { message }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(unwritable(canonical::to_string(&f64::NAN)), "NaN is not a finite number");
    assert_eq!(
        unwritable(canonical::to_string(&[Some(Newtype(f32::INFINITY))])),
        "inf is not a finite number"
    );
    assert_eq!(
        unwritable(canonical::to_string(&HashMap::from([("a", (1, f64::NEG_INFINITY))]))),
        "-inf is not a finite number"
    );
    assert_eq!(
        unwritable(canonical::to_string(&(1_i128 << 64))),
        "18446744073709551616 does not fit in 64 bits"
    );
    assert_eq!(unwritable(canonical::to_string(&u128::MAX)).len(), "does not fit in 64 bits".len() + 40);
    assert_eq!(unwritable(canonical::to_string(&HashMap::from([((1, 2), 3)]))), "key must be a string");
}

#[test]
fn what_would_not_be_read_strictly_is_refused() {
    let opaque = |text: &str| canonical::to_string(&[Json::from_text(text.into()).unwrap()]);
    assert!(matches!(opaque(r#"{"a":1,"a":2}"#), Err(JsonError::DuplicateKey { .. })));
    assert!(matches!(opaque(r#""\ud800""#), Err(JsonError::Syntax { .. })));
    assert!(matches!(opaque("1e400"), Err(JsonError::Syntax { .. })));
    assert!(matches!(
        opaque(&format!("{}{}", "[".repeat(64), "]".repeat(64))),
        Err(JsonError::TooDeep { .. })
    ));
}

fn fault(bytes: &[u8]) -> (usize, Fault) {
    let NotCanonical { offset, fault } = canonical::scan(bytes).unwrap_err();
    (offset, fault)
}
