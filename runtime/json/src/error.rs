//! The one error of this crate.
//!
//! `serde_json::Error` can be neither cloned nor compared, and a [`Signed`](crate::Signed) object hands
//! the same error out many times; so its position and words are copied into a plain enum.

use crate::canonical::NotCanonical;

/// Why a text was refused, or why a value has no canonical text.
///
/// Lines and columns count from 1 and bytes from 0, as in `serde_json`; they are relative to the text
/// that was handed in, which may be a part of a larger message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON: wrong grammar, trailing data, a lone surrogate or a number too large for a double.
    #[error("this is not JSON at line {line} column {column}: {message}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// An object holds one key twice, so that two readers could see two different objects.
    #[error("the key {key:?} appears twice in one object, the second time at line {line} column {column}")]
    DuplicateKey {
        /// The key, decoded.
        key: String,
        /// Line where the reader stopped, just behind the second appearance.
        line: usize,
        /// Column where the reader stopped.
        column: usize,
    },
    /// More than [`MAX_DEPTH`](crate::MAX_DEPTH) objects and arrays are open at once.
    #[error("objects and arrays are nested deeper than {} at line {line} column {column}", crate::MAX_DEPTH)]
    TooDeep {
        /// Line where the reader stopped, just behind the bracket that is one too many.
        line: usize,
        /// Column where the reader stopped.
        column: usize,
    },
    /// The text is JSON but not a value of the wanted type.
    #[error("this JSON does not fit at line {line} column {column}: {message}")]
    Shape {
        /// Line of the fault, from 1; 0 when the reader could not tell.
        line: usize,
        /// Column of the fault, from 1; 0 when the reader could not tell.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// An object was needed, because only an object can be signed.
    #[error("only a JSON object can carry a signature, and this text holds another kind of value")]
    NotAnObject,
    /// The value cannot be written as JSON.
    #[error("this value cannot be written as JSON: {message}")]
    Unwritable {
        /// Why, for example a number that is not finite or a map key that is not a string.
        message: String,
    },
    /// The text was required to be canonical and is not.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// The text is not the hexadecimal form of the type.
    #[error("this is not a {type_name}, which is {form}: {fault}")]
    Hex {
        /// The type that was wanted, for example `Sha256Hex`.
        type_name: &'static str,
        /// Its form in words, for example `64 lower-case hexadecimal digits`.
        form: &'static str,
        /// What is wrong with the text.
        fault: HexFault,
    },
}

/// What is wrong with a hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexFault {
    /// The text does not begin with the prefix of its type.
    #[error("it does not begin with `0x`")]
    Prefix,
    /// The text is too short or too long.
    #[error("it has {found} digits")]
    Length {
        /// Bytes found after the prefix.
        found: usize,
    },
    /// A byte is not one of `0`–`9`, `a`–`f`.
    #[error("byte {offset} is not a lower-case hexadecimal digit")]
    Digit {
        /// Offset of the first wrong byte in the whole text, prefix included.
        offset: usize,
    },
}

impl JsonError {
    /// The error of reading a text into a type: grammar and shape are told apart.
    pub(crate) fn from_reading(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = without_position(error);
        if error.is_data() {
            Self::Shape { line, column, message }
        } else {
            Self::Syntax { line, column, message }
        }
    }
}

/// `serde_json` appends the position to its words; ours are fields.
fn without_position(error: &serde_json::Error) -> String {
    let mut words = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    if words.ends_with(&position) {
        words.truncate(words.len() - position.len());
    }
    words
}
