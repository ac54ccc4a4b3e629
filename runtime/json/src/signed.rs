//! An object that somebody signed: its exact text, and a view that is parsed when asked for.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Json, JsonError, canonical, strict};

/// The members that a signature never covers: itself, and the optional name of its algorithm.
const UNSIGNED_MEMBERS: [&str; 2] = ["algorithm", "signature"];

/// A signed object as it was received: its original text and a lazily parsed view.
///
/// Forwarding, storing and hashing use the text, so nothing that somebody else signed is ever rewritten.
/// Deserialising accepts any JSON value: whether the object makes sense is asked by [`view`](Self::view),
/// so that a malformed token is a denial with a reason and not a frame that cannot be read.
///
/// Clones share the text and the view. Two signed objects are equal when their texts are.
///
/// ```
/// use chio_json::{Signed, SignatureHex};
///
/// #[derive(serde::Deserialize)]
/// struct Token {
///     id: String,
///     signature: SignatureHex,
/// }
///
/// let text = format!(r#"{{"id":"cap-1","signature":"{}"}}"#, "0f".repeat(64));
/// let token: Signed<Token> = Signed::from_text(text)?;
/// assert_eq!(token.signing_input()?, r#"{"id":"cap-1"}"#);
/// assert_eq!(token.view().unwrap().signature, SignatureHex::from_bytes([0x0f; 64]));
/// # Ok::<(), chio_json::JsonError>(())
/// ```
pub struct Signed<T>(Arc<Inner<T>>);

struct Inner<T> {
    text: Box<RawValue>,
    view: OnceLock<Result<T, JsonError>>,
}

impl<T> Signed<T> {
    /// Keeps a text that holds one JSON value; white space around it is dropped.
    ///
    /// # Errors
    /// [`JsonError::Syntax`] when the text is not one JSON value.
    pub fn from_text(text: String) -> Result<Self, JsonError> {
        RawValue::from_string(text).map(Self::new).map_err(|error| JsonError::from_reading(&error))
    }

    /// Keeps the text that `object` was just written as, so that nobody has to read it again.
    ///
    /// # Errors
    /// [`JsonError::Syntax`] when the text is not one JSON value.
    pub fn written(text: String, object: T) -> Result<Self, JsonError> {
        let signed = Self::from_text(text)?;
        // Nobody else has it yet, so its view is not set.
        let _ = signed.0.view.set(Ok(object));
        Ok(signed)
    }

    /// The text as it was received.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get()
    }

    /// The bytes that the signature covers: the canonical text of the object without its top-level
    /// members `signature` and `algorithm`.
    ///
    /// A canonical text is scanned and the two members are cut out; any other text is parsed strictly
    /// and rewritten.
    ///
    /// # Errors
    /// Those of [`strict::parse`], and [`JsonError::NotAnObject`].
    pub fn signing_input(&self) -> Result<String, JsonError> {
        if let Ok(input) = canonical::scan_object_without(self.text(), &UNSIGNED_MEMBERS) {
            return Ok(input);
        }
        let Value::Object(mut members) = strict::parse(self.text())? else {
            return Err(JsonError::NotAnObject);
        };
        for name in UNSIGNED_MEMBERS {
            members.remove(name);
        }
        Ok(canonical::from_value(&Value::Object(members)))
    }

    fn new(text: Box<RawValue>) -> Self {
        Self(Arc::new(Inner { text, view: OnceLock::new() }))
    }
}

impl<T: DeserializeOwned> Signed<T> {
    /// The object as its type, parsed on the first call.
    ///
    /// The reading is strict: a text that two readers could understand differently has no view.
    ///
    /// # Errors
    /// Those of [`strict::from_str`], the same at every call.
    pub fn view(&self) -> Result<&T, &JsonError> {
        self.0.view.get_or_init(|| strict::from_str(self.text())).as_ref()
    }
}

impl<T> From<Json> for Signed<T> {
    /// Takes any JSON value for a signed object; whether it is one is asked by [`view`](Self::view).
    fn from(value: Json) -> Self {
        Self::new(value.into_raw())
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Signed").field(&format_args!("{}", self.text())).finish()
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl<T> Eq for Signed<T> {}

impl<T> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.text.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Signed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::new)
    }
}
