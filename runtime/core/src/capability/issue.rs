//! Issuing a capability.

use chio_json::{JsonError, PublicKeyHex, Signed};
use chio_spec::{CapabilityId, CapabilityToken, ChioScope, DelegationLink};

use crate::keys::SigningKey;
use crate::seal::{UNSIGNED, seal};

/// What an issuer decides about a new capability.
#[derive(Debug, Clone, PartialEq)]
pub struct CapabilityTemplate {
    /// Identifier; tokens issued here are named `cap-` and a UUID version 7, which the caller brings.
    pub id: CapabilityId,
    /// Key of the only caller that may use the token.
    pub subject: PublicKeyHex,
    /// What the token allows.
    pub scope: ChioScope,
    /// Start of validity, in Unix seconds.
    pub issued_at: u64,
    /// End of validity, in Unix seconds; the token is valid before it and not at it.
    pub expires_at: u64,
    /// Delegations from the root token to this one; empty for a root token.
    pub delegation_chain: Vec<DelegationLink>,
}

/// Signs a capability: the issuer is the key that signs, the bytes are the canonical text without the
/// signature.
///
/// # Errors
///
/// A time above 2^53 − 1 seconds, which the wire cannot carry.
///
/// # Example
///
/// ```
/// use chio_core::capability::{CapabilityTemplate, VerifiedToken, issue};
/// use chio_core::keys::SigningKey;
/// use chio_spec::{CapabilityId, ChioScope};
///
/// let authority = SigningKey::from_seed([7; 32]);
/// let agent = SigningKey::from_seed([8; 32]);
/// let token = issue(
///     &authority,
///     CapabilityTemplate {
///         id: CapabilityId::new("cap-1")?,
///         subject: agent.public().hex(),
///         scope: ChioScope::new(),
///         issued_at: 1_700_000_000,
///         expires_at: 1_700_003_600,
///         delegation_chain: Vec::new(),
///     },
/// )?;
/// assert_eq!(VerifiedToken::verify(&token)?.issuer(), &authority.public());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn issue(
    issuer: &SigningKey,
    template: CapabilityTemplate,
) -> Result<Signed<CapabilityToken>, JsonError> {
    let CapabilityTemplate { id, subject, scope, issued_at, expires_at, delegation_chain } = template;
    let token =
        CapabilityToken::new(expires_at, id, issued_at, issuer.public().hex(), scope, UNSIGNED, subject)
            .with_delegation_chain(delegation_chain);
    let (text, _) = seal(&token, issuer)?;
    Signed::from_text(text)
}
