//! Editing a JSON object without touching the values that stay.
//!
//! Relayed payloads keep their bytes. Where one member has to change (a progress token on the way
//! up, a receipt id on the way down) the object is taken apart into its members, one is replaced, and
//! the rest is copied as text. Duplicate keys are refused: two parsers could read two meanings.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use chio_json::Json;

/// The members of a JSON object in the order they arrived in; values are slices of the original text.
#[derive(Clone, Debug, Default)]
pub struct Members<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Members<'a> {
    /// Takes an object apart.
    ///
    /// # Errors
    /// The parser's message when the text is not a JSON object or names a key twice.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The JSON text of a member.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    /// The member as a string, or `None` when it is absent or of another type.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|text| serde_json::from_str(text).ok())
    }

    /// Replaces a member in its place or appends it; `value` must be JSON text.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, slot)) => *slot = value,
            None => self.entries.push((Cow::Borrowed(key), value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Keeps the members whose key passes.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|(name, _)| keep(name));
    }

    /// Whether no member is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and the JSON text of their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// The object as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let size: usize = self.entries.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        for (index, (key, value)) in self.entries.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&quote(key));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }

    /// The object as an opaque value.
    ///
    /// # Errors
    /// When a value handed to [`Members::set`] was not JSON.
    pub fn to_json(&self) -> Result<Json, chio_json::JsonError> {
        Json::from_text(self.to_text())
    }
}

/// The JSON text of a string.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some(Key(key)) = map.next_key()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format_args!("the key {key:?} appears twice")));
                    }
                    let value: &'de RawValue = map.next_value()?;
                    entries.push((key, Cow::Borrowed(value.get())));
                }
                Ok(Members { entries })
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A key borrowed from the text where it holds no escape (serde's own `Cow` always owns).
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}
