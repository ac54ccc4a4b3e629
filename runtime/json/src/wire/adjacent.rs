//! Unions that hold what a variant carries under a key of its own, beside the tag.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde_json::value::RawValue;

use super::text::Text;

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
