//! Who calls: one answer for every request, before anything else looks at it.
//!
//! The edge authenticates in exactly one of four ways, chosen by the operator: not at all (loopback only), by one
//! static bearer token, by tokens of an external issuer that are checked against its published keys, or by tokens of
//! the small authorization server in `oauth`. Localhost is not authentication, so even the first way
//! refuses to start on any address that another machine can reach.
//!
//! A token is read from the `Authorization` header and from nowhere else, is checked on every request, and ends here:
//! what leaves this module is a [`chio_policy::Identity`], which holds no secret. Tokens are never logged and never
//! sent to a tool server.
//!
//! The last two ways make the edge an OAuth 2.1 resource server, which publishes its metadata (RFC 9728), says in
//! each challenge where that is, and demands the scopes `chio.read` and `chio.invoke`.

mod bearer;
mod config;
pub(crate) mod failure;
mod jwks;
pub(crate) mod jwt;
pub(crate) mod keys;
mod resource;
pub(crate) mod url;
pub(crate) mod verified;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use chio_core::hash::sha256;
use chio_json::Sha256Hex;
use chio_kernel::Clock;
use chio_policy::Identity;
use chio_spec::ReceiptCallerMethod;

pub use config::{Approval, AuthConfig, JwksSource, JwtConfig, Method, OauthConfig};
pub use failure::{AuthError, AuthFailure};

use crate::oauth::AuthorizationServer;
use failure::Fault;
use jwks::Jwks;
use jwt::{Claims, Expected, Unverified};
use resource::Resource;
use verified::Verified;

/// Permits everything that only looks.
pub const SCOPE_READ: &str = "chio.read";
/// Permits to call tools, and to cancel calls and tasks.
pub const SCOPE_INVOKE: &str = "chio.invoke";

/// Fewest characters of a static token: what an attacker cannot try out.
const SHORTEST_TOKEN: usize = 16;

/// How long something that goes on may go on without asking whether its token still holds: a token can be revoked at any
/// time, and the clock can be set.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Clocks here count seconds, so there is nothing new within one.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Knows the callers of one edge.
pub struct Authentication {
    resource: Resource,
    verifier: Verifier,
}

enum Verifier {
    Nobody,
    Static { digest: Sha256Hex, identity: Identity },
    Jwt(Box<External>),
    Oauth(Arc<AuthorizationServer>),
}

/// A caller that was let in.
#[derive(Debug)]
pub struct Admission {
    /// Who it is.
    pub identity: Identity,
    /// What that rests on.
    pub pass: Pass,
}

/// What an admission rests on: a token, or nothing that ends. It holds what the token says, not the token.
#[derive(Clone)]
pub struct Pass(Option<Arc<Claims>>);

/// An external issuer.
struct External {
    issuer: String,
    audience: String,
    jwks: Arc<Jwks>,
    verified: Verified,
    clock: Arc<dyn Clock>,
}

impl Authentication {
    /// Prepares to know callers as `config` says. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: a setting that would be unsafe or could never work.
    pub fn new(config: AuthConfig) -> Result<Arc<Authentication>, AuthError> {
        let public = url::trusted(&config.public_url).map_err(|why| AuthError::BadUrl {
            role: "the public URL",
            text: config.public_url.clone(),
            why,
        })?;
        if !matches!(public.path(), "/") || public.query().is_some() {
            return Err(AuthError::BadUrl {
                role: "the public URL",
                text: config.public_url,
                why: "it must end after the host and port, for the edge serves its paths at the root",
            });
        }
        let base = public.origin().ascii_serialization();
        let open_at = config
            .listen
            .iter()
            .find(|address| !address.ip().is_loopback())
            .map(ToString::to_string)
            .or_else(|| (!url::is_loopback(&public)).then(|| base.clone()));
        let mut resource = Resource::new(&base);
        let verifier = match config.method {
            Method::None => match open_at {
                Some(at) => return Err(AuthError::OpenToOthers { at }),
                None => Verifier::Nobody,
            },
            Method::Static { token } => {
                if token.len() < SHORTEST_TOKEN || !bearer::is_b64token(&token) {
                    return Err(AuthError::BadToken { least: SHORTEST_TOKEN });
                }
                let digest = sha256(token.as_bytes());
                Verifier::Static { digest, identity: static_identity(&digest) }
            }
            Method::Jwt(jwt) => {
                url::trusted(&jwt.issuer).map_err(|why| AuthError::BadUrl {
                    role: "the issuer",
                    text: jwt.issuer.clone(),
                    why,
                })?;
                resource.publish(&jwt.issuer);
                let audience = jwt.audience.unwrap_or_else(|| resource.url().to_owned());
                let jwks = Jwks::new(jwt.jwks, Arc::clone(&config.clock))?;
                Verifier::Jwt(Box::new(External {
                    issuer: jwt.issuer,
                    audience,
                    jwks,
                    verified: Verified::default(),
                    clock: config.clock,
                }))
            }
            Method::Oauth(oauth) => {
                if let (Approval::Automatic, Some(at)) = (&oauth.approval, open_at) {
                    return Err(AuthError::ApprovesOthers { at });
                }
                resource.publish(&base);
                let url = resource.url().to_owned();
                Verifier::Oauth(AuthorizationServer::new(oauth, base, url, config.clock)?)
            }
        };
        Ok(Arc::new(Authentication { resource, verifier }))
    }

    /// Who sent a request with these headers. To be asked for every request, also of an established session.
    ///
    /// # Errors
    ///
    /// [`AuthFailure`], which is the response to send.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Admission, AuthFailure> {
        match &self.verifier {
            Verifier::Nobody => Ok(Admission::for_good(Identity::anonymous())),
            Verifier::Static { digest, identity } => {
                let token = bearer::token(headers).map_err(|fault| self.refuse(fault))?;
                // Comparing hashes takes the same time whatever is presented: who cannot find a preimage learns
                // nothing from how many of their bytes agree.
                if sha256(token.as_bytes()) == *digest {
                    Ok(Admission::for_good(identity.clone()))
                } else {
                    Err(self.refuse(Fault::Invalid("the token is not the one that the edge was given")))
                }
            }
            Verifier::Jwt(issuer) => match bearer::token(headers) {
                Ok(token) => issuer.identify(token).await,
                Err(fault) => Err(fault),
            }
            .map_err(|fault| self.refuse(fault)),
            Verifier::Oauth(server) => bearer::token(headers)
                .and_then(|token| server.verify(token))
                .and_then(Admission::by)
                .map_err(|fault| self.refuse(fault)),
        }
    }

    /// For how long what was let in with `pass` may go on before this is to be asked again; `None` when it must end. What
    /// outlives its request asks, for a token can expire and can be revoked.
    #[must_use]
    pub fn holds(&self, pass: &Pass) -> Option<Duration> {
        let Some(claims) = &pass.0 else { return Some(Duration::MAX) };
        match &self.verifier {
            Verifier::Nobody | Verifier::Static { .. } => None,
            Verifier::Jwt(issuer) => issuer.recheck(claims).ok(),
            Verifier::Oauth(server) => server.recheck(claims).ok(),
        }
        .map(|left| left.clamp(SHORTEST_PAUSE, ASK_AGAIN))
    }

    /// Whether a token can be that of the operators: one that can be sent, that nobody finds by trying, and that is not
    /// the clients' own.
    ///
    /// # Errors
    ///
    /// [`AuthError::BadToken`] or [`AuthError::AdminTokenOfClients`].
    pub fn check_admin_token(&self, token: &str) -> Result<(), AuthError> {
        if token.len() < SHORTEST_TOKEN || !bearer::is_b64token(token) {
            return Err(AuthError::BadToken { least: SHORTEST_TOKEN });
        }
        match &self.verifier {
            Verifier::Static { digest, .. } if sha256(token.as_bytes()) == *digest => {
                Err(AuthError::AdminTokenOfClients)
            }
            _ => Ok(()),
        }
    }

    /// Whether `identity` may use the MCP method `method`, as far as its token's scopes decide that: `chio.invoke`
    /// for `tools/call`, `tasks/cancel` and `notifications/cancelled`, `chio.read` for everything else. Callers who are
    /// known in another way have no scopes, and only the policy decides about them.
    ///
    /// # Errors
    ///
    /// [`AuthFailure`] with status 403 and an `insufficient_scope` challenge.
    pub fn authorize(&self, identity: &Identity, method: &str) -> Result<(), AuthFailure> {
        let needed = scope_of(method);
        if identity.method != ReceiptCallerMethod::OauthBearer || identity.scopes.contains(needed) {
            return Ok(());
        }
        Err(AuthFailure::new(Fault::Scope, self.resource.insufficient(&identity.scopes, needed)))
    }

    /// The routes of authentication itself: the metadata of the protected resource and, when it is built in, the
    /// authorization server. Empty under a static token and without authentication. They need no token, but belong
    /// behind the same checks of `Host` and `Origin` as everything else.
    pub fn routes(&self) -> Router {
        match &self.verifier {
            Verifier::Nobody | Verifier::Static { .. } => Router::new(),
            Verifier::Jwt(_) => self.resource.routes(),
            Verifier::Oauth(server) => self.resource.routes().merge(server.routes()),
        }
    }

    fn refuse(&self, fault: Fault) -> AuthFailure {
        let challenge = match &self.verifier {
            Verifier::Nobody => None,
            Verifier::Static { .. } => Some(HeaderValue::from_static("Bearer")),
            Verifier::Jwt(_) | Verifier::Oauth(_) => self.resource.challenge(fault),
        };
        AuthFailure::new(fault, challenge)
    }
}

impl Admission {
    fn for_good(identity: Identity) -> Self {
        Self { identity, pass: Pass(None) }
    }

    fn by(claims: Arc<Claims>) -> Result<Self, Fault> {
        Ok(Self { identity: claims.identity()?, pass: Pass(Some(claims)) })
    }
}

impl Pass {
    /// Whether nothing can end it.
    pub(crate) fn is_for_good(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_for_good() { "Pass(for good)" } else { "Pass(token)" })
    }
}

impl External {
    async fn identify(&self, token: &str) -> Result<Admission, Fault> {
        let claims = self.claims(token).await?;
        self.recheck(&claims)?;
        Admission::by(claims)
    }

    /// How long a token of the issuer will be accepted, from now on.
    fn recheck(&self, claims: &Claims) -> Result<Duration, Fault> {
        let now = self.clock.now();
        claims.check(&Expected { issuer: &self.issuer, audience: &self.audience, now })?;
        Ok(claims.time_left(now))
    }

    /// The claims of a token that a key of the issuer signed.
    async fn claims(&self, token: &str) -> Result<Arc<Claims>, Fault> {
        let known = self.jwks.generation().and_then(|generation| self.verified.claims(token, generation));
        if let Some(claims) = known {
            return Ok(claims);
        }
        let unverified = Unverified::read(token)?;
        let (key, generation) = self.jwks.key(unverified.key_id.as_deref(), unverified.algorithm).await?;
        let claims = Arc::new(unverified.verify(&key)?);
        self.verified.remember(token, generation, &claims);
        Ok(claims)
    }
}

/// The scope that a method needs.
fn scope_of(method: &str) -> &'static str {
    match method {
        "tools/call" | "tasks/cancel" | "notifications/cancelled" => SCOPE_INVOKE,
        _ => SCOPE_READ,
    }
}

fn static_identity(digest: &Sha256Hex) -> Identity {
    let mut name = digest.to_string();
    name.truncate(16);
    Identity::named(ReceiptCallerMethod::StaticBearer, format!("static:{name}"))
}
