//! Any JSON value, kept as the text it arrived in.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{JsonError, canonical, strict};

/// Any JSON value, kept as the text it arrived in: tool arguments, results, evidence.
///
/// Reading one costs a copy of the text and no parse, and writing it gives back the same bytes. The
/// price: the text is known to be grammatical JSON and nothing more. Duplicate keys, any depth and lone
/// surrogates pass until somebody looks inside, and every method that does look inside is strict.
///
/// Two values are equal when their texts are. Deserialising works from JSON text and from
/// `serde_json::Value`, not inside types that serde buffers (untagged, flattened and derived tagged
/// enums): that is a limit of `RawValue`.
///
/// ```
/// use chio_json::Json;
///
/// let arguments: Json = serde_json::from_str(r#"{ "path": "/srv", "limit": 1e2 }"#)?;
/// assert_eq!(serde_json::to_string(&arguments)?, r#"{ "path": "/srv", "limit": 1e2 }"#);
/// assert_eq!(arguments.canonical()?, r#"{"limit":100,"path":"/srv"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Keeps a text that holds one JSON value; white space around it is dropped.
    ///
    /// # Errors
    /// [`JsonError::Syntax`] when the text is not one JSON value.
    pub fn from_text(text: String) -> Result<Self, JsonError> {
        RawValue::from_string(text).map(Self).map_err(|error| JsonError::from_reading(&error))
    }

    /// The canonical text of a parsed value.
    #[must_use]
    pub fn from_value(value: &Value) -> Self {
        Self::from_writer(canonical::from_value(value))
    }

    /// The canonical text of anything that serialises.
    ///
    /// # Errors
    /// Those of [`canonical::to_string`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        canonical::to_string(value).map(Self::from_writer)
    }

    /// The value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The value, read strictly.
    ///
    /// # Errors
    /// Those of [`strict::parse`].
    pub fn to_value(&self) -> Result<Value, JsonError> {
        strict::parse(self.get())
    }

    /// The value as a type, read strictly.
    ///
    /// # Errors
    /// Those of [`strict::from_str`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        strict::from_str(self.get())
    }

    /// The canonical text, borrowed when the text is canonical already.
    ///
    /// # Errors
    /// Those of [`strict::parse`].
    pub fn canonical(&self) -> Result<Cow<'_, str>, JsonError> {
        match canonical::scan(self.get().as_bytes()) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => canonical::from_text(self.get()).map(Cow::Owned),
        }
    }

    /// The text without the type that opens it strictly.
    pub(crate) fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    #[expect(clippy::expect_used, reason = "the canonical writer emits exactly one JSON value")]
    fn from_writer(canonical: String) -> Self {
        Self(RawValue::from_string(canonical).expect("canonical text is JSON"))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.get())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}
