//! What was approved and is still open: codes, and the families of tokens that grew from them.
//!
//! Every token belongs to the approval that it came from, its *family*. A code or a refresh token that is used a second
//! time shows that two parties have it; which of them is the thief cannot be known, so the whole family ends (RFC
//! 6749 section 4.1.2, RFC 9700 section 4.14.2). Old refresh tokens need not be remembered for that: each says its
//! number and proves it with a hash under the family's secret.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use chio_core::hash::sha256;
use chio_json::Sha256Hex;

use super::scopes::Scopes;
use super::secret::{self, NoRandomness};
use super::{ACCESS_TOKEN_LIFE, same_secret};

/// Life of a code, in seconds.
const CODE_LIFE: u64 = 300;
/// Life of a refresh token that is not used, in seconds: a week.
const REFRESH_TOKEN_LIFE: u64 = 7 * 24 * 3600;
/// How long a revocation is kept, in seconds: longer than any access token is accepted, clock skew included.
const REVOCATION_LIFE: u64 = ACCESS_TOKEN_LIFE + 120;
/// Most codes that wait to be redeemed.
const MOST_CODES: usize = 256;
/// Most families.
const MOST_FAMILIES: usize = 1024;

/// Names a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FamilyId([u8; 16]);

/// What an approval gives, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Approved {
    /// The client.
    pub(super) client_id: String,
    /// Where its answer went.
    pub(super) redirect_uri: String,
    /// The PKCE challenge (S256).
    pub(super) challenge: String,
    /// What it may do.
    pub(super) scopes: Scopes,
}

/// The tokens that a redeemed code or refresh token leads to.
pub(super) struct Granted {
    /// Their family.
    pub(super) family: FamilyId,
    /// What was approved; a refresh may ask for less.
    pub(super) scopes: Scopes,
    /// The next refresh token.
    pub(super) refresh_token: String,
}

/// Why a code or refresh token leads to nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is unknown, over, used before, or of somebody else.
    Invalid,
    /// It is in order, but asks for more than was approved.
    Scope,
    /// Every family was revoked only just now, so none can give way.
    Full,
    /// No secret could be made.
    Randomness,
}

/// All open approvals.
#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<Sha256Hex, PendingCode>,
    families: HashMap<FamilyId, Family>,
}

struct PendingCode {
    approved: Approved,
    expiry: u64,
}

struct Family {
    client_id: String,
    scopes: Scopes,
    code: Sha256Hex,
    secret: [u8; 32],
    /// Number of the one refresh token that is good.
    generation: u64,
    /// Unix second at which the family is forgotten.
    end: u64,
    revoked: bool,
}

impl Grants {
    /// A code for `approved`. The oldest code gives way when there are too many.
    pub(super) fn code(&mut self, approved: Approved, now: u64) -> Result<String, NoRandomness> {
        let code = format!("code-{}", secret::hex(&secret::bytes::<32>()?));
        self.codes.retain(|_, pending| pending.expiry > now);
        if self.codes.len() >= MOST_CODES {
            let oldest =
                self.codes.iter().min_by_key(|(_, pending)| pending.expiry).map(|(digest, _)| *digest);
            oldest.and_then(|digest| self.codes.remove(&digest));
        }
        self.codes.insert(sha256(code.as_bytes()), PendingCode { approved, expiry: now + CODE_LIFE });
        Ok(code)
    }

    /// Redeems a code, once, if `fits` says that it is used as it was approved. A code that does not fit is spent too,
    /// so that nobody can try verifiers.
    pub(super) fn redeem(
        &mut self,
        code: &str,
        now: u64,
        fits: impl FnOnce(&Approved) -> bool,
    ) -> Result<Granted, Refused> {
        let digest = sha256(code.as_bytes());
        let Some(PendingCode { approved, expiry }) = self.codes.remove(&digest) else {
            if let Some(family) = self.families.values_mut().find(|family| family.code == digest) {
                family.revoke(now);
            }
            return Err(Refused::Invalid);
        };
        if expiry <= now || !fits(&approved) {
            return Err(Refused::Invalid);
        }
        self.make_room(now)?;
        let family = FamilyId(secret::bytes()?);
        let kept = Family {
            client_id: approved.client_id,
            scopes: approved.scopes,
            code: digest,
            secret: secret::bytes()?,
            generation: 0,
            end: now + REFRESH_TOKEN_LIFE,
            revoked: false,
        };
        let refresh_token = kept.refresh_token(family, 0);
        self.families.insert(family, kept);
        Ok(Granted { family, scopes: approved.scopes, refresh_token })
    }

    /// Exchanges a refresh token for the next one. `wanted` may narrow the access token; the refresh token keeps what
    /// was approved (RFC 6749 section 6).
    pub(super) fn refresh(
        &mut self,
        token: &str,
        client_id: &str,
        wanted: Option<Scopes>,
        now: u64,
    ) -> Result<Granted, Refused> {
        let (id, generation) = parse_refresh_token(token).ok_or(Refused::Invalid)?;
        let family = self.families.get_mut(&id).ok_or(Refused::Invalid)?;
        if !same_secret(token, &family.refresh_token(id, generation)) {
            return Err(Refused::Invalid);
        }
        if family.revoked || family.end <= now || family.client_id != client_id {
            return Err(Refused::Invalid);
        }
        if generation != family.generation {
            family.revoke(now);
            return Err(Refused::Invalid);
        }
        if wanted.is_some_and(|wanted| !wanted.is_within(family.scopes)) {
            return Err(Refused::Scope);
        }
        family.generation += 1;
        family.end = now + REFRESH_TOKEN_LIFE;
        let refresh_token = family.refresh_token(id, family.generation);
        Ok(Granted { family: id, scopes: wanted.unwrap_or(family.scopes), refresh_token })
    }

    /// Whether the tokens of this family must not be accepted any more.
    pub(super) fn is_revoked(&self, family: &FamilyId) -> bool {
        self.families.get(family).is_some_and(|family| family.revoked)
    }

    /// Forgets what is over. When still too many are left, the family that was used least recently gives way; a
    /// revoked one never does, because that would bring its access tokens back.
    fn make_room(&mut self, now: u64) -> Result<(), Refused> {
        self.families.retain(|_, family| family.end > now);
        if self.families.len() < MOST_FAMILIES {
            return Ok(());
        }
        let idle =
            self.families.iter().filter(|(_, family)| !family.revoked).min_by_key(|(_, family)| family.end);
        let id = idle.map(|(id, _)| *id).ok_or(Refused::Full)?;
        self.families.remove(&id);
        Ok(())
    }
}

impl Family {
    fn revoke(&mut self, now: u64) {
        if !self.revoked {
            self.revoked = true;
            self.end = now + REVOCATION_LIFE;
        }
    }

    /// The refresh token with that number. Nobody without the secret can make one, and the hashed text has one length
    /// per number, so nothing can be appended to it.
    fn refresh_token(&self, id: FamilyId, generation: u64) -> String {
        let proof = sha256(
            &[b"chio.oauth.refresh.v1\0".as_slice(), &self.secret, &generation.to_be_bytes()].concat(),
        );
        format!("rtk-{id}-{generation}-{proof}")
    }
}

fn parse_refresh_token(token: &str) -> Option<(FamilyId, u64)> {
    let mut parts = token.strip_prefix("rtk-")?.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl fmt::Display for FamilyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&secret::hex(&self.0))
    }
}

impl FromStr for FamilyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0_u8; 16];
        if text.len() != 32
            || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return Err(());
        }
        for (byte, start) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = text.get(start..start + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(())?;
        }
        Ok(FamilyId(bytes))
    }
}

impl From<NoRandomness> for Refused {
    fn from(_: NoRandomness) -> Self {
        Self::Randomness
    }
}
