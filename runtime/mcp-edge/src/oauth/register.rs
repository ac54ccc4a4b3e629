//! `POST /oauth/register`: a client introduces itself (RFC 7591).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use chio_json::strict;
use serde_json::{Map, Value, json};

use super::answer::{self, OauthError};
use super::form::Unread;
use super::{AuthorizationServer, Scopes, clients, form, redirect};

/// Most redirect URIs of one client.
const MOST_REDIRECT_URIS: usize = 10;
/// Longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// The handler.
pub(super) async fn register(
    State(server): State<Arc<AuthorizationServer>>,
    request: Request<Body>,
) -> Response {
    match server.register(request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

impl AuthorizationServer {
    async fn register(&self, request: Request<Body>) -> Result<Response, OauthError> {
        let invalid = |description| OauthError::bad("invalid_client_metadata", description);
        if !form::has_media_type(request.headers(), "application/json") {
            return Err(invalid("the metadata must be application/json"));
        }
        let body = form::body(request).await.map_err(|unread| match unread {
            Unread::Late => OauthError::late(),
            Unread::Unusable(_) => invalid("the metadata could not be read, or is too long"),
        })?;
        let text = std::str::from_utf8(&body).map_err(|_| invalid("the metadata is not JSON"))?;
        let Ok(Value::Object(metadata)) = strict::parse(text) else {
            return Err(invalid("the metadata is not a JSON object with each member once"));
        };
        let name = client_name(&metadata)?;
        let redirect_uris = redirect_uris(&metadata)?;
        for (member, needed) in [("grant_types", "authorization_code"), ("response_types", "code")] {
            let offered = metadata.get(member).and_then(Value::as_array);
            if offered.is_some_and(|offered| !offered.iter().any(|one| one == needed)) {
                return Err(invalid("only the authorization code grant is open to registered clients"));
            }
        }
        let id = clients::register(&self.key, name.clone(), redirect_uris.clone())
            .ok_or(invalid("the redirect URIs are too long together"))?;
        // The server may replace what it does not support (RFC 7591 section 3.2.1); the client reads it here.
        let answer = json!({
            "client_id": id,
            "client_id_issued_at": self.clock.now(),
            "client_name": name,
            "redirect_uris": redirect_uris,
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": Scopes::ALL.to_string(),
        });
        Ok(answer::private(StatusCode::CREATED, &answer))
    }
}

fn client_name(metadata: &Map<String, Value>) -> Result<String, OauthError> {
    let name = match metadata.get("client_name") {
        None => "a program without a name",
        Some(name) => name.as_str().unwrap_or_default(),
    };
    // Invisible and direction-changing characters would let one name look like another.
    let is_plain = |character: char| !character.is_control() && !is_format(character);
    if name.trim().is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
        return Err(OauthError::bad(
            "invalid_client_metadata",
            "client_name must be 1 to 64 bytes of visible text",
        ));
    }
    Ok(name.to_owned())
}

fn is_format(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn redirect_uris(metadata: &Map<String, Value>) -> Result<Vec<String>, OauthError> {
    let invalid = || {
        OauthError::bad(
            "invalid_redirect_uri",
            "redirect_uris must be 1 to 10 URIs in normal form, with https, or with http and a loopback host, \
             without user, fragment or odd characters",
        )
    };
    let listed = metadata.get("redirect_uris").and_then(Value::as_array).ok_or_else(invalid)?;
    if listed.is_empty() || listed.len() > MOST_REDIRECT_URIS {
        return Err(invalid());
    }
    let admissible = |uri: &Value| {
        let uri = uri.as_str()?;
        redirect::admissible(uri).ok()?;
        Some(uri.to_owned())
    };
    listed.iter().map(admissible).collect::<Option<Vec<_>>>().ok_or_else(invalid)
}
