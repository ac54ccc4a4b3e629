//! Reads a JSON Web Token and decides whether it speaks for its subject, here and now (RFC 7519, RFC 8725, RFC 9068).
//!
//! Header and claims are read strictly: a duplicate member has no reading, so nobody can show one issuer to us and
//! another to whoever stands in front. What the header says chooses among the issuer's keys and is never believed
//! beyond that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_json::strict;
use chio_policy::Identity;
use chio_spec::ReceiptCallerMethod;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::failure::Fault;
use super::keys::{self, Key};

/// How far the clocks of issuer and edge may differ, in seconds.
const CLOCK_SKEW: f64 = 60.0;
/// Longest subject, in bytes: it becomes part of a principal, which stands in every receipt.
const LONGEST_SUBJECT: usize = 256;
/// Claims with a meaning of their own, which the policy sees under other names or not at all.
const REGISTERED: [&str; 11] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp", "client_id", "azp"];

/// A token that was read, but not believed yet.
pub(crate) struct Unverified<'a> {
    /// The algorithm that the header names.
    pub(crate) algorithm: Algorithm,
    /// The key that the header names.
    pub(crate) key_id: Option<String>,
    signed: &'a str,
    signature: &'a str,
    payload: &'a str,
}

/// The claims of a token whose signature holds.
pub(crate) struct Claims(Map<String, Value>);

/// What the claims must say.
pub(crate) struct Expected<'a> {
    /// The one issuer.
    pub(crate) issuer: &'a str,
    /// A member of the audience.
    pub(crate) audience: &'a str,
    /// Unix seconds.
    pub(crate) now: u64,
}

impl<'a> Unverified<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Unverified<'a>, Fault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Invalid("the token is not a JWT"))?;
        let (header, payload) = signed.split_once('.').ok_or(Fault::Invalid("the token is not a JWT"))?;
        let header = object(header).ok_or(Fault::Invalid("the token's header cannot be read"))?;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(keys::algorithm)
            .ok_or(Fault::Invalid("the token names an algorithm that is not asymmetric or not known"))?;
        if header.contains_key("crit") {
            return Err(Fault::Invalid("the token's header demands an extension"));
        }
        let admissible_type = match header.get("typ") {
            None => true,
            Some(name) => name.as_str().is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                matches!(name.strip_prefix("application/").unwrap_or(&name), "jwt" | "at+jwt")
            }),
        };
        if !admissible_type {
            return Err(Fault::Invalid("the token's type is not that of an access token"));
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Fault::Invalid("the token's key id is not a text")),
        };
        Ok(Unverified { algorithm, key_id, signed, signature, payload })
    }

    /// The claims, if `key` signed them.
    pub(crate) fn verify(&self, key: &Key) -> Result<Claims, Fault> {
        if !key.signed(self.signed, self.signature, self.algorithm) {
            return Err(Fault::Invalid("the token's signature does not hold"));
        }
        object(self.payload).map(Claims).ok_or(Fault::Invalid("the token's claims cannot be read"))
    }
}

impl Claims {
    /// A claim that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Unix second at which the token ends.
    pub(crate) fn expiry(&self) -> Option<u64> {
        self.0.get("exp").and_then(Value::as_u64)
    }

    /// Checks issuer, audience and time.
    pub(crate) fn check(&self, expected: &Expected<'_>) -> Result<(), Fault> {
        if self.text("iss") != Some(expected.issuer) {
            return Err(Fault::Invalid("the token is of another issuer"));
        }
        let for_us = match self.0.get("aud") {
            Some(Value::String(one)) => one == expected.audience,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(expected.audience)),
            _ => false,
        };
        if !for_us {
            return Err(Fault::Invalid("the token is for another audience"));
        }
        let now = seconds(expected.now);
        let expiry = self.date("exp")?.ok_or(Fault::Invalid("the token has no end"))?;
        if now >= expiry + CLOCK_SKEW {
            return Err(Fault::Over("the token has expired"));
        }
        for start in [self.date("nbf")?, self.date("iat")?].into_iter().flatten() {
            if now + CLOCK_SKEW < start {
                return Err(Fault::Invalid("the token is not valid yet"));
            }
        }
        if self.0.contains_key("cnf") {
            return Err(Fault::Invalid(
                "the token is bound to a key, and a bearer does not prove to hold it",
            ));
        }
        Ok(())
    }

    /// How long they will still be accepted as far as time decides that. `now`: Unix seconds.
    pub(crate) fn time_left(&self, now: u64) -> Duration {
        let expiry = self.date("exp").ok().flatten().unwrap_or_default();
        let left = expiry + CLOCK_SKEW - seconds(now);
        Duration::try_from_secs_f64(left).unwrap_or(if left > 0.0 { Duration::MAX } else { Duration::ZERO })
    }

    /// A date claim (RFC 7519 NumericDate, which may have a fraction).
    fn date(&self, name: &str) -> Result<Option<f64>, Fault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(date) if date.is_finite() => Ok(Some(date)),
                _ => Err(Fault::Invalid("a date of the token is not a number")),
            },
        }
    }

    /// The scopes: the words of `scope`, or where an issuer writes `scp`, of that.
    pub(crate) fn scopes(&self) -> BTreeSet<String> {
        let listed = self.0.get("scope").or_else(|| self.0.get("scp"));
        match listed {
            Some(Value::String(words)) => words.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => BTreeSet::new(),
        }
    }

    /// Who the token speaks for. Bounded, because the token is.
    pub(crate) fn identity(&self) -> Result<Identity, Fault> {
        let issuer = self.text("iss").unwrap_or_default();
        let subject = self
            .text("sub")
            .filter(|subject| !subject.is_empty() && subject.len() <= LONGEST_SUBJECT)
            .filter(|subject| !subject.chars().any(char::is_control))
            .ok_or(Fault::Invalid("the token names no subject, or one that cannot stand in a receipt"))?;
        Ok(Identity {
            method: ReceiptCallerMethod::OauthBearer,
            principal: format!("{issuer}#{subject}"),
            issuer: Some(issuer.to_owned()),
            subject: Some(subject.to_owned()),
            client_id: self.text("client_id").or_else(|| self.text("azp")).map(str::to_owned),
            scopes: self.scopes(),
            claims: self.others(),
        })
    }

    /// The claims that are a text or a list of texts. A list with anything else in it is left out whole, because half
    /// of a list of groups would be another list.
    fn others(&self) -> BTreeMap<String, Vec<String>> {
        let texts = |value: &Value| match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        self.0
            .iter()
            .filter(|(name, _)| !REGISTERED.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), texts(value)?)))
            .collect()
    }
}

/// Exact up to 2^53, which is further than any clock.
#[allow(clippy::cast_precision_loss)]
fn seconds(unix: u64) -> f64 {
    unix as f64
}

/// The object that a part of a token encodes.
fn object(part: &str) -> Option<Map<String, Value>> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    match strict::parse(&text).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}
