//! What a token proves by itself, read from foreign JSON.
//!
//! Verification must never stop at a malformed field: a token with an unusable key is a token whose signature
//! does not verify, and its window can still be told. So this reads members one by one instead of a typed
//! token.

use chio_json::{PublicKeyHex, SignatureHex, Signed, canonical, strict};
use chio_spec::CapabilityToken;
use serde_json::{Map, Value};

use super::window::{TimeStatus, time_status};
use crate::foreign::{key, known_algorithm, member, seconds};

/// What [`verify_chain`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainReport {
    /// Whether the issuer named in the token signed it.
    pub signature_valid: bool,
    /// Whether every delegation link is signed by its delegator, each delegatee is the next delegator, the
    /// times do not run backwards and the chain is not too long. True for a token without links.
    pub delegation_chain_valid: bool,
    /// Where `now` lies in the token's window; `None` when the token does not say.
    pub time_status: Option<TimeStatus>,
    /// The issuer that the token names, if that is a key at all.
    pub issuer_key: Option<PublicKeyHex>,
    /// Why something above is not as it should be, one sentence each.
    pub reasons: Vec<String>,
}

impl ChainReport {
    /// Whether `now` lies in the token's window.
    #[must_use]
    pub fn time_valid(&self) -> bool {
        self.time_status == Some(TimeStatus::Valid)
    }

    /// Whether signature, chain and time are all good. Trust in the issuer is another question.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.signature_valid && self.delegation_chain_valid && self.time_valid()
    }
}

/// Verifies a token and its delegation chain as far as their bytes go. `now` is in Unix seconds; without
/// `max_depth` any number of links is accepted.
///
/// Nothing stateful is asked, so a token that passes may still be inadmissible: its links may name ancestors
/// that nobody has seen, and its last delegatee need not be its subject. See [`super::admit`].
#[must_use]
pub fn verify_chain(text: &str, now: u64, max_depth: Option<usize>) -> ChainReport {
    let mut report = ChainReport {
        signature_valid: false,
        delegation_chain_valid: false,
        time_status: None,
        issuer_key: None,
        reasons: Vec::new(),
    };
    let token = match strict::parse(text) {
        Ok(Value::Object(token)) => token,
        Ok(_) => {
            report.reasons.push("the token is not a JSON object".to_owned());
            return report;
        }
        Err(error) => {
            report.reasons.push(format!("the token cannot be read: {error}"));
            return report;
        }
    };

    report.issuer_key = member(&token, "issuer").ok();
    match token_signature(text, &token) {
        Ok(()) => report.signature_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match links(&token, max_depth) {
        Ok(()) => report.delegation_chain_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match (seconds(&token, "issued_at"), seconds(&token, "expires_at")) {
        (Ok(issued_at), Ok(expires_at)) => {
            let status = time_status(issued_at, expires_at, now);
            if status != TimeStatus::Valid {
                report.reasons.push(format!("the token is {status} at {now}"));
            }
            report.time_status = Some(status);
        }
        (Err(reason), _) | (_, Err(reason)) => report.reasons.push(reason),
    }
    report
}

fn token_signature(text: &str, token: &Map<String, Value>) -> Result<(), String> {
    known_algorithm(token)?;
    let issuer = key(token, "issuer")?;
    let signature: SignatureHex = member(token, "signature")?;
    let signed = Signed::<CapabilityToken>::from_text(text.to_owned()).map_err(|error| error.to_string())?;
    let input = signed.signing_input().map_err(|error| error.to_string())?;
    if issuer.verify(input.as_bytes(), &signature) {
        Ok(())
    } else {
        Err("the signature of the token does not verify".to_owned())
    }
}

fn links(token: &Map<String, Value>, max_depth: Option<usize>) -> Result<(), String> {
    let links = match token.get("delegation_chain") {
        None => return Ok(()),
        Some(Value::Array(links)) => links,
        Some(_) => return Err("`delegation_chain` is not an array".to_owned()),
    };
    if max_depth.is_some_and(|limit| links.len() > limit) {
        return Err(format!("the delegation chain has {} links, more than allowed", links.len()));
    }
    let mut previous: Option<(PublicKeyHex, u64)> = None;
    for (position, link) in links.iter().enumerate() {
        let named = |reason: String| format!("delegation link {position}: {reason}");
        let Value::Object(link) = link else { return Err(named("it is not a JSON object".to_owned())) };
        let delegator = key(link, "delegator").map_err(named)?;
        let delegatee: PublicKeyHex = member(link, "delegatee").map_err(named)?;
        let timestamp = seconds(link, "timestamp").map_err(named)?;
        let signature: SignatureHex = member(link, "signature").map_err(named)?;
        if let Some((expected, earlier)) = previous {
            if delegator.hex() != expected {
                return Err(named("its delegator is not the delegatee of the link before".to_owned()));
            }
            if timestamp < earlier {
                return Err(named("it is older than the link before".to_owned()));
            }
        }
        let mut signed = link.clone();
        signed.remove("signature");
        let input = canonical::from_value(&Value::Object(signed));
        if !delegator.verify(input.as_bytes(), &signature) {
            return Err(named("its signature does not verify".to_owned()));
        }
        previous = Some((delegatee, timestamp));
    }
    Ok(())
}
