//! The writer.

use serde_json::{Map, Value};

use super::{key, number, plain};

/// Appends the canonical text of a value.
pub(super) fn value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => number::write(out, number),
        Value::String(text) => string(out, text),
        Value::Array(items) => array(out, items),
        Value::Object(members) => object(out, members),
    }
}

fn array(out: &mut String, items: &[Value]) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        value(out, item);
    }
    out.push(']');
}

fn object(out: &mut String, members: &Map<String, Value>) {
    // The map is sorted by UTF-8 bytes (or, should some dependency switch on `preserve_order`, not at
    // all). Nearly always that is UTF-16 order already.
    if members.keys().is_sorted_by(|left, right| key::compare(left, right).is_lt()) {
        return self::members(out, members.iter());
    }
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by(|left, right| key::compare(left.0, right.0));
    self::members(out, sorted.into_iter());
}

fn members<'a>(out: &mut String, members: impl Iterator<Item = (&'a String, &'a Value)>) {
    out.push('{');
    for (index, (key, member)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(out, key);
        out.push(':');
        value(out, member);
    }
    out.push('}');
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        // The first byte that needs an escape is ASCII, hence a character boundary.
        let (plain, tail) = rest.split_at(plain::prefix_len(rest.as_bytes()));
        out.push_str(plain);
        let mut tail = tail.chars();
        match tail.next() {
            Some(special) => escape(out, special),
            None => break,
        }
        rest = tail.as_str();
    }
    out.push('"');
}

fn escape(out: &mut String, special: char) {
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{08}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{0c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        control => {
            out.push_str(if control < '\u{10}' { "\\u000" } else { "\\u001" });
            out.extend(char::from_digit(u32::from(control) & 0x0f, 16));
        }
    }
}
