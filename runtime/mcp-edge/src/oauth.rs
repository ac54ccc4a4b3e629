//! A small authorization server for the one user of this machine, so that stock MCP clients can log in to an edge that
//! nobody gave an identity provider.
//!
//! It is OAuth 2.1 cut down to what that needs: authorization code with PKCE (S256 only), refresh tokens that rotate,
//! token exchange (RFC 8693), dynamic registration (RFC 7591) and one client that is known beforehand. All clients are
//! public. The issuer is the public URL itself, so its metadata is at the well-known path without a suffix (RFC 8414
//! section 3); nothing is served at the path for an issuer `{base}/oauth`, because such a document would have to
//! name an issuer whose tokens do not exist.
//!
//! What outlives a restart is what a signature can carry: access tokens and client registrations. Codes, refresh tokens
//! and revocations live in memory and are bounded. A login is revoked when one of its codes or refresh tokens is used
//! twice, and in no other way; there is no endpoint for it, because access tokens are short-lived and a restart ends the
//! rest. When the process ends, clients ask for a new approval, and a revoked access token could be shown again for the
//! rest of its ten minutes.
//!
//! Approval is the weak spot of every such server: a web page, or another user of the machine, can open the consent
//! page as well as the operator can. So the page asks for a code that only the operator's terminal has shown
//! ([`crate::auth::Approval::Code`]).

mod answer;
mod approval;
mod authorize;
mod clients;
mod consent;
mod exchange;
mod form;
mod grants;
mod metadata;
mod pace;
mod page;
mod redirect;
mod register;
mod scopes;
mod secret;
mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use chio_core::keys::SigningKey;
use chio_kernel::Clock;
use serde_json::json;

use crate::auth::failure::Fault;
use crate::auth::jwt::{Claims, Expected, Unverified};
use crate::auth::keys::{Found, KeySet};
use crate::auth::verified::Verified;
use crate::auth::{Approval, AuthError, OauthConfig};

use approval::OneTimeCode;
use grants::{FamilyId, Grants};
use pace::Pace;
use scopes::Scopes;

/// Life of an access token, in seconds.
const ACCESS_TOKEN_LIFE: u64 = 600;
/// Requests for tokens that one peer may fail with in a minute.
const MOST_FAILURES: u32 = 30;
/// Longest name of the local user, in bytes.
const LONGEST_SUBJECT: usize = 128;

/// The authorization server of one edge.
pub(crate) struct AuthorizationServer {
    issuer: String,
    resource: String,
    subject: String,
    key: SigningKey,
    key_id: String,
    keys: KeySet,
    /// Signs consent pages. Made at the start, so a page dies with the process.
    page_key: SigningKey,
    /// The operator's code; none when everything is approved.
    approval: Option<OneTimeCode>,
    grants: Mutex<Grants>,
    verified: Verified,
    pace: Pace,
    clock: Arc<dyn Clock>,
}

impl AuthorizationServer {
    /// The server of `config`, whose issuer is `issuer` and whose only audience is `resource`.
    pub(crate) fn new(
        config: OauthConfig,
        issuer: String,
        resource: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, AuthError> {
        let subject = config.subject;
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
            return Err(AuthError::BadName { role: "the name of the local user", most: LONGEST_SUBJECT });
        }
        let random = |error: secret::NoRandomness| AuthError::Randomness(error.to_string());
        let key = SigningKey::from_seed(*config.seed);
        let key_id = metadata::thumbprint(&key.public());
        let approval = match config.approval {
            Approval::Automatic => None,
            Approval::Code { announce } => Some(OneTimeCode::new(announce, clock.now()).map_err(random)?),
        };
        Ok(Arc::new(Self {
            issuer,
            resource,
            subject,
            keys: KeySet::of(key_id.clone(), key.public()),
            key,
            key_id,
            page_key: SigningKey::from_seed(secret::bytes().map_err(random)?),
            approval,
            grants: Mutex::new(Grants::default()),
            verified: Verified::default(),
            pace: Pace::new(MOST_FAILURES),
            clock,
        }))
    }

    /// All routes of the server.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/oauth-authorization-server", get(metadata::server))
            .route("/oauth/jwks.json", get(metadata::key_set))
            .route("/oauth/authorize", get(authorize::ask).post(consent::decide))
            .route("/oauth/token", post(token::grant))
            // Where the Python client (mcp 1.x) refreshes when it was started anew and has not read the metadata yet.
            .route("/token", post(token::grant))
            .route("/oauth/register", post(register::register))
            .with_state(Arc::clone(self))
    }

    /// The claims of an access token of ours that is valid now and was not revoked.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Claims>, Fault> {
        let claims = match self.verified.claims(token, 0) {
            Some(claims) => claims,
            None => self.signed_claims(token)?,
        };
        self.check(&claims)?;
        Ok(claims)
    }

    /// How long a token that was accepted before will still be, unless it is revoked.
    pub(crate) fn recheck(&self, claims: &Claims) -> Result<Duration, Fault> {
        self.check(claims)?;
        Ok(claims.time_left(self.clock.now()))
    }

    /// Checks everything about a token of ours but its signature.
    fn check(&self, claims: &Claims) -> Result<(), Fault> {
        let now = self.clock.now();
        claims.check(&Expected { issuer: &self.issuer, audience: &self.resource, now })?;
        let family = claims.text("jti").and_then(family_of).ok_or(Fault::Invalid("the token has no id"))?;
        if self.grants().is_revoked(&family) {
            return Err(Fault::Over("the token was revoked"));
        }
        Ok(())
    }

    /// The claims of a token that our key signed.
    fn signed_claims(&self, token: &str) -> Result<Arc<Claims>, Fault> {
        let unverified = Unverified::read(token)?;
        let Found::Key(key) = self.keys.find(unverified.key_id.as_deref(), unverified.algorithm) else {
            return Err(Fault::Invalid("the token is not signed with the key of this edge"));
        };
        let claims = Arc::new(unverified.verify(key)?);
        // Our key never changes while the process lives.
        self.verified.remember(token, 0, &claims);
        Ok(claims)
    }

    /// A signed access token (RFC 9068), whose id says to which approval it belongs.
    fn access_token(&self, grant: &AccessGrant<'_>) -> Result<String, secret::NoRandomness> {
        let header = json!({"alg": "EdDSA", "kid": self.key_id, "typ": "at+jwt"});
        let claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.resource,
            "scope": grant.scopes.to_string(),
            "client_id": grant.client_id,
            "resource": self.resource,
            "iat": grant.now,
            "exp": grant.expiry,
            "jti": format!("atk-{}-{}", grant.family, secret::token()?),
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes())))
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, Grants> {
        // No code panics while it holds the lock; if some did, each entry would still be whole.
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an access token is to say.
struct AccessGrant<'a> {
    family: FamilyId,
    client_id: &'a str,
    scopes: Scopes,
    now: u64,
    expiry: u64,
}

/// The approval to which a token with this id belongs.
fn family_of(token_id: &str) -> Option<FamilyId> {
    let (family, _) = token_id.strip_prefix("atk-")?.split_once('-')?;
    family.parse().ok()
}

/// Whether two secrets are equal, in a time that tells nothing about either.
fn same_secret(one: &str, other: &str) -> bool {
    sha256(one.as_bytes()) == sha256(other.as_bytes())
}
