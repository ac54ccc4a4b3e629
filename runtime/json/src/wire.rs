//! Support code of the generated wire types: decoding a tagged object from its text, writing the tag at its sorted
//! place, and the checks that serde's derive leaves out.
//!
//! Unions are decoded in two steps, from the text: the tag first (values are only skipped), then the variant it
//! names, from the same bytes. serde's derived tagged enums buffer every value in between, which costs half as much
//! again on large frames and makes [`RawValue`] fields fail at run time. The price: a union can be read by
//! `serde_json` only, and not from inside a derived tagged, untagged or flattened type.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Unexpected, Visitor,
};
use serde::ser::{self, Impossible, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The largest integer a field of ours may hold: 2^53 − 1, which every JSON implementation keeps exactly.
pub const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// A text that is not a value of the constrained type it was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue {
    expected: &'static str,
    rule: &'static str,
}

impl InvalidValue {
    /// Names the type and the rule that its values obey, in words that follow "a value of this type".
    #[must_use]
    pub const fn new(expected: &'static str, rule: &'static str) -> Self {
        Self { expected, rule }
    }

    /// The name of the type that refused the text.
    #[must_use]
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a valid {}: it {}", self.expected, self.rule)
    }
}

impl std::error::Error for InvalidValue {}

/// Reads a union by way of its text, for the places where it is nested in another type.
///
/// # Errors
/// Whatever `decode` refuses, and a deserializer that is not `serde_json`'s.
pub fn from_text<'de, D, T>(deserializer: D, decode: fn(&str) -> serde_json::Result<T>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Box::<RawValue>::deserialize(deserializer)?;
    decode(text.get()).map_err(de::Error::custom)
}

/// Reads a text through its `FromStr`: constrained strings and enumerations.
///
/// # Errors
/// A value that is no string, or a string that the type refuses.
pub fn from_str<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err = InvalidValue>,
{
    struct Text<T>(std::marker::PhantomData<T>);

    impl<T: std::str::FromStr<Err = InvalidValue>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

/// Reads an optional field that is there: it holds a value, `null` is not "absent".
///
/// # Errors
/// A value, `null` included, that is not a `T`.
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads a required field that may be `null`; with serde's default an absent one would pass.
///
/// # Errors
/// A value that is neither `null` nor a `T`.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}

/// Reads an array of at least one item.
///
/// # Errors
/// An empty array, or an item that is not a `T`.
pub fn non_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items = Vec::deserialize(deserializer)?;
    if items.is_empty() {
        return Err(de::Error::invalid_length(0, &"an array of at least one item"));
    }
    Ok(items)
}

/// Reads an object from an object only: serde's derived structs also read the values alone, from an array.
pub struct ObjectOnly<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// An integer field from 0 to 2^53 − 1, checked when it is read and when it is written.
pub mod safe_integer {
    use super::*;

    /// # Errors
    /// Anything but an integer from 0 to 2^53 − 1.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        integer::read::<0, MAX_SAFE_INTEGER, D>(deserializer)
    }

    /// # Errors
    /// A greater value, which only a program of ours can have put there.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        integer::write::<0, MAX_SAFE_INTEGER, S>(value, serializer)
    }

    /// The same for a field that may be absent.
    pub mod optional {
        use super::*;

        /// # Errors
        /// Anything but an integer from 0 to 2^53 − 1; `null` is refused.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            integer::read_present::<0, MAX_SAFE_INTEGER, D>(deserializer)
        }

        /// # Errors
        /// A greater value, which only a program of ours can have put there.
        pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
            integer::write_option::<0, MAX_SAFE_INTEGER, S>(value, serializer)
        }
    }

    /// The same for a field that may be null.
    pub mod nullable {
        use super::*;

        /// # Errors
        /// Anything but `null` or an integer from 0 to 2^53 − 1.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            integer::read_nullable::<0, MAX_SAFE_INTEGER, D>(deserializer)
        }

        /// # Errors
        /// A greater value, which only a program of ours can have put there.
        pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
            integer::write_option::<0, MAX_SAFE_INTEGER, S>(value, serializer)
        }
    }
}

/// An integer within the bounds that its schema states, checked when it is read and when it is written.
pub mod integer {
    use super::*;

    /// An integer from `MIN` to `MAX`, where a field's attribute cannot say so.
    pub struct Bounded<const MIN: u64, const MAX: u64>(pub u64);

    impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = u64::deserialize(deserializer)?;
            if (MIN..=MAX).contains(&value) {
                return Ok(Self(value));
            }
            Err(de::Error::invalid_value(Unexpected::Unsigned(value), &Bounds { min: MIN, max: MAX }))
        }
    }

    impl<const MIN: u64, const MAX: u64> Serialize for Bounded<MIN, MAX> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if (MIN..=MAX).contains(&self.0) {
                return serializer.serialize_u64(self.0);
            }
            Err(ser::Error::custom(format_args!("{} is not {}", self.0, Bounds { min: MIN, max: MAX })))
        }
    }

    /// # Errors
    /// Anything but an integer from `MIN` to `MAX`.
    pub fn read<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<u64, D::Error>
    where
        D: Deserializer<'de>,
    {
        Bounded::<MIN, MAX>::deserialize(deserializer).map(|value| value.0)
    }

    /// # Errors
    /// Anything but an integer from `MIN` to `MAX`; `null` is refused.
    pub fn read_present<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<Option<u64>, D::Error>
    where
        D: Deserializer<'de>,
    {
        read::<MIN, MAX, D>(deserializer).map(Some)
    }

    /// # Errors
    /// Anything but `null` or an integer from `MIN` to `MAX`.
    pub fn read_nullable<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<Option<u64>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<Bounded<MIN, MAX>>::deserialize(deserializer)?.map(|value| value.0))
    }

    /// # Errors
    /// A value outside `MIN..=MAX`, which only a program of ours can have put there.
    pub fn write<const MIN: u64, const MAX: u64, S>(value: &u64, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        Bounded::<MIN, MAX>(*value).serialize(serializer)
    }

    /// # Errors
    /// A value outside `MIN..=MAX`, which only a program of ours can have put there.
    pub fn write_option<const MIN: u64, const MAX: u64, S>(
        value: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        value.map(Bounded::<MIN, MAX>).serialize(serializer)
    }

    struct Bounds {
        min: u64,
        max: u64,
    }

    impl fmt::Display for Bounds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an integer from {} to {}", self.min, self.max)
        }
    }

    impl de::Expected for Bounds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }
}

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

/// A string, borrowed from the input unless it holds escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// An object that holds a tag and, beside it under a key of its own, what the variant carries.
pub struct Adjacent<'a> {
    content_key: &'static str,
    tag: Cow<'a, str>,
    content: Option<&'a RawValue>,
}

impl<'a> Adjacent<'a> {
    /// Reads both members; the content stays text until the variant is known.
    ///
    /// # Errors
    /// Malformed JSON, a missing or repeated tag, a repeated content, any other field.
    pub fn scan(tag_key: &'static str, content_key: &'static str, text: &'a str) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let (tag, content) = deserializer.deserialize_map(AdjacentVisitor { tag_key, content_key })?;
        deserializer.end()?;
        Ok(Self { content_key, tag, content })
    }

    /// The tag's value.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Decodes what the variant carries.
    ///
    /// # Errors
    /// An absent content, or one that is not a `T`.
    pub fn decode<T: Deserialize<'a>>(self) -> serde_json::Result<T> {
        match self.content {
            Some(content) => serde_json::from_str(content.get()),
            None => Err(de::Error::missing_field(self.content_key)),
        }
    }

    /// Checks a variant that carries nothing.
    ///
    /// # Errors
    /// A content that is there, `null` included.
    pub fn decode_empty(self) -> serde_json::Result<()> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(de::Error::custom(format_args!(
                "unexpected field `{}`: `{}` carries nothing",
                self.content_key, self.tag
            ))),
        }
    }

    /// The error for a tag that names no variant.
    #[must_use]
    pub fn unknown(&self, variants: &'static [&'static str]) -> serde_json::Error {
        de::Error::unknown_variant(&self.tag, variants)
    }
}

struct AdjacentVisitor {
    tag_key: &'static str,
    content_key: &'static str,
}

impl<'de> Visitor<'de> for AdjacentVisitor {
    type Value = (Cow<'de, str>, Option<&'de RawValue>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a string `{}`", self.tag_key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut tag, mut content) = (None, None);
        while let Some(Text(key)) = map.next_key()? {
            if key == self.tag_key {
                if tag.replace(map.next_value::<Text<'de>>()?.0).is_some() {
                    return Err(de::Error::duplicate_field(self.tag_key));
                }
            } else if key == self.content_key {
                if content.replace(map.next_value()?).is_some() {
                    return Err(de::Error::duplicate_field(self.content_key));
                }
            } else {
                return Err(de::Error::custom(format_args!(
                    "unknown field `{key}`, expected `{}` or `{}`",
                    self.tag_key, self.content_key
                )));
            }
        }
        Ok((tag.ok_or_else(|| de::Error::missing_field(self.tag_key))?, content))
    }
}

/// Writes a variant's fields with the tag at its sorted place among them.
///
/// # Errors
/// What writing `body` refuses; a `body` that is no struct with its fields in sorted order is a fault of the
/// generator and is refused too.
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

/// Writes a tag and, under a key of its own, what the variant carries, the smaller key first.
///
/// # Errors
/// What writing `content` refuses.
pub fn write_adjacent<S, T>(
    serializer: S,
    (tag_key, tag): (&'static str, &'static str),
    (content_key, content): (&'static str, &T),
) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize + ?Sized,
{
    let mut object = serializer.serialize_struct(tag_key, 2)?;
    if tag_key < content_key {
        object.serialize_field(tag_key, tag)?;
        object.serialize_field(content_key, content)?;
    } else {
        object.serialize_field(content_key, content)?;
        object.serialize_field(tag_key, tag)?;
    }
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
