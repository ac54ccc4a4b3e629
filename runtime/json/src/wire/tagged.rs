//! Unions whose tag lies among the fields of the variant it names.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{self, Impossible, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use super::text::Text;

/// The text of an object whose tag lies among the fields of the variant it names.
pub struct Tagged<'a> {
    key: &'static str,
    tag: Cow<'a, str>,
    text: &'a str,
}

impl<'a> Tagged<'a> {
    /// Finds the tag; everything before it is skipped, what follows is not looked at yet.
    ///
    /// # Errors
    /// A text that is no object, or an object without a string under `key`.
    pub fn scan(key: &'static str, text: &'a str) -> serde_json::Result<Self> {
        let mut found = None;
        let outcome =
            serde_json::Deserializer::from_str(text).deserialize_map(FindTag { key, found: &mut found });
        // Stopping at the tag leaves the object unfinished, which the deserializer reports as an error.
        match (found, outcome) {
            (Some(tag), _) => Ok(Self { key, tag, text }),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(de::Error::missing_field(key)),
        }
    }

    /// The tag's value.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Decodes the variant's fields from the text, the tag left out.
    ///
    /// # Errors
    /// Malformed JSON, a second tag, a missing, unknown or ill-typed field, text after the object.
    pub fn decode<T: Deserialize<'a>>(self) -> serde_json::Result<T> {
        T::deserialize(self)
    }

    /// Checks a variant that has no field besides the tag.
    ///
    /// # Errors
    /// As [`decode`](Self::decode): any further field is unknown.
    pub fn decode_empty(self) -> serde_json::Result<()> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        self.decode::<Empty>().map(|Empty {}| ())
    }

    /// The error for a tag that names no variant.
    #[must_use]
    pub fn unknown(&self, variants: &'static [&'static str]) -> serde_json::Error {
        de::Error::unknown_variant(&self.tag, variants)
    }
}

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> serde_json::Result<V::Value> {
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let value =
            deserializer.deserialize_map(WithoutTag { key: self.key, seen: false, inner: visitor })?;
        deserializer.end()?;
        Ok(value)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Looks for the tag and stops there.
struct FindTag<'a, 'de> {
    key: &'static str,
    found: &'a mut Option<Cow<'de, str>>,
}

impl<'de> Visitor<'de> for FindTag<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a string `{}`", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            if key == self.key {
                *self.found = Some(map.next_value::<Text<'de>>()?.0);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A visitor, or the map it is shown, from which the tag was taken away.
struct WithoutTag<T> {
    key: &'static str,
    seen: bool,
    inner: T,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WithoutTag<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(WithoutTag { key: self.key, seen: false, inner: map })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutTag<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(key)) = self.inner.next_key()? {
            if key != self.key {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            if std::mem::replace(&mut self.seen, true) {
                return Err(de::Error::duplicate_field(self.key));
            }
            self.inner.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// Writes a variant's fields with the tag at its sorted place among them.
///
/// # Errors
/// What writing `body` refuses; a `body` that is no struct is a fault of the generator and is refused too.
pub fn write_tagged<S, T>(
    serializer: S,
    key: &'static str,
    tag: &'static str,
    body: &T,
) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize,
{
    body.serialize(WithTag { key, tag, serializer })
}

/// Writes a variant that has no field besides the tag.
///
/// # Errors
/// What the serializer refuses.
pub fn write_empty<S: Serializer>(
    serializer: S,
    key: &'static str,
    tag: &'static str,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct(key, 1)?;
    object.serialize_field(key, tag)?;
    object.end()
}

/// Accepts one struct and adds the tag to its fields.
struct WithTag<S> {
    key: &'static str,
    tag: &'static str,
    serializer: S,
}

/// A struct being written; the tag goes in front of the first field that sorts after it.
struct TaggedFields<S> {
    key: &'static str,
    tag: Option<&'static str>,
    fields: S,
}

impl<S: SerializeStruct> TaggedFields<S> {
    fn write_tag(&mut self) -> Result<(), S::Error> {
        self.tag.take().map_or(Ok(()), |tag| self.fields.serialize_field(self.key, tag))
    }
}

impl<S: SerializeStruct> SerializeStruct for TaggedFields<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        if key > self.key {
            self.write_tag()?;
        }
        self.fields.serialize_field(key, value)
    }

    fn end(mut self) -> Result<S::Ok, S::Error> {
        self.write_tag()?;
        self.fields.end()
    }
}

/// The methods of a serializer that a union's body, always a struct, never calls.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$ok, S::Error> {
            Err(not_a_struct())
        }
    )*};
}

fn not_a_struct<E: ser::Error>() -> E {
    E::custom("the body of a tagged union is not a struct")
}

impl<S: Serializer> Serializer for WithTag<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = TaggedFields<S::SerializeStruct>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let fields = self.serializer.serialize_struct(name, len.saturating_add(1))?;
        Ok(TaggedFields { key: self.key, tag: Some(self.tag), fields })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        Err(not_a_struct())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        Err(not_a_struct())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        Err(not_a_struct())
    }

    refuse! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Impossible<S::Ok, S::Error>;
        serialize_tuple(usize) -> Impossible<S::Ok, S::Error>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<S::Ok, S::Error>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<S::Ok, S::Error>;
        serialize_map(Option<usize>) -> Impossible<S::Ok, S::Error>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<S::Ok, S::Error>;
    }
}
