//! Canonical JSON.

use chio_json::canonical;
use serde::{Deserialize, Serialize};

use crate::family::{Family, Named, named, same};

pub(crate) enum Canonical {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    text: String,
    canonical: Option<String>,
}

impl Family for Canonical {
    const NAME: &'static str = "canonical";
    const ABOUT: &'static str = "Each `text` has the canonical text `canonical`; where that is null, the text must be \
        refused. A scan must accept exactly the texts that equal their canonical text. Integers of 64 bits keep all \
        digits, which RFC 8785 leaves to the application.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let sound = SOUND.iter().map(|(id, about, text, canonical)| {
            named(*id, *about, Case { text: (*text).into(), canonical: Some((*canonical).into()) })
        });
        let refused = REFUSED
            .iter()
            .map(|(id, about, text)| named(*id, *about, Case { text: (*text).into(), canonical: None }));
        sound.chain(refused).chain(depths()).collect()
    }

    fn judge(case: &Case) -> Result<(), String> {
        same("canonical text", case.canonical.clone(), canonical::from_text(&case.text).ok())?;
        let is_canonical = case.canonical.as_deref() == Some(&case.text);
        same("canonical already", is_canonical, canonical::scan(case.text.as_bytes()).is_ok())
    }
}

fn depths() -> [Named<Case>; 2] {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    [
        named("depth-64", "sixty-four open arrays", Case { text: nested(64), canonical: Some(nested(64)) }),
        named("depth-65", "one more is refused", Case { text: nested(65), canonical: None }),
    ]
}

#[rustfmt::skip]
const SOUND: &[(&str, &str, &str, &str)] = &[
    ("null", "a bare literal is a value", "null", "null"),
    ("spaces", "white space goes away", " { \"a\" : [ 1 , true ] }\n", "{\"a\":[1,true]}"),
    ("empty-object", "nothing inside", "{}", "{}"),
    ("integer-zero", "", "0", "0"),
    ("integer-minus-zero", "minus zero has no sign", "-0", "0"),
    ("float-minus-zero", "minus zero has no sign", "-0.0", "0"),
    ("integer-2-53-minus-1", "the last integer that a double and its neighbours hold apart", "9007199254740991", "9007199254740991"),
    ("integer-2-53", "", "9007199254740992", "9007199254740992"),
    ("integer-2-53-plus-1", "no double has this value, and no digit may change", "9007199254740993", "9007199254740993"),
    ("integer-minus-2-53-minus-1", "", "-9007199254740993", "-9007199254740993"),
    ("integer-snowflake", "an identifier as chat services issue them", "{\"channel\":1234567890123456789}", "{\"channel\":1234567890123456789}"),
    ("integer-i64-max", "", "9223372036854775807", "9223372036854775807"),
    ("integer-i64-min", "", "-9223372036854775808", "-9223372036854775808"),
    ("integer-u64-max", "", "18446744073709551615", "18446744073709551615"),
    ("integer-u64-max-plus-1", "beyond 64 bits a number is a double", "18446744073709551616", "18446744073709552000"),
    ("integer-i64-min-minus-1", "beyond 64 bits a number is a double", "-9223372036854775809", "-9223372036854776000"),
    ("float-whole", "a whole double prints as an integer", "1.0", "1"),
    ("float-exponent-whole", "", "1e2", "100"),
    ("float-2-53-plus-1", "written with a fraction it is a double, and rounds", "9007199254740993.0", "9007199254740992"),
    ("float-upper-case", "", "1E30", "1e+30"),
    ("float-1e20", "the last power of ten without an exponent", "1e20", "100000000000000000000"),
    ("float-1e21", "the first with one", "1e21", "1e+21"),
    ("float-1e-6", "the last without an exponent", "0.000001", "0.000001"),
    ("float-1e-7", "the first with one", "0.0000001", "1e-7"),
    ("float-sum", "all digits that are needed", "0.30000000000000004", "0.30000000000000004"),
    ("float-superfluous-digits", "and no more", "0.1000000000000000055511151231257827", "0.1"),
    ("float-smallest", "", "5e-324", "5e-324"),
    ("float-largest", "", "1.7976931348623157e308", "1.7976931348623157e+308"),
    ("float-underflow", "", "1e-400", "0"),
    ("float-tie", "halfway between two doubles", "333333333.33333329", "333333333.3333333"),
    ("string-escapes-short", "the escapes that JSON has letters for", "\"\\u0008\\u0009\\u000a\\u000c\\u000d\\u0022\\u005c\"", "\"\\b\\t\\n\\f\\r\\\"\\\\\""),
    ("string-escapes-control", "other controls, in lower case", "\"\\u0000\\u001F\"", "\"\\u0000\\u001f\""),
    ("string-solidus", "needs no escape", "\"\\/\"", "\"/\""),
    ("string-letter", "an escape that is not needed goes away", "\"\\u0041\"", "\"A\""),
    ("string-del-and-c1", "U+007F to U+009F stay raw", "\"\\u007f\\u0080\\u009f\"", "\"\u{7f}\u{80}\u{9f}\""),
    ("string-line-separators", "U+2028 and U+2029 stay raw", "\"\\u2028\\u2029\"", "\"\u{2028}\u{2029}\""),
    ("string-surrogate-pair", "a pair is one character", "\"\\ud83d\\ude00\"", "\"\u{1f600}\""),
    ("string-not-normalised", "composed and decomposed stay apart", "[\"\u{e9}\",\"e\u{301}\"]", "[\"\u{e9}\",\"e\u{301}\"]"),
    ("keys-sorted", "", "{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"),
    ("keys-utf-16", "U+1F600 begins with the unit D83D and so comes before U+FB33", "{\"\u{fb33}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{fb33}\":1}"),
    ("keys-digits", "keys are text, also when they look like numbers", "{\"10\":1,\"9\":2,\"1\":3}", "{\"1\":3,\"10\":1,\"9\":2}"),
    ("keys-prefix", "the shorter one first, the empty one before all", "{\"aa\":1,\"\":2,\"a\":3}", "{\"\":2,\"a\":3,\"aa\":1}"),
    ("keys-escaped", "keys are compared as what they mean", "{\"\\u0062\":1,\"a\":2}", "{\"a\":2,\"b\":1}"),
    ("keys-nested", "at every depth", "[{\"z\":{\"d\":1,\"c\":2},\"y\":3}]", "[{\"y\":3,\"z\":{\"c\":2,\"d\":1}}]"),
    ("array-order", "arrays keep theirs", "[3,1,2]", "[3,1,2]"),
];

#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    ("refused-empty", "no value", ""),
    ("refused-trailing", "two values", "1 2"),
    ("refused-comma", "a comma with nothing behind it", "[1,]"),
    ("refused-duplicate-key", "two readers could see two meanings", "{\"a\":1,\"a\":1}"),
    ("refused-duplicate-key-escaped", "the same key spelt twice", "{\"a\":1,\"\\u0061\":2}"),
    ("refused-duplicate-key-nested", "", "{\"a\":[{\"b\":1,\"b\":2}]}"),
    ("refused-lone-high-surrogate", "no character", "\"\\ud800\""),
    ("refused-lone-low-surrogate", "no character", "\"\\udc00\""),
    ("refused-reversed-surrogates", "no character", "\"\\ude00\\ud83d\""),
    ("refused-lone-surrogate-key", "no character", "{\"\\udead\":1}"),
    ("refused-overflow", "no double is that large", "1e400"),
    ("refused-nan", "not JSON", "NaN"),
    ("refused-infinity", "not JSON", "-Infinity"),
    ("refused-plus", "not JSON", "+1"),
    ("refused-leading-zero", "not JSON", "01"),
    ("refused-leading-point", "not JSON", ".5"),
    ("refused-trailing-point", "not JSON", "1."),
    ("refused-hexadecimal", "not JSON", "0x10"),
    ("refused-single-quotes", "not JSON", "{'a':1}"),
    ("refused-comment", "not JSON", "1/**/"),
    ("refused-raw-control", "a line feed inside a string", "\"\n\""),
    ("refused-unknown-escape", "not JSON", "\"\\x41\""),
    ("refused-byte-order-mark", "not JSON", "\u{feff}1"),
    ("refused-unclosed", "cut short", "{\"a\":1"),
];
