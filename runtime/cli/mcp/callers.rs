//! Who may call the edge: from the command line or from `chio.yaml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chio_config::{McpAuth, Secret};
use chio_kernel::SystemClock;
use chio_mcp_edge::auth::{Approval, AuthConfig, JwksSource, JwtConfig, Method, OauthConfig};
use clap::Args;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::failure::Failure;
use crate::cli::home::Home;
use crate::cli::keys::{self, Role};

/// Who may call. Without any of these, everybody on this machine, and nobody else.
#[derive(Debug, Args)]
#[group(id = "callers")]
pub(crate) struct Callers {
    /// Serve only callers with this bearer token, of at least 16 characters
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["oauth", "jwt_issuer"])]
    auth_token: Option<Secret>,
    /// Serve callers that log in at the built-in authorization server
    #[arg(long, conflicts_with = "jwt_issuer")]
    oauth: bool,
    /// Approve every login by itself; for tests and unattended use on loopback
    #[arg(long, requires = "oauth")]
    oauth_auto_approve: bool,
    /// Serve callers with tokens (JWT) of this issuer
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<String>,
    /// URL or file of that issuer's keys (JWKS)
    #[arg(long, value_name = "URL|FILE", requires = "jwt_issuer")]
    jwks: Option<String>,
    /// Audience that those tokens must name [default: the URL of the MCP endpoint]
    #[arg(long, value_name = "TEXT", requires = "jwt_issuer")]
    jwt_audience: Option<String>,
}

impl Callers {
    /// What was chosen: an option wins over the file, and the file may choose one way only.
    pub(super) fn method(&self, file: &McpAuth, home: &Home) -> Result<Method, Failure> {
        if let Some(token) = &self.auth_token {
            return Ok(fixed(token));
        }
        if self.oauth {
            return oauth(self.oauth_auto_approve, home);
        }
        if let Some(issuer) = &self.jwt_issuer {
            let jwks = self.jwks.as_deref().ok_or_else(|| {
                Failure::new("the keys of the issuer are not known")
                    .hint("name their URL or file with --jwks")
            })?;
            let (issuer, audience) = (issuer.clone(), self.jwt_audience.clone());
            return Ok(Method::Jwt(JwtConfig { issuer, audience, jwks: source(jwks) }));
        }
        match (&file.token, &file.jwt, &file.oauth) {
            (None, None, None) => Ok(Method::None),
            (Some(token), None, None) => Ok(fixed(token)),
            (None, Some(jwt), None) => {
                let jwks = match (&jwt.jwks_url, &jwt.jwks_file) {
                    (Some(url), None) => JwksSource::Url(url.clone()),
                    (None, Some(file)) => JwksSource::File(PathBuf::from(file)),
                    _ => {
                        return Err(Failure::new("`mcp.auth.jwt` does not say where the issuer's keys are")
                            .hint("write either `jwks_url` or `jwks_file`"));
                    }
                };
                let (issuer, audience) = (jwt.issuer.clone(), jwt.audience.clone());
                Ok(Method::Jwt(JwtConfig { issuer, audience, jwks }))
            }
            (None, None, Some(settings)) => oauth(settings.auto_approve, home),
            _ => Err(Failure::new("`mcp.auth` names more than one way to know callers")
                .hint("keep one of `token`, `jwt` and `oauth`")),
        }
    }
}

/// What [`chio_mcp_edge::auth::Authentication`] is made of.
pub(super) fn settings(method: Method, public: &Url, address: SocketAddr) -> AuthConfig {
    AuthConfig {
        public_url: public.as_str().trim_end_matches('/').to_owned(),
        listen: vec![address],
        method,
        clock: Arc::new(SystemClock),
    }
}

/// The choice in words for the banner.
pub(super) fn described(method: &Method) -> String {
    match method {
        Method::None => {
            "everybody on this machine, without authentication; --auth-token TOKEN changes that".to_owned()
        }
        Method::Static { .. } => "whoever has the token".to_owned(),
        Method::Jwt(jwt) => format!("whoever has a token of {}", jwt.issuer),
        Method::Oauth(oauth) => match oauth.approval {
            Approval::Automatic => "whoever logs in on this machine; every login is approved".to_owned(),
            Approval::Code { .. } => "whoever logs in with the code below".to_owned(),
        },
    }
}

fn fixed(token: &Secret) -> Method {
    Method::Static { token: Zeroizing::new(token.reveal().to_owned()) }
}

fn source(text: &str) -> JwksSource {
    if text.starts_with("https://") || text.starts_with("http://") {
        JwksSource::Url(text.to_owned())
    } else {
        JwksSource::File(PathBuf::from(text))
    }
}

fn oauth(auto_approve: bool, home: &Home) -> Result<Method, Failure> {
    let key = keys::load_or_create(home, Role::Login)?;
    let approval = if auto_approve {
        Approval::Automatic
    } else {
        Approval::Code { announce: Arc::new(|code| eprintln!("code    {code} approves the next login")) }
    };
    Ok(Method::Oauth(OauthConfig { seed: key.seed(), subject: "local".to_owned(), approval }))
}
