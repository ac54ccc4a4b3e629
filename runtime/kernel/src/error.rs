//! What can go wrong at or behind the kernel.

use chio_spec::ErrorCode;
use thiserror::Error;

/// A failure of a tool server or of the kernel's own parts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The tool server answered with a failure.
    #[error("tool server error: {0}")]
    ToolServerError(String),
    /// The tool server ended or broke off before it answered; whether the call took effect is unknown.
    #[error("tool server ended before it answered: {0}")]
    Interrupted(String),
    /// There is no tool server to be reached now: the call certainly did not get there.
    #[error("tool server unavailable: {0}")]
    Unavailable(String),
    /// The store failed, so nothing can be decided or recorded.
    #[error("receipt store: {0}")]
    Store(#[from] chio_store::StoreError),
    /// A receipt could not be built or signed.
    #[error("receipt: {0}")]
    Receipt(String),
    /// The self-test before serving did not behave as it must, so the kernel refuses to start.
    #[error("self-test failed: {0}; the kernel refuses to serve")]
    SelfTest(String),
}

impl KernelError {
    /// The registry entry of the failure.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ToolServerError(_) => ErrorCode::ToolServerError,
            Self::Interrupted(_) => ErrorCode::ToolInterrupted,
            Self::Unavailable(_) => ErrorCode::ServerUnavailable,
            Self::Store(error) => error.code(),
            Self::Receipt(_) | Self::SelfTest(_) => ErrorCode::InternalError,
        }
    }
}
