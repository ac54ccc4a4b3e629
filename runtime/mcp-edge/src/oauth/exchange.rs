//! Token exchange (RFC 8693): who holds a token can have a weaker one made, to hand on.
//!
//! The new token is issued to the same client, has at most the scopes of the old one, ends with it at the latest, belongs
//! to the same approval and so is revoked with it, and comes without a refresh token.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{self, OauthError};
use super::form::Parameters;
use super::scopes::Scopes;
use super::token::wanted_scopes;
use super::{ACCESS_TOKEN_LIFE, AccessGrant, AuthorizationServer, family_of};

/// The only type of token that is taken and given.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl AuthorizationServer {
    /// Answers a token exchange. The new token belongs to the client that the old one was issued to; a client that
    /// names itself must be that one.
    pub(super) fn exchange(
        &self,
        form: &Parameters,
        client_id: Option<&str>,
    ) -> Result<Response, OauthError> {
        let invalid = |description| OauthError::bad("invalid_request", description);
        let subject_token = form.get("subject_token").ok_or(invalid("subject_token is missing"))?;
        if form.get("subject_token_type") != Some(ACCESS_TOKEN) {
            return Err(invalid("subject_token_type must be that of an access token"));
        }
        if form.get("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
            return Err(invalid("only access tokens are issued"));
        }
        if form.get("actor_token").is_some() {
            return Err(invalid("actor tokens are not supported"));
        }
        if form.get("audience").is_some_and(|audience| audience != self.resource) {
            return Err(OauthError::bad(
                "invalid_target",
                "the audience is not the one that this server serves",
            ));
        }
        let claims = self
            .verify(subject_token)
            .map_err(|_| invalid("the subject token is not a valid access token of this server"))?;
        let held = claims.text("scope").and_then(Scopes::parse);
        let parts = (claims.text("jti").and_then(family_of), claims.expiry(), held);
        let (Some(family), Some(subject_expiry), Some(held)) = parts else {
            return Err(invalid("the subject token is not a valid access token of this server"));
        };
        let scopes = wanted_scopes(form)?.unwrap_or(held);
        if !scopes.is_within(held) {
            return Err(OauthError::bad(
                "invalid_scope",
                "the scope is wider than that of the subject token",
            ));
        }
        let holder = claims
            .text("client_id")
            .ok_or(invalid("the subject token is not a valid access token of this server"))?;
        // The policy may give more to one client than to another, so a token never changes its client.
        if client_id.is_some_and(|named| named != holder) {
            return Err(OauthError::bad("invalid_grant", "the subject token was issued to another client"));
        }
        let now = self.clock.now();
        // Within the leeway for clocks a token is accepted after its end, but nothing new grows from it.
        let expiry = subject_expiry.min(now + ACCESS_TOKEN_LIFE);
        if expiry <= now {
            return Err(invalid("the subject token has expired"));
        }
        let access_token =
            self.access_token(&AccessGrant { family, client_id: holder, scopes, now, expiry })?;
        let body = json!({
            "access_token": access_token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": expiry - now,
            "scope": scopes.to_string(),
        });
        Ok(answer::private(StatusCode::OK, &body))
    }
}
