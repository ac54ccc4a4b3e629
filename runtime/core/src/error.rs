//! The one error of this crate, for callers that do not care which module refused.

use std::borrow::Cow;

use chio_json::JsonError;
use chio_spec::ErrorCode;

use crate::capability::constraint::ConstraintFault;
use crate::capability::{AdmissionFault, AttenuateFault, SubsetFault, TokenFault};
use crate::checkpoint::CheckpointFault;
use crate::dpop::DpopFault;
use crate::keys::KeyFault;
use crate::merkle::MerkleFault;

/// Whatever this crate refuses. `Display` is for the operator; the caller is told [`CoreError::reason`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A value has no canonical text, or a text has no strict reading.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Bytes that are no usable key.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// A token that proves nothing.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// A token whose authority does not flow from a trusted issuer.
    #[error(transparent)]
    Admission(#[from] AdmissionFault),
    /// A delegation that no kernel would admit.
    #[error(transparent)]
    Attenuate(#[from] AttenuateFault),
    /// A scope that is wider than another.
    #[error(transparent)]
    Subset(#[from] SubsetFault),
    /// A constraint that the arguments do not meet.
    #[error(transparent)]
    Constraint(#[from] ConstraintFault),
    /// A proof of possession that does not cover the call.
    #[error(transparent)]
    Dpop(#[from] DpopFault),
    /// A tree operation or a proof that does not hold.
    #[error(transparent)]
    Merkle(#[from] MerkleFault),
    /// A checkpoint that is not what it should be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFault),
}

impl CoreError {
    /// The registry entry of this error.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            CoreError::Json(_) => ErrorCode::InvalidRequestShape,
            CoreError::Key(fault) => fault.code(),
            CoreError::Token(fault) => fault.code(),
            CoreError::Admission(fault) => fault.code(),
            CoreError::Attenuate(fault) => fault.code(),
            CoreError::Subset(fault) => fault.code(),
            CoreError::Constraint(fault) => fault.code(),
            CoreError::Dpop(fault) => fault.code(),
            CoreError::Merkle(fault) => fault.code(),
            CoreError::Checkpoint(fault) => fault.code(),
        }
    }

    /// The short, stable reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            CoreError::Json(_) => Cow::Borrowed("value is not strict JSON"),
            CoreError::Key(fault) => fault.reason(),
            CoreError::Token(fault) => fault.reason(),
            CoreError::Admission(fault) => fault.reason(),
            CoreError::Attenuate(fault) => fault.reason(),
            CoreError::Subset(fault) => fault.reason(),
            CoreError::Constraint(fault) => fault.reason(),
            CoreError::Dpop(fault) => fault.reason(),
            CoreError::Merkle(fault) => fault.reason(),
            CoreError::Checkpoint(fault) => fault.reason(),
        }
    }
}
