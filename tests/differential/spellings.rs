//! Other texts of a document: what differs in spelling only must be read alike, what says a thing twice not at all.

use serde_json::Value;

use crate::documents::Random;

/// A text of the same value with other white space, another order of members and escapes that are not needed.
pub(crate) fn respelled(document: &Value, random: &mut Random) -> String {
    let mut text = String::new();
    write(&mut text, document, random, &mut None);
    text
}

/// A text in which one object holds a member twice, or `None` when the document has no member at all.
pub(crate) fn doubled(document: &Value, random: &mut Random) -> Option<String> {
    let members = members(document);
    if members == 0 {
        return None;
    }
    let (mut text, chosen) = (String::new(), random.below(members));
    write(&mut text, document, random, &mut Some(chosen));
    Some(text)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.values().map(|member| 1 + members(member)).sum(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

/// `double` counts down to the member that is written twice.
fn write(text: &mut String, value: &Value, random: &mut Random, double: &mut Option<usize>) {
    space(text, random);
    match value {
        Value::Object(object) => {
            let mut order: Vec<_> = object.iter().collect();
            for place in (1..order.len()).rev() {
                order.swap(place, random.below(place + 1));
            }
            text.push('{');
            for (place, (key, member)) in order.into_iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                let twice = *double == Some(0);
                *double = double.and_then(|left| left.checked_sub(1));
                write_string(text, key, random);
                text.push(':');
                write(text, member, random, double);
                if twice {
                    text.push(',');
                    write_string(text, key, random);
                    text.push(':');
                    write(text, member, random, &mut None);
                }
            }
            space(text, random);
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                write(text, item, random, double);
            }
            space(text, random);
            text.push(']');
        }
        Value::String(string) => write_string(text, string, random),
        other => text.push_str(&other.to_string()),
    }
    space(text, random);
}

fn space(text: &mut String, random: &mut Random) {
    text.push_str(["", "", "", " ", "\n\t"][random.below(5)]);
}

fn write_string(text: &mut String, string: &str, random: &mut Random) {
    let escape_all = random.below(8) == 0;
    text.push('"');
    for character in string.chars() {
        if escape_all || character < ' ' || matches!(character, '"' | '\\') {
            let mut units = [0; 2];
            character
                .encode_utf16(&mut units)
                .iter()
                .for_each(|unit| text.push_str(&format!("\\u{unit:04X}")));
        } else {
            text.push(character);
        }
    }
    text.push('"');
}
