//! `POST /oauth/token`: codes, refresh tokens and tokens become tokens.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use serde_json::json;

use super::answer::{self, OauthError};
use super::form::{self, Parameters, Unread};
use super::grants::Granted;
use super::metadata::TOKEN_EXCHANGE;
use super::scopes::Scopes;
use super::{ACCESS_TOKEN_LIFE, AccessGrant, AuthorizationServer, pace};

/// The handler.
pub(super) async fn grant(
    State(server): State<Arc<AuthorizationServer>>,
    request: Request<Body>,
) -> Response {
    let peer = pace::peer(request.extensions());
    match server.answer(request).await {
        Ok(response) => response,
        Err(error) if error.is_ours() => error.into_response(),
        Err(error) => {
            // What is right always passes: all callers of a proxy, and of this machine, have one address.
            let now = server.clock.now();
            if let Some(seconds) = server.pace.wait(peer, now) {
                return OauthError::too_many(seconds).into_response();
            }
            server.pace.failed(peer, now);
            error.into_response()
        }
    }
}

impl AuthorizationServer {
    async fn answer(&self, request: Request<Body>) -> Result<Response, OauthError> {
        if request.headers().contains_key(AUTHORIZATION) {
            return Err(OauthError::invalid_client("clients of this server are public and have no secret"));
        }
        let form = form::posted(request).await.map_err(|unread| match unread {
            Unread::Late => OauthError::late(),
            Unread::Unusable(why) => OauthError::bad("invalid_request", why),
        })?;
        if form.get("client_secret").is_some() || form.get("client_assertion").is_some() {
            return Err(OauthError::invalid_client("clients of this server are public and have no secret"));
        }
        let client_id = form.get("client_id");
        if client_id.is_some_and(|id| self.client(id).is_none()) {
            return Err(OauthError::invalid_client("the client is not registered here"));
        }
        let named = client_id.ok_or(OauthError::bad("invalid_request", "client_id is missing"));
        if form.get("resource").is_some_and(|resource| resource != self.resource) {
            return Err(OauthError::bad(
                "invalid_target",
                "the resource is not the one that this server serves",
            ));
        }
        let grant_type =
            form.get("grant_type").ok_or(OauthError::bad("invalid_request", "grant_type is missing"))?;
        match grant_type {
            "authorization_code" => self.redeem(&form, named?),
            "refresh_token" => self.refresh(&form, named?),
            TOKEN_EXCHANGE => self.exchange(&form, client_id),
            _ => Err(OauthError::bad("unsupported_grant_type", "the grant type is not one of this server")),
        }
    }

    fn redeem(&self, form: &Parameters, client_id: &str) -> Result<Response, OauthError> {
        let required = |name| {
            form.get(name).ok_or(OauthError::bad(
                "invalid_request",
                "code, redirect_uri and code_verifier are required",
            ))
        };
        let (code, redirect_uri, verifier) =
            (required("code")?, required("redirect_uri")?, required("code_verifier")?);
        if !is_verifier(verifier) {
            return Err(OauthError::bad(
                "invalid_request",
                "code_verifier must be 43 to 128 unreserved characters",
            ));
        }
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()).as_bytes());
        let granted = self.grants().redeem(code, self.clock.now(), |approved| {
            approved.client_id == client_id
                && approved.redirect_uri == redirect_uri
                && approved.challenge == challenge
        })?;
        self.tokens(&granted, client_id)
    }

    fn refresh(&self, form: &Parameters, client_id: &str) -> Result<Response, OauthError> {
        let token = form
            .get("refresh_token")
            .ok_or(OauthError::bad("invalid_request", "refresh_token is missing"))?;
        let wanted = wanted_scopes(form)?;
        let granted = self.grants().refresh(token, client_id, wanted, self.clock.now())?;
        self.tokens(&granted, client_id)
    }

    fn tokens(&self, granted: &Granted, client_id: &str) -> Result<Response, OauthError> {
        let now = self.clock.now();
        let access_token = self.access_token(&AccessGrant {
            family: granted.family,
            client_id,
            scopes: granted.scopes,
            now,
            expiry: now + ACCESS_TOKEN_LIFE,
        })?;
        let body = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": ACCESS_TOKEN_LIFE,
            "scope": granted.scopes.to_string(),
            "refresh_token": granted.refresh_token,
        });
        Ok(answer::private(StatusCode::OK, &body))
    }
}

/// The scopes that a token request asks for, if it does.
pub(super) fn wanted_scopes(form: &Parameters) -> Result<Option<Scopes>, OauthError> {
    let Some(text) = form.get("scope") else { return Ok(None) };
    let scopes = Scopes::parse(text);
    scopes.map(Some).ok_or(OauthError::bad("invalid_scope", "the scopes are chio.read and chio.invoke"))
}

/// Whether `text` has the form of a PKCE verifier (RFC 7636 section 4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
