//! How the operator wants callers to be known. Plain values: whoever reads a file or a command line builds them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chio_kernel::Clock;
use zeroize::Zeroizing;

/// Everything that [`crate::auth::Authentication`] is built from.
pub struct AuthConfig {
    /// The URL under which clients reach the edge, without the path of an endpoint: `http://127.0.0.1:8931` or
    /// `https://edge.example.org`. The protected resource is this with `/mcp` after it, and the built-in
    /// authorization server has it as its issuer. Only `https`, or `http` with a loopback host.
    pub public_url: String,
    /// The addresses on which the edge listens. Decides whether [`Method::None`] and [`Approval::Automatic`] are
    /// admissible: both need every one of them to be a loopback address.
    pub listen: Vec<SocketAddr>,
    /// How callers are known.
    pub method: Method,
    /// The clock that decides about expiry.
    pub clock: Arc<dyn Clock>,
}

/// The four ways to know a caller.
pub enum Method {
    /// Nobody is asked; every caller is `anonymous`. On loopback addresses only.
    None,
    /// Whoever holds this token is one principal, named after the token's hash.
    Static {
        /// The token. At least 16 characters of those that a bearer token may have (RFC 6750 section 2.1).
        token: Zeroizing<String>,
    },
    /// Tokens of an external issuer.
    Jwt(JwtConfig),
    /// Tokens of the built-in authorization server.
    Oauth(OauthConfig),
}

/// An external issuer of JSON Web Tokens (RFC 9068 shape, though `typ` may also be `JWT`).
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The issuer, exactly as it stands in the `iss` claim; also published as the authorization server of this
    /// resource, so it must be an `https` URL, or an `http` one with a loopback host.
    pub issuer: String,
    /// What the `aud` claim must contain, exactly. `None` stands for the URL of the protected resource, which is what
    /// RFC 8707 clients ask their token for.
    pub audience: Option<String>,
    /// Where the issuer's public keys are.
    pub jwks: JwksSource,
}

/// Where the public keys of an issuer are read from (RFC 7517).
#[derive(Clone, Debug)]
pub enum JwksSource {
    /// A URL: `https`, or `http` with a loopback host. Redirects are not followed.
    Url(String),
    /// A file, read again when a token names a key that it did not hold.
    File(PathBuf),
}

/// The built-in authorization server.
pub struct OauthConfig {
    /// The Ed25519 seed of the key that signs access tokens. Keep it in the home folder: with the same seed, tokens
    /// and client registrations stay valid across restarts. Not the kernel's own key.
    pub seed: Zeroizing<[u8; 32]>,
    /// Name of the one local user, the `sub` of every token.
    pub subject: String,
    /// Who approves an authorization, and how.
    pub approval: Approval,
}

/// How an authorization is approved.
pub enum Approval {
    /// The consent page asks for a code that only the operator has seen. Each code approves once.
    Code {
        /// Shows a code to the operator, for instance on standard error: once at the start, and again after each
        /// approval, because the code before it is spent. Must not block.
        announce: Arc<dyn Fn(&str) + Send + Sync>,
    },
    /// Every well-formed request is approved at once, without a page: for tests and headless use. On loopback
    /// addresses only, where it gives every local process a token.
    Automatic,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthConfig")
            .field("public_url", &self.public_url)
            .field("listen", &self.listen)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Method {
    /// Secrets never show.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Static { .. } => formatter.write_str("Static"),
            Self::Jwt(config) => formatter.debug_tuple("Jwt").field(config).finish(),
            Self::Oauth(config) => {
                write!(
                    formatter,
                    "Oauth {{ subject: {:?}, approval: {:?} }}",
                    config.subject, config.approval
                )
            }
        }
    }
}

impl fmt::Debug for Approval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Code { .. } => "Code",
            Self::Automatic => "Automatic",
        })
    }
}
