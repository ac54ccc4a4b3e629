//! A value that remembers the line and column it was written at.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_saphyr::Spanned;

/// A value of a YAML file together with the place it was written at.
///
/// Two located values are equal when their values are: moving a rule to another line does not change a
/// policy. In JSON, in the schema and when written back to YAML the value stands alone.
#[derive(Clone, Copy, Debug)]
pub struct Located<T> {
    /// The value itself.
    pub value: T,
    line: u32,
    column: u32,
}

impl<T> Located<T> {
    /// A value that was written by no file, for example a default.
    pub fn nowhere(value: T) -> Self {
        Self { value, line: 0, column: 0 }
    }

    /// The line, counted from 1, or `None` when the value came from no file.
    pub fn line(&self) -> Option<u32> {
        (self.line > 0).then_some(self.line)
    }

    /// The column in characters, counted from 1, or `None` when the value came from no file.
    pub fn column(&self) -> Option<u32> {
        (self.column > 0).then_some(self.column)
    }

    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), line: self.line, column: self.column }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl<T: Serialize> Serialize for Located<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `referenced` is where the reader sees the value: for an alias the place of use, not the anchor.
        Spanned::<T>::deserialize(deserializer).map(|spanned| Self {
            line: bounded(spanned.referenced.line()),
            column: bounded(spanned.referenced.column()),
            value: spanned.value,
        })
    }
}

/// Nobody reads a policy of four billion lines; receipts hold 32 bits.
fn bounded(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
