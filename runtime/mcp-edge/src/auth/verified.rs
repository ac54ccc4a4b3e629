//! Remembers which tokens were signed as they say, because clients send the same one with every request and a signature
//! costs more than everything else about it.
//!
//! What is remembered is a fact about bytes and keys: these bytes were signed by a key of this generation of the issuer's
//! keys. Time, audience and revocation are asked again at every request, and other keys forget everything.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use chio_core::hash::sha256;
use chio_json::Sha256Hex;

use super::jwt::Claims;

/// Most tokens that are remembered.
const MOST_TOKENS: usize = 512;
/// Longest token that is remembered, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// Tokens whose signature held.
#[derive(Default)]
pub(crate) struct Verified {
    tokens: RwLock<HashMap<Sha256Hex, Remembered>>,
}

struct Remembered {
    generation: u64,
    claims: Arc<Claims>,
}

impl Verified {
    /// The claims of a token whose signature held under this generation of keys.
    pub(crate) fn claims(&self, token: &str, generation: u64) -> Option<Arc<Claims>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let remembered = tokens.get(&sha256(token.as_bytes()))?;
        (remembered.generation == generation).then(|| Arc::clone(&remembered.claims))
    }

    /// Remembers a token. When there are too many, all are forgotten: they cost one verification each to come back.
    pub(crate) fn remember(&self, token: &str, generation: u64, claims: &Arc<Claims>) {
        if token.len() > LONGEST_TOKEN {
            return;
        }
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        tokens.insert(sha256(token.as_bytes()), Remembered { generation, claims: Arc::clone(claims) });
    }
}
