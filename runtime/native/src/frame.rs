//! One frame: a 32-bit big-endian length and that many bytes of canonical JSON.
//!
//! This module is pure; reading from and writing to a transport stand in [`reader`](crate::FrameReader) and
//! `outbox`. The canonical scan runs over the whole payload before the message is decoded. So it also covers the
//! parts that stay opaque (arguments, nested signed objects), where a decoder alone would let duplicate keys and
//! absurd depth pass, and every nested signed object can later be verified from its own bytes.

use chio_json::canonical;
use chio_spec::{AgentMessage, KernelMessage, versions};
use serde::Serialize;

use crate::NativeError;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Largest payload, in bytes, in either direction: 16 MiB (wire protocol, framing).
pub const MAX_PAYLOAD_BYTES: usize = versions::MAX_FRAME_BYTES as usize;

/// A message family of the native wire.
///
/// Sealed: the two families are [`AgentMessage`] and [`KernelMessage`].
pub trait Message: sealed::Family + Serialize + Sized {}

impl Message for AgentMessage {}
impl Message for KernelMessage {}

mod sealed {
    use super::{AgentMessage, KernelMessage};

    pub trait Family: Sized {
        const NAME: &'static str;
        fn from_json(text: &str) -> serde_json::Result<Self>;
    }

    impl Family for AgentMessage {
        const NAME: &'static str = "AgentMessage";
        fn from_json(text: &str) -> serde_json::Result<Self> {
            Self::from_json(text)
        }
    }

    impl Family for KernelMessage {
        const NAME: &'static str = "KernelMessage";
        fn from_json(text: &str) -> serde_json::Result<Self> {
            Self::from_json(text)
        }
    }
}

/// The bytes of one frame, prefix included.
///
/// Opaque values inside the message are rewritten canonically when they are not canonical yet; the members of
/// nested signed objects are canonical since they were signed or received.
///
/// # Errors
/// [`NativeError::OutgoingTooLarge`] above [`MAX_PAYLOAD_BYTES`]; [`NativeError::Unwritable`] when a value inside
/// has no canonical text, for example an object with a duplicate key.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, NativeError> {
    let text = canonical::to_string(message).map_err(NativeError::Unwritable)?;
    let length = text.len();
    let too_large = || NativeError::OutgoingTooLarge { length, limit: MAX_PAYLOAD_BYTES };
    if length > MAX_PAYLOAD_BYTES {
        return Err(too_large());
    }
    let prefix = u32::try_from(length).map_err(|_| too_large())?.to_be_bytes();
    let mut frame = Vec::with_capacity(PREFIX_BYTES + length);
    frame.extend_from_slice(&prefix);
    frame.extend_from_slice(text.as_bytes());
    Ok(frame)
}

/// The message that a payload, without its prefix, holds.
///
/// # Errors
/// [`NativeError::NotCanonical`] and [`NativeError::NotOfFamily`]: both are the wire's deserialization failure.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, NativeError> {
    let text = canonical::scan(payload)?;
    M::from_json(text)
        .map_err(|error| NativeError::NotOfFamily { family: M::NAME, message: printable(&error.to_string()) })
}

/// A decoder's words quote the peer's keys and strings. In a log line they must stay one line, and short.
fn printable(words: &str) -> String {
    words
        .chars()
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .take(200)
        .collect()
}

/// The payload length that a prefix announces.
///
/// # Errors
/// [`NativeError::MessageTooLarge`] above [`MAX_PAYLOAD_BYTES`].
pub fn announced_length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, NativeError> {
    let announced = u32::from_be_bytes(prefix);
    match usize::try_from(announced) {
        Ok(length) if length <= MAX_PAYLOAD_BYTES => Ok(length),
        _ => Err(NativeError::MessageTooLarge { announced: announced.into(), limit: MAX_PAYLOAD_BYTES }),
    }
}

/// The first message in `bytes` and the number of bytes that its frame takes, or `None` when `bytes` ends before
/// the frame does.
///
/// This is the whole input handling of the wire as one function without I/O, for tests and fuzzing.
///
/// # Errors
/// Those of [`announced_length`] and [`decode`].
///
/// ```
/// use chio_native::frame;
/// use chio_spec::AgentMessage;
///
/// let bytes = frame::encode(&AgentMessage::Heartbeat)?;
/// assert_eq!(frame::decode_frame(&bytes)?, Some((AgentMessage::Heartbeat, bytes.len())));
/// assert_eq!(frame::decode_frame::<AgentMessage>(&bytes[..7])?, None);
/// # Ok::<(), chio_native::NativeError>(())
/// ```
pub fn decode_frame<M: Message>(bytes: &[u8]) -> Result<Option<(M, usize)>, NativeError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = announced_length(*prefix)?;
    match rest.get(..length) {
        Some(payload) => Ok(Some((decode(payload)?, PREFIX_BYTES + length))),
        None => Ok(None),
    }
}
