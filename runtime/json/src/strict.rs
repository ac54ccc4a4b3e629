//! Reading JSON so that a text has one meaning.
//!
//! `serde_json` keeps the last of two equal keys without a word, other readers keep the first; a guard
//! and a tool server could then see different arguments in one signed text. So: duplicate keys anywhere,
//! more than [`MAX_DEPTH`] open objects and arrays, lone surrogates, trailing data and numbers beyond the
//! range of a double are errors.
//!
//! Integers beyond the 64-bit range become doubles, as `serde_json` does; they lose digits here, and the
//! canonical text of the value shows the digits that are left.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{JsonError, MAX_DEPTH, canonical};

/// Reads one JSON value.
///
/// # Errors
/// [`JsonError::Syntax`], [`JsonError::DuplicateKey`] or [`JsonError::TooDeep`], with line and column.
///
/// ```
/// let refused = chio_json::strict::parse(r#"{"path":"a","path":"b"}"#).unwrap_err();
/// assert!(refused.to_string().starts_with("the key \"path\" appears twice"));
/// ```
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, refusal: &refusal }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match refusal.take() {
            Some(Refusal::DuplicateKey(key)) => JsonError::DuplicateKey { key, line, column },
            Some(Refusal::TooDeep) => JsonError::TooDeep { line, column },
            None => JsonError::from_reading(&error),
        }
    })
}

/// Reads one JSON value of a type, after making sure that the whole text, opaque parts included, can be
/// read in one way only.
///
/// # Errors
/// Whatever [`parse`] refuses, and [`JsonError::Shape`] when the value does not fit the type.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    // Canonical text is unambiguous, and telling so is far cheaper than parsing.
    if canonical::scan(text.as_bytes()).is_err() {
        parse(text)?;
    }
    serde_json::from_str(text).map_err(|error| JsonError::from_reading(&error))
}

/// What this module refuses beyond `serde_json`. Kept beside the error, which can only carry words.
enum Refusal {
    DuplicateKey(String),
    TooDeep,
}

/// Builds a [`Value`] with `depth` objects and arrays open around it.
#[derive(Clone, Copy)]
struct Strict<'r> {
    depth: usize,
    refusal: &'r RefCell<Option<Refusal>>,
}

impl Strict<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(Refusal::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn refuse<E: de::Error>(self, refusal: Refusal) -> E {
        self.refusal.replace(Some(refusal));
        E::custom("refused by the strict reader")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.refuse(Refusal::DuplicateKey(key)));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
