//! What can go wrong between a client, this crate and a wrapped server.
//!
//! Variants name whose fault it is. Errors that a *peer* returned on purpose are
//! [`McpError::Refused`]; everything else says that the exchange itself failed, and whether the
//! request may have taken effect: see [`McpError::outcome_unknown`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chio_spec::{ErrorCode, ServerId};

use crate::jsonrpc::ErrorObject;

/// Everything this crate fails with.
/// It can be cloned, for several may wait for one start of a server.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum McpError {
    /// The wrapped server could not be started.
    #[error("cannot start the tool server `{command}`: {source}")]
    NotStarted {
        /// The program as it was named.
        command: String,
        /// Why the operating system refused.
        source: Arc<io::Error>,
    },
    /// The wrapped server did not complete MCP's initialization.
    #[error("the tool server did not complete MCP initialization: {reason}; run it by hand to see why")]
    NotInitialized {
        /// What it did instead.
        reason: String,
    },
    /// The connection ended while the request was waiting.
    #[error("the connection ended before the answer came: {0}")]
    Closed(CloseReason),
    /// The answer was lost on its way, and cannot be asked for again.
    #[error("the answer was lost: {0}")]
    AnswerLost(String),
    /// The request was not sent, for the connection had ended.
    #[error("the connection has ended: {0}")]
    NotSent(CloseReason),
    /// No answer within the time allowed.
    #[error("no answer within {} ms; the request was cancelled", .0.as_millis())]
    TimedOut(Duration),
    /// We cancelled the request.
    #[error("the request was cancelled")]
    Cancelled,
    /// The peer answered with a JSON-RPC error.
    #[error("{0}")]
    Refused(ErrorObject),
    /// The answer was larger than a message may be.
    #[error("the answer is {bytes} bytes, more than a message may hold")]
    AnswerTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The answer broke the protocol.
    #[error("the answer breaks the protocol: {0}")]
    MalformedAnswer(String),
    /// The parameters to be sent are not what the method needs.
    #[error("the parameters are not valid: {0}")]
    InvalidParams(String),
    /// Too many requests wait for this peer.
    #[error("{limit} requests wait for this peer already; try again when some are done")]
    Overloaded {
        /// How many may wait.
        limit: usize,
    },
    /// The server failed a moment ago and is left alone for a while.
    #[error("the tool server {server} is not available: it failed and is tried again in {} ms", .retry_in.as_millis())]
    Unavailable {
        /// Its name.
        server: ServerId,
        /// How long it is still left alone.
        retry_in: Duration,
    },
    /// As many servers run as may.
    #[error(
        "{limit} tool servers run already, which is the limit; end a session that is not needed or raise the limit"
    )]
    TooManyServers {
        /// How many may run.
        limit: usize,
    },
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed its end.
    #[error("the other side closed the connection")]
    Eof,
    /// We closed it.
    #[error("closed on this side")]
    Local,
    /// Reading or writing failed.
    #[error("the transport broke: {0}")]
    Broken(String),
}

impl McpError {
    /// The registry entry, for surfaces that report it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidParams(_) => ErrorCode::InvalidRequestShape,
            _ if self.never_sent() => ErrorCode::ServerUnavailable,
            _ => ErrorCode::ToolServerError,
        }
    }

    /// Whether the request may have taken effect although no answer came: the receipt of such a call is
    /// `incomplete`. Any answer, also one that is too large or breaks the protocol, is the server's word
    /// that it is done, and the call failed; what never left us did nothing.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::AnswerLost(_) | Self::TimedOut(_) | Self::Cancelled)
    }

    /// Whether the request certainly did not reach the server, for there was none to reach: nothing was
    /// done, and it can be tried again later.
    #[must_use]
    pub fn never_sent(&self) -> bool {
        matches!(
            self,
            Self::NotStarted { .. }
                | Self::NotInitialized { .. }
                | Self::NotSent(_)
                | Self::Overloaded { .. }
                | Self::Unavailable { .. }
                | Self::TooManyServers { .. }
        )
    }
}
