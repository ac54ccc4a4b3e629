//! Values that are read by way of a text: constrained strings, enumerations, unions nested in other types.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

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
    T: FromStr<Err = InvalidValue>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = InvalidValue>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// A string, borrowed from the input unless it holds escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

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
