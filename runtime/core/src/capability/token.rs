//! One token whose own proofs hold.

use std::borrow::Cow;
use std::sync::Arc;

use chio_json::{JsonError, Sha256Hex, Signed};
use chio_spec::{CapabilityId, CapabilityToken, ErrorCode};

use crate::hash::sha256;
use crate::keys::{KeyFault, PublicKey};
use crate::seal;

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The text is not a capability token.
    #[error("the text is not a well-formed capability token: {0}")]
    Malformed(JsonError),
    /// The subject's key is not one that can be held by exactly one party.
    #[error("the subject of capability {id} is not a usable key: {fault}")]
    SubjectKey {
        /// The token.
        id: CapabilityId,
        /// What is wrong with its subject.
        fault: KeyFault,
    },
    /// The issuer's key cannot sign.
    #[error("the issuer of capability {id} is not a usable key: {fault}")]
    IssuerKey {
        /// The token.
        id: CapabilityId,
        /// What is wrong with its issuer.
        fault: KeyFault,
    },
    /// The issuer did not sign these bytes.
    #[error("the signature of capability {id} does not verify; present the token exactly as it was issued")]
    Signature {
        /// The token.
        id: CapabilityId,
    },
    /// The key that delegated cannot sign.
    #[error("the delegator in the last link of capability {id} is not a usable key: {fault}")]
    DelegatorKey {
        /// The token.
        id: CapabilityId,
        /// What is wrong with the delegator.
        fault: KeyFault,
    },
    /// The delegator did not sign the delegation.
    #[error("the signature of the last delegation link of capability {id} does not verify")]
    LinkSignature {
        /// The token.
        id: CapabilityId,
    },
}

impl TokenFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            TokenFault::Malformed(_) | TokenFault::SubjectKey { .. } => ErrorCode::CapabilityMalformed,
            TokenFault::IssuerKey { .. }
            | TokenFault::Signature { .. }
            | TokenFault::DelegatorKey { .. }
            | TokenFault::LinkSignature { .. } => ErrorCode::CapabilitySignatureInvalid,
        }
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            TokenFault::Malformed(_) => "capability token is malformed",
            TokenFault::SubjectKey { .. } => "capability subject is not a usable key",
            TokenFault::IssuerKey { .. } => "capability issuer is not a usable key",
            TokenFault::Signature { .. } => "capability signature verification failed",
            TokenFault::DelegatorKey { .. } => "delegator is not a usable key",
            TokenFault::LinkSignature { .. } => "delegation signature verification failed",
        })
    }
}

/// A token that is well formed and signed by its issuer and, if it was delegated, whose last link is signed
/// by its delegator.
///
/// That is a fact about bytes: it can be cached under [`VerifiedToken::digest`] for ever. It says nothing
/// about trust in the issuer, time, revocation or the ancestors; [`super::admit`] needs the ancestors as
/// verified tokens too, and their last links are the earlier links of this one, so every link is verified
/// exactly once.
///
/// Clones share the token.
#[derive(Debug, Clone)]
pub struct VerifiedToken(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signed: Signed<CapabilityToken>,
    token: CapabilityToken,
    digest: Sha256Hex,
    body_hash: Sha256Hex,
    issuer: PublicKey,
    subject: PublicKey,
}

impl VerifiedToken {
    /// Verifies one token.
    ///
    /// # Errors
    ///
    /// See [`TokenFault`]. The fault is as final as the success: the same bytes fail again.
    pub fn verify(signed: &Signed<CapabilityToken>) -> Result<VerifiedToken, TokenFault> {
        let token = signed.view().map_err(|error| TokenFault::Malformed(error.clone()))?;
        let id = || token.id.clone();
        let subject =
            PublicKey::try_from(token.subject).map_err(|fault| TokenFault::SubjectKey { id: id(), fault })?;
        let issuer =
            PublicKey::try_from(token.issuer).map_err(|fault| TokenFault::IssuerKey { id: id(), fault })?;
        let input = signed.signing_input().map_err(TokenFault::Malformed)?;
        if !issuer.verify(input.as_bytes(), &token.signature) {
            return Err(TokenFault::Signature { id: id() });
        }
        if let Some(link) = token.delegation_chain.last() {
            // A kernel only admits a token that its delegator issued, so this key is mostly the one just
            // checked.
            let delegator = if link.delegator == token.issuer {
                issuer
            } else {
                PublicKey::try_from(link.delegator)
                    .map_err(|fault| TokenFault::DelegatorKey { id: id(), fault })?
            };
            let input = seal::signing_input(link, &link.signature).map_err(TokenFault::Malformed)?;
            if !delegator.verify(input.as_bytes(), &link.signature) {
                return Err(TokenFault::LinkSignature { id: id() });
            }
        }
        Ok(VerifiedToken(Arc::new(Inner {
            token: token.clone(),
            digest: VerifiedToken::digest_of(signed),
            body_hash: sha256(input.as_bytes()),
            signed: signed.clone(),
            issuer,
            subject,
        })))
    }

    /// The digest under which a verification result can be cached: SHA-256 of the exact text.
    #[must_use]
    pub fn digest_of(signed: &Signed<CapabilityToken>) -> Sha256Hex {
        sha256(signed.text().as_bytes())
    }

    /// SHA-256 of the exact text: the key of a cache.
    #[must_use]
    pub fn digest(&self) -> &Sha256Hex {
        &self.0.digest
    }

    /// SHA-256 of the signed bytes: the identity of the token. Two texts of one token (other white space, an
    /// explicit `algorithm`) share it, so bind identifiers to this hash and not to [`VerifiedToken::digest`].
    #[must_use]
    pub fn body_hash(&self) -> &Sha256Hex {
        &self.0.body_hash
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &CapabilityToken {
        &self.0.token
    }

    /// The token as it was received.
    #[must_use]
    pub fn signed(&self) -> &Signed<CapabilityToken> {
        &self.0.signed
    }

    /// The checked key of the issuer.
    #[must_use]
    pub fn issuer(&self) -> &PublicKey {
        &self.0.issuer
    }

    /// The checked key of the subject: the one whose proofs of possession count.
    #[must_use]
    pub fn subject(&self) -> &PublicKey {
        &self.0.subject
    }
}
