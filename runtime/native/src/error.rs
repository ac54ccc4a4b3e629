//! The one error of this crate.
//!
//! Three of its variants are the outcomes that the wire protocol names (`connection_closed`, `message_too_large`,
//! deserialization failure). There is no marker to resynchronise on, so after any error the transport is closed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chio_json::canonical::NotCanonical;
use chio_spec::ErrorCode;

use crate::InvalidAddress;

/// What can go wrong on a native transport.
///
/// Clones are cheap: when a connection breaks, every waiting call of a client is told the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// `connection_closed`: the peer closed the connection, or it broke.
    #[error("the peer closed the connection")]
    ConnectionClosed,
    /// `connection_closed` after a frame had begun; no part of that frame is delivered.
    #[error("the peer closed the connection after {arrived} of {announced} payload bytes of a frame")]
    ClosedInsideFrame {
        /// Payload bytes that arrived.
        arrived: usize,
        /// Payload bytes that the prefix announced.
        announced: usize,
    },
    /// `message_too_large`: a prefix announced more than the wire allows; the payload was not read.
    #[error(
        "the peer announced a frame of {announced} bytes, and a frame holds at most {limit} bytes; the connection \
         is closed"
    )]
    MessageTooLarge {
        /// Payload bytes that the prefix announced.
        announced: u64,
        /// Largest payload that the wire allows.
        limit: usize,
    },
    /// A message that we would send does not fit into one frame.
    #[error("a message of {length} bytes was not sent, because a frame holds at most {limit} bytes")]
    OutgoingTooLarge {
        /// Bytes of the message as canonical JSON.
        length: usize,
        /// Largest payload that the wire allows.
        limit: usize,
    },
    /// Deserialization failure: the payload is not canonical JSON.
    #[error("the peer sent a frame that is not canonical JSON: {0}")]
    NotCanonical(#[from] NotCanonical),
    /// Deserialization failure: the payload is canonical JSON but no message of the expected family.
    #[error("the peer sent a frame that is no {family}: {message}")]
    NotOfFamily {
        /// Name of the expected message family.
        family: &'static str,
        /// What was found and what was expected.
        message: String,
    },
    /// A value inside a message of ours has no canonical text.
    #[error("a message was not sent, because it cannot be written as canonical JSON: {0}")]
    Unwritable(#[source] chio_json::JsonError),
    /// The first byte of a frame arrived, but the whole frame did not arrive in time.
    #[error("the peer began a frame and did not complete it within {0:?}; the connection is closed")]
    FrameDeadline(Duration),
    /// The peer did not take a frame in time.
    #[error("the peer did not read a frame within {0:?}; the connection is closed")]
    WriteDeadline(Duration),
    /// A text names no endpoint.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// A server already listens on a Unix socket.
    #[error("{} is in use: a server already listens there; stop it or choose another path", path.display())]
    SocketInUse {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The path for a Unix socket holds something that is no socket, which is never removed.
    #[error("{} exists and is not a socket; choose another path or remove it yourself", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// `stdio:` names this process's own streams, to which no client can connect.
    #[error("a client cannot connect to stdio:; start the server as a child process and use its pipes")]
    NoClientOverStdio,
    /// A request id is still waiting for its response on this client.
    #[error("a call with the request id {0:?} is still in flight on this connection; use another id")]
    RequestIdInFlight(String),
    /// The kernel sent something that this client did not ask for.
    #[error("the kernel sent a message that belongs to no request of this connection: {0}")]
    Unexpected(String),
    /// The operating system refused something.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was attempted, as words that "failed" can follow.
        doing: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
}

impl NativeError {
    /// The registry entry, where the failure has one. A transport that merely closed or broke has none: no message
    /// about it can be sent.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::MessageTooLarge { .. } | Self::OutgoingTooLarge { .. } => Some(ErrorCode::MessageTooLarge),
            Self::NotCanonical(_) | Self::NotOfFamily { .. } => Some(ErrorCode::DeserializationFailed),
            Self::Unwritable(_) | Self::Unexpected(_) => Some(ErrorCode::InternalError),
            Self::RequestIdInFlight(_) => Some(ErrorCode::InvalidRequestShape),
            _ => None,
        }
    }

    /// Wraps what the operating system said.
    pub(crate) fn system(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source: Arc::new(source) }
    }

    /// Wraps what the operating system said about a connection. One that the peer reset or left is simply closed.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
        match source.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut => {
                Self::ConnectionClosed
            }
            _ => Self::system(doing, source),
        }
    }
}
