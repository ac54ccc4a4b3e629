//! Sound documents made from a schema, and the ways to damage them.

use serde_json::{Map, Value, json};

use crate::specification::Specification;

/// Random numbers that are the same on every machine (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(*self.pick(b"0123456789abcdef"))).collect()
    }
}

const BIG: u64 = 9_007_199_254_740_991;

/// A document that the schema accepts.
pub(crate) fn sound(specification: &Specification, file: &str, schema: &Value, random: &mut Random) -> Value {
    let nested = |schema: &Value, random: &mut Random| sound(specification, file, schema, random);
    if let Some(reference) = schema["$ref"].as_str() {
        let (file, schema) = specification.follow(file, reference);
        return sound(specification, &file, schema, random);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(branches) = schema[choice].as_array() {
            return nested(random.pick(branches), random);
        }
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return random.pick(values).clone();
    }
    if schema["x-chio-opaque"] == true {
        return opaque(random, 3);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => random.pick(kinds).clone(),
        kind => kind.clone(),
    };
    match kind.as_str().unwrap() {
        "null" => Value::Null,
        "boolean" => json!(random.below(2) == 0),
        "integer" => {
            let (min, max) = (schema["minimum"].as_u64().unwrap(), schema["maximum"].as_u64().unwrap());
            let middle = min + random.next() % (max - min + 1);
            json!(random.pick(&[min, max, middle, middle % 1000 + min]).min(&max))
        }
        "string" => json!(string(schema, random)),
        "array" => {
            let min = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
            let max = schema["maxItems"].as_u64().map_or(min + 2, |max| usize::try_from(max).unwrap());
            let length = min + random.below(max - min + 1);
            (0..length).map(|_| nested(&schema["items"], random)).collect()
        }
        "object" => {
            let required = schema["required"].as_array().unwrap();
            let mut members = Map::new();
            for (name, property) in schema["properties"].as_object().unwrap() {
                if required.contains(&json!(name)) || random.below(2) == 0 {
                    members.insert(name.clone(), nested(property, random));
                }
            }
            Value::Object(members)
        }
        other => panic!("the profile has no {other}"),
    }
}

fn string(schema: &Value, random: &mut Random) -> String {
    match schema["pattern"].as_str() {
        Some("^[0-9a-f]{64}$") => return random.hex(64),
        Some("^[0-9a-f]{128}$") => return random.hex(128),
        Some("^0x[0-9a-f]{64}$") => return format!("0x{}", random.hex(64)),
        Some("^[A-Z]{3}$") => return (*random.pick(&["EUR", "USD", "XAU"])).to_owned(),
        Some(other) => panic!("teach the test to make strings that match {other}"),
        None => {}
    }
    let plain =
        *random.pick(&["a", "files", "*", "ä \u{1f980} \u{7f}", "\" \\ \n \u{1}", "e\u{301}\u{fffd}"]);
    match schema["maxLength"].as_u64() {
        Some(max) if random.below(8) == 0 => {
            (*random.pick(&["m", "ü", "\u{1f980}"])).repeat(usize::try_from(max).unwrap())
        }
        Some(_) => plain.to_owned(),
        None => (*random.pick(&["", plain])).to_owned(),
    }
}

/// Any JSON; every text of it must survive.
fn opaque(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.next()),
        3 => json!(-(i64::try_from(random.next() >> 1).unwrap())),
        4 => json!(f64::from_bits(random.next() & 0xbfff_ffff_ffff_ffff)),
        5 => json!(string(&json!({}), random)),
        6 => (0..random.below(4)).map(|_| opaque(random, depth - 1)).collect(),
        _ => {
            let names = ["type", "a", "\u{e9}", "", "signature"];
            (0..random.below(4))
                .map(|_| ((*random.pick(&names)).to_owned(), opaque(random, depth - 1)))
                .collect()
        }
    }
}

/// Changes one place of a document. Inside an opaque value that changes nothing of the verdict.
pub(crate) fn damage(document: &mut Value, random: &mut Random) {
    let mut pointers = Vec::new();
    places(document, String::new(), &mut pointers);
    let elsewhere = document.pointer(random.pick(&pointers).as_str()).unwrap().clone();
    let place = document.pointer_mut(random.pick(&pointers).as_str()).unwrap();
    match random.below(10) {
        0 => *place = Value::Null,
        1 => *place = retyped(random),
        2 => *place = elsewhere,
        3 => *place = number(random),
        _ => match place {
            Value::Object(members) => object(members, random, elsewhere),
            Value::Array(items) => array(items, random, elsewhere),
            Value::String(text) => *text = other_text(text, random),
            Value::Number(_) => *place = number(random),
            Value::Bool(_) | Value::Null => *place = retyped(random),
        },
    }
    // An object given as the array of its values: serde's derived structs would read it.
    if random.below(25) == 0 {
        let place = document.pointer_mut(random.pick(&pointers).as_str());
        if let Some(place @ Value::Object(_)) = place {
            *place = place.as_object().unwrap().values().cloned().collect();
        }
    }
}

fn places(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let step = name.replace('~', "~0").replace('/', "~1");
                places(member, format!("{pointer}/{step}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{pointer}/{index}"), pointers);
            }
        }
        _ => {}
    }
    pointers.push(pointer);
}

fn object(members: &mut Map<String, Value>, random: &mut Random, elsewhere: Value) {
    let names: Vec<String> = members.keys().cloned().collect();
    match random.below(4) {
        0 | 1 if !names.is_empty() => drop(members.remove(random.pick(&names))),
        2 if !names.is_empty() => {
            let name = random.pick(&names);
            let value = members.remove(name).unwrap();
            members.insert(format!("{name}_"), value);
        }
        _ => {
            let known = ["detail", "value", "reason", "metadata", "algorithm", "type", "x", ""];
            members.insert((*random.pick(&known)).to_owned(), elsewhere);
        }
    }
}

fn array(items: &mut Vec<Value>, random: &mut Random, elsewhere: Value) {
    match random.below(4) {
        0 => items.clear(),
        1 => drop(items.pop()),
        2 => items.push(items.first().cloned().unwrap_or(Value::Null)),
        _ => items.push(elsewhere),
    }
}

fn other_text(text: &str, random: &mut Random) -> String {
    let shortened: String = text.chars().skip(1).collect();
    match random.below(8) {
        0 => String::new(),
        1 => shortened,
        2 => text.to_uppercase(),
        3 => format!("{text}\n"),
        4 => format!("{text}0"),
        5 => (*random.pick(&["m", "ü", "\u{1f980}"])).repeat(*random.pick(&[256, 257, 512, 513])),
        6 => (*random.pick(&[
            "allow",
            "deny",
            "ok",
            "err",
            "heartbeat",
            "capability_expired",
            "path_prefix",
            "none",
        ]))
        .to_owned(),
        _ => text.replacen(['0', 'a', 'E'], "g", 1),
    }
}

fn number(random: &mut Random) -> Value {
    let numbers = [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(65_535),
        json!(65_536),
        json!(4_294_967_295_u64),
        json!(4_294_967_296_u64),
        json!(BIG),
        json!(BIG + 1),
        json!(u64::MAX),
    ];
    random.pick(&numbers).clone()
}

fn retyped(random: &mut Random) -> Value {
    let values = [
        json!(true),
        json!("text"),
        json!(7),
        json!([]),
        json!({}),
        json!([[]]),
        json!({"type": "heartbeat"}),
    ];
    random.pick(&values).clone()
}
