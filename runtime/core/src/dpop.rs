//! Proof of possession: the caller signs this one call with the key its capability names (after RFC 9449).
//!
//! A stolen token alone is then useless. The proof is bound to capability, server, tool and arguments, lives
//! for minutes, and its nonce counts once. This module is pure, so it cannot remember nonces: it hands back a
//! [`NonceClaim`] that the caller must store, durably and until it has expired, before the call goes through.

use std::borrow::Cow;

use chio_json::{JsonError, PublicKeyHex, Sha256Hex, canonical};
use chio_spec::{CapabilityId, DpopBody, DpopNonce, DpopProof, DpopSchema, ErrorCode, ServerId, ToolName};

use crate::keys::{PublicKey, SigningKey};

/// How long a proof counts after it was made, in seconds.
pub const LIFETIME_SECONDS: u64 = 300;

/// How far a caller's clock may be ahead, in seconds.
pub const SKEW_SECONDS: u64 = 30;

/// What a caller proves.
#[derive(Debug, Clone, PartialEq)]
pub struct DpopClaims {
    /// Capability that the call is made under.
    pub capability_id: CapabilityId,
    /// Server that is called.
    pub tool_server: ServerId,
    /// Tool that is called.
    pub tool_name: ToolName,
    /// SHA-256 of the canonical JSON of the arguments; see [`crate::hash::hash_json`].
    pub action_hash: Sha256Hex,
    /// A value that the caller never used before with this key.
    pub nonce: DpopNonce,
    /// Now, in Unix seconds.
    pub issued_at: u64,
}

/// What the call is, as the kernel sees it.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Identifier of the capability presented.
    pub capability_id: &'a str,
    /// Server that is called.
    pub tool_server: &'a str,
    /// Tool that is called.
    pub tool_name: &'a str,
    /// SHA-256 of the canonical JSON of the arguments.
    pub action_hash: &'a Sha256Hex,
    /// Subject of the capability.
    pub subject: &'a PublicKey,
    /// Now, in Unix seconds.
    pub now: u64,
}

/// A nonce that this proof uses up. Store it before the call goes through; if it is stored already, the call
/// is a replay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NonceClaim {
    /// Key whose nonce it is: nonces of different keys do not meet.
    pub key: PublicKeyHex,
    /// The nonce.
    pub nonce: String,
    /// The claim may be forgotten after this moment, in Unix seconds: no proof with this nonce is accepted
    /// any more, by no kernel whose clock is within the skew.
    pub keep_until: u64,
}

/// Why a proof does not cover the call, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DpopFault {
    /// The proof was made by another key.
    #[error("the proof was made by {found}, but the capability belongs to {expected}")]
    WrongKey {
        /// Subject of the capability.
        expected: PublicKeyHex,
        /// Key in the proof.
        found: PublicKeyHex,
    },
    /// The proof is for another call.
    #[error("the proof is for another call: its `{field}` differs; make a fresh one for exactly this call")]
    WrongAction {
        /// The field that differs.
        field: &'static str,
    },
    /// The proof comes from the future.
    #[error(
        "the proof was made at {issued_at}, which lies more than {SKEW_SECONDS} seconds after now ({now}); check the caller's clock"
    )]
    FromTheFuture {
        /// Time of the proof, in Unix seconds.
        issued_at: u64,
        /// Now, in Unix seconds.
        now: u64,
    },
    /// The proof is too old.
    #[error(
        "the proof was made at {issued_at}, more than {LIFETIME_SECONDS} seconds before now ({now}); make a fresh one"
    )]
    Expired {
        /// Time of the proof, in Unix seconds.
        issued_at: u64,
        /// Now, in Unix seconds.
        now: u64,
    },
    /// The key did not sign this proof.
    #[error("the signature of the proof does not verify")]
    Signature,
    /// The body cannot be written.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl DpopFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::DpopInvalid
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            DpopFault::WrongKey { .. } => "DPoP proof was made by another key than the capability's subject",
            DpopFault::WrongAction { .. } => "DPoP proof does not match this call",
            DpopFault::FromTheFuture { .. } => "DPoP proof is from the future",
            DpopFault::Expired { .. } => "DPoP proof has expired",
            DpopFault::Signature | DpopFault::Json(_) => "DPoP proof signature verification failed",
        })
    }
}

/// Makes a proof with the key of the capability's subject.
///
/// # Errors
///
/// A time above 2^53 − 1 seconds, which the wire cannot carry.
pub fn make(agent: &SigningKey, claims: DpopClaims) -> Result<DpopProof, JsonError> {
    let body = DpopBody::new(
        claims.action_hash,
        agent.public().hex(),
        claims.capability_id,
        claims.issued_at,
        claims.nonce,
        DpopSchema::ChioDpopProofV1,
        claims.tool_name,
        claims.tool_server,
    );
    let signature = agent.sign(canonical::to_string(&body)?.as_bytes());
    Ok(DpopProof::new(body, signature))
}

/// Checks that `proof` covers exactly the expected call, now. The cheap checks come first and the signature
/// last, so that a flood of stale proofs costs no curve arithmetic. The version needs no check: the type has
/// only one.
///
/// # Errors
///
/// The first check that fails, see [`DpopFault`].
pub fn verify(proof: &DpopProof, expected: &Expected<'_>) -> Result<NonceClaim, DpopFault> {
    let body = &proof.body;
    if body.agent_key != expected.subject.hex() {
        return Err(DpopFault::WrongKey { expected: expected.subject.hex(), found: body.agent_key });
    }
    let same = |field, same: bool| if same { Ok(()) } else { Err(DpopFault::WrongAction { field }) };
    same("capability_id", body.capability_id.as_str() == expected.capability_id)?;
    same("tool_server", body.tool_server.as_str() == expected.tool_server)?;
    same("tool_name", body.tool_name.as_str() == expected.tool_name)?;
    same("action_hash", body.action_hash == *expected.action_hash)?;

    let (issued_at, now) = (body.issued_at, expected.now);
    if issued_at > now.saturating_add(SKEW_SECONDS) {
        return Err(DpopFault::FromTheFuture { issued_at, now });
    }
    if issued_at.saturating_add(LIFETIME_SECONDS) < now {
        return Err(DpopFault::Expired { issued_at, now });
    }
    if !expected.subject.verify(canonical::to_string(body)?.as_bytes(), &proof.signature) {
        return Err(DpopFault::Signature);
    }
    Ok(NonceClaim {
        key: body.agent_key,
        nonce: body.nonce.as_str().to_owned(),
        keep_until: issued_at.saturating_add(LIFETIME_SECONDS + SKEW_SECONDS),
    })
}
