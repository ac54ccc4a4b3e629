//! Verified tokens, remembered by the digest of their exact bytes, and the way from a delegated token to its parents.
//!
//! What is cached is a fact about bytes (the signatures hold), which never changes. Trust in the issuer, time,
//! revocation and the whole chain are asked again on every call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chio_core::capability::{TokenFault, VerifiedToken};
use chio_json::{Sha256Hex, Signed};
use chio_spec::{CapabilityToken, ErrorCode};

use crate::Kernel;
use crate::trail::{Denial, step};

/// Tokens, and bytes of their texts, per generation; two generations are kept.
const GENERATION: (usize, usize) = (4096, 16 << 20);

/// Longest token, in bytes. It bounds what the cache holds, and what comparing scopes and compiling patterns can cost.
const LONGEST_TOKEN: usize = 64 << 10;

/// A cache of two generations: what was used during the last generation survives it.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Sha256Hex, VerifiedToken>,
    /// Bytes of the texts in `young`.
    bytes: usize,
    old: HashMap<Sha256Hex, VerifiedToken>,
}

impl TokenCache {
    /// Verifies a token, or recalls that these very bytes verified before.
    pub(crate) fn verify(&self, token: &Signed<CapabilityToken>) -> Result<VerifiedToken, TokenFault> {
        let digest = VerifiedToken::digest_of(token);
        let known = self.lock().find(&digest);
        known.map_or_else(|| VerifiedToken::verify(token), Ok)
    }

    /// Remembers a token whose authority was proven. Others are not remembered: anybody can sign tokens of their own, and
    /// a stranger could fill the memory and push honest tokens out.
    pub(crate) fn remember(&self, token: &VerifiedToken) {
        self.lock().remember(*token.digest(), token.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, digest: &Sha256Hex) -> Option<VerifiedToken> {
        if let Some(verified) = self.young.get(digest) {
            return Some(verified.clone());
        }
        let verified = self.old.remove(digest)?;
        self.remember(*digest, verified.clone());
        Some(verified)
    }

    fn remember(&mut self, digest: Sha256Hex, verified: VerifiedToken) {
        if self.young.contains_key(&digest) {
            return;
        }
        let (tokens, bytes) = GENERATION;
        if self.young.len() >= tokens || self.bytes >= bytes {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += verified.signed().text().len();
        self.young.insert(digest, verified);
    }
}

/// Refuses a token that is longer than any honest one.
pub(crate) fn within_size(token: &Signed<CapabilityToken>, step: &str) -> Result<(), Denial> {
    let bytes = token.text().len();
    if bytes <= LONGEST_TOKEN {
        return Ok(());
    }
    Err(Denial::new(ErrorCode::CapabilityMalformed, step, "capability token is too large")
        .with_details(format!("the token has {bytes} bytes, and {LONGEST_TOKEN} are allowed")))
}

impl Kernel {
    /// The verified parents of `token`, root first: those that came along, else those the store has seen.
    pub(crate) async fn ancestors(
        &self,
        token: &VerifiedToken,
        along: &[Signed<CapabilityToken>],
    ) -> Result<Vec<VerifiedToken>, Denial> {
        let links = &token.token().delegation_chain;
        let max_depth = self.policy().delegation_depth_limit();
        if links.len() > max_depth {
            let reason = "delegation chain is too long";
            let details = format!("the chain has {} links, the policy allows {max_depth}", links.len());
            return Err(
                Denial::new(ErrorCode::DelegationInvalid, step::DELEGATION, reason).with_details(details)
            );
        }
        let mut ancestors = Vec::with_capacity(links.len());
        for link in links {
            let presented = along
                .iter()
                .take(max_depth)
                .filter(|ancestor| ancestor.text().len() <= LONGEST_TOKEN)
                .find(|ancestor| ancestor.view().is_ok_and(|ancestor| ancestor.id == link.capability_id));
            let signed = match presented {
                Some(signed) => signed.clone(),
                None => self.known_token(link.capability_id.as_str()).await?,
            };
            within_size(&signed, step::DELEGATION)?;
            let verified = self.tokens.verify(&signed).map_err(|fault| {
                Denial::new(fault.code(), step::DELEGATION, fault.reason())
                    .with_details(format!("ancestor {}: {fault}", link.capability_id.as_str()))
            })?;
            ancestors.push(verified);
        }
        Ok(ancestors)
    }

    async fn known_token(&self, id: &str) -> Result<Signed<CapabilityToken>, Denial> {
        let known = self.store.token(id).await.map_err(|error| {
            Denial::new(error.code(), step::DELEGATION, "the store cannot be read")
                .with_details(error.to_string())
        })?;
        let Some(known) = known else {
            let reason = format!("delegation ancestor {id} is not known");
            let details = format!("{reason}; the caller can send it along in `ancestors`");
            return Err(Denial::new(ErrorCode::DelegationAncestorUnknown, step::DELEGATION, reason)
                .with_details(details));
        };
        Signed::from_text(known.text.to_string()).map_err(|error| {
            Denial::new(ErrorCode::StoreIntegrityViolated, step::DELEGATION, "the store cannot be read")
                .with_details(format!("the stored token {id} is not JSON: {error}"))
        })
    }
}
