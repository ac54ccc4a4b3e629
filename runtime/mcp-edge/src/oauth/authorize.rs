//! `GET /oauth/authorize`: a client sends a person here (RFC 6749 section 4.1.1, RFC 7636, RFC 8707, RFC 9207).
//!
//! Until client and redirect URI are known to belong together, nothing is sent anywhere: the person sees a page that
//! says what is wrong. From then on errors go to the client.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::clients::Client;
use super::form::Parameters;
use super::grants::Approved;
use super::scopes::Scopes;
use super::{AuthorizationServer, consent, page, redirect};

/// Longest query, in bytes.
const LONGEST_QUERY: usize = 8 * 1024;
/// Length of an S256 challenge: 32 bytes in base64url.
const CHALLENGE_LENGTH: usize = 43;

/// A request that can be approved.
#[derive(Debug)]
pub(super) struct AuthorizationRequest {
    pub(super) client: Client,
    pub(super) destination: Destination,
    challenge: String,
    pub(super) scopes: Scopes,
}

/// Where the answer to a client goes.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) redirect_uri: String,
    state: Option<String>,
}

/// Why a request cannot be approved.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Only the person may be told.
    Person(&'static str),
    /// The client is told.
    Client(Destination, &'static str, &'static str),
}

/// The handler.
pub(super) async fn ask(
    State(server): State<Arc<AuthorizationServer>>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    match server.read_request(&query) {
        Err(refusal) => server.refuse(refusal),
        Ok(request) if server.approval.is_none() => server.approve(request),
        Ok(request) => consent::show(&server, &request, &query),
    }
}

impl AuthorizationServer {
    /// Reads an authorization request.
    pub(super) fn read_request(&self, query: &str) -> Result<AuthorizationRequest, Refusal> {
        if query.len() > LONGEST_QUERY {
            return Err(Refusal::Person("The request is too long."));
        }
        let parameters = Parameters::parse(query.as_bytes())
            .map_err(|_| Refusal::Person("The request gives a parameter twice, or too many of them."))?;
        let client = parameters
            .get("client_id")
            .and_then(|id| self.client(id))
            .ok_or(Refusal::Person("The program that sent you here is not registered with this edge."))?;
        let redirect_uri = parameters
            .get("redirect_uri")
            .filter(|requested| {
                client.redirect_uris.iter().any(|registered| redirect::matches(registered, requested))
            })
            .ok_or(Refusal::Person(
                "The program that sent you here wants the answer at a place that it did not register.",
            ))?
            .to_owned();
        let destination = Destination { redirect_uri, state: parameters.get("state").map(str::to_owned) };
        let refuse = |error, description| Err(Refusal::Client(destination.clone(), error, description));

        match parameters.get("response_type") {
            Some("code") => {}
            None => return refuse("invalid_request", "response_type is missing"),
            Some(_) => {
                return refuse("unsupported_response_type", "only the response type code is supported");
            }
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return refuse("invalid_request", "only the response mode query is supported");
        }
        // A missing method would mean "plain", which OAuth 2.1 does away with.
        if parameters.get("code_challenge_method") != Some("S256") {
            return refuse("invalid_request", "PKCE with code_challenge_method S256 is required");
        }
        let Some(challenge) = parameters.get("code_challenge").filter(|challenge| is_challenge(challenge))
        else {
            return refuse("invalid_request", "code_challenge must be a SHA-256 digest in base64url");
        };
        if parameters.get("resource").is_some_and(|resource| resource != self.resource) {
            return refuse(
                "invalid_target",
                "the resource is not the one that this server issues tokens for",
            );
        }
        let Some(scopes) = parameters.get("scope").map_or(Some(Scopes::ALL), Scopes::parse) else {
            return refuse("invalid_scope", "the scopes are chio.read and chio.invoke");
        };
        Ok(AuthorizationRequest { client, challenge: challenge.to_owned(), scopes, destination })
    }

    /// Sends the client its code.
    pub(super) fn approve(&self, request: AuthorizationRequest) -> Response {
        let AuthorizationRequest { client, destination, challenge, scopes } = request;
        tracing::info!(client = client.name, scopes = %scopes, "access was approved");
        let approved = Approved {
            client_id: client.id,
            redirect_uri: destination.redirect_uri.clone(),
            challenge,
            scopes,
        };
        let code = self.grants().code(approved, self.clock.now());
        match code {
            Ok(code) => self.redirect(&destination, &[("code", &code)]),
            Err(_) => self.redirect(
                &destination,
                &[("error", "temporarily_unavailable"), ("error_description", "no code could be made")],
            ),
        }
    }

    /// Tells the person or the client why there is no code.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response {
        match refusal {
            Refusal::Person(reason) => page::refusal(StatusCode::BAD_REQUEST, reason),
            Refusal::Client(destination, error, description) => {
                self.redirect(&destination, &[("error", error), ("error_description", description)])
            }
        }
    }

    fn redirect(&self, destination: &Destination, answer: &[(&str, &str)]) -> Response {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        parameters.extend_pairs(answer);
        if let Some(state) = &destination.state {
            parameters.append_pair("state", state);
        }
        // RFC 9207: a client of several servers learns whose answer this is.
        parameters.append_pair("iss", &self.issuer);
        let uri = &destination.redirect_uri;
        let joint = if uri.contains('?') { '&' } else { '?' };
        let Ok(location) = HeaderValue::from_str(&format!("{uri}{joint}{}", parameters.finish())) else {
            return page::refusal(StatusCode::BAD_REQUEST, "The answer cannot be sent to the program.");
        };
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
