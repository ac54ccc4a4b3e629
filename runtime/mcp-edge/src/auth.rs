//! Who calls: one answer for every request, before anything else looks at it.
//!
//! The edge authenticates in exactly one of four ways, chosen by the operator: not at all (loopback only), by one
//! static bearer token, by tokens of an external issuer that are checked against its published keys, or by tokens of
//! the small authorization server in [`crate::oauth`]. Localhost is not authentication, so even the first way
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
mod failure;
mod identity;
pub(crate) mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use chio_core::hash::sha256;
use chio_json::Sha256Hex;

pub use config::{Approval, AuthConfig, JwksSource, JwtConfig, Method, OauthConfig};
pub use failure::{AuthError, AuthFailure};
pub use identity::{AuthMethod, Identity};

use failure::Fault;

/// Permits everything that only looks.
pub const SCOPE_READ: &str = "chio.read";
/// Permits to call tools and to cancel tasks.
pub const SCOPE_INVOKE: &str = "chio.invoke";

/// Fewest characters of a static token: what an attacker cannot try out.
const SHORTEST_TOKEN: usize = 16;

/// Knows the callers of one edge.
pub struct Authentication {
    resource: Resource,
    verifier: Verifier,
}

/// The protected resource: the MCP endpoint of this edge.
struct Resource {
    /// `{public_url}/mcp`.
    url: String,
    /// Where its metadata is (RFC 9728).
    metadata_url: String,
}

enum Verifier {
    Nobody,
    Static { digest: Sha256Hex, identity: Identity },
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
            Method::Jwt(_) | Method::Oauth(_) => todo!(),
        };
        let resource = Resource {
            url: format!("{base}/mcp"),
            metadata_url: format!("{base}/.well-known/oauth-protected-resource/mcp"),
        };
        Ok(Arc::new(Authentication { resource, verifier }))
    }

    /// Who sent a request with these headers. To be asked for every request, also of an established session.
    ///
    /// # Errors
    ///
    /// [`AuthFailure`], which is the response to send.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity, AuthFailure> {
        match &self.verifier {
            Verifier::Nobody => Ok(anonymous()),
            Verifier::Static { digest, identity } => {
                let token = bearer::token(headers).map_err(|fault| self.refuse(fault))?;
                // Comparing hashes takes the same time whatever is presented: who cannot find a preimage learns
                // nothing from how many of their bytes agree.
                if sha256(token.as_bytes()) == *digest {
                    Ok(identity.clone())
                } else {
                    Err(self.refuse(Fault::Invalid("the token is not the one that the edge was given")))
                }
            }
        }
    }

    /// Whether `identity` may use the MCP method `method`, as far as its token's scopes decide that: `chio.invoke`
    /// for `tools/call` and `tasks/cancel`, `chio.read` for everything else. Callers who are known in another way
    /// have no scopes, and only the policy decides about them.
    ///
    /// # Errors
    ///
    /// [`AuthFailure`] with status 403 and an `insufficient_scope` challenge.
    pub fn authorize(&self, identity: &Identity, method: &str) -> Result<(), AuthFailure> {
        let needed = scope_of(method);
        if identity.method != AuthMethod::OauthBearer || identity.scopes.contains(needed) {
            return Ok(());
        }
        Err(self.refuse(Fault::Scope))
    }

    /// The routes of authentication itself: the metadata of the protected resource and, when it is built in, the
    /// authorization server. Empty under a static token and without authentication. They need no token, but belong
    /// behind the same checks of `Host` and `Origin` as everything else.
    #[must_use]
    pub fn routes(&self) -> Router {
        Router::new()
    }

    fn refuse(&self, fault: Fault) -> AuthFailure {
        let challenge = match &self.verifier {
            Verifier::Nobody => None,
            Verifier::Static { .. } => Some(HeaderValue::from_static("Bearer")),
        };
        AuthFailure::new(fault, challenge)
    }
}

/// The scope that a method needs.
fn scope_of(method: &str) -> &'static str {
    match method {
        "tools/call" | "tasks/cancel" => SCOPE_INVOKE,
        _ => SCOPE_READ,
    }
}

fn anonymous() -> Identity {
    Identity {
        method: AuthMethod::Anonymous,
        principal: "anonymous".to_owned(),
        issuer: None,
        subject: None,
        client_id: None,
        scopes: BTreeSet::new(),
        claims: BTreeMap::new(),
    }
}

fn static_identity(digest: &Sha256Hex) -> Identity {
    let mut name = digest.to_string();
    name.truncate(16);
    Identity { method: AuthMethod::StaticBearer, principal: format!("static:{name}"), ..anonymous() }
}
