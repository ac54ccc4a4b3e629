//! `POST /oauth/authorize`: a person decided.
//!
//! The danger is the confused deputy: somebody else's request, approved by this person's browser. So the page carries the
//! request itself, signed, together with the digest of a cookie that only the browser that was shown the page has; the
//! answer counts only when both come back together, from our own origin, with the operator's code.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{COOKIE, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use chio_json::{Sha256Hex, SignatureHex};

use super::answer::OauthError;
use super::approval::Guess;
use super::authorize::{AuthorizationRequest, Refusal};
use super::form::Unread;
use super::secret::{self, NoRandomness};
use super::{AuthorizationServer, form, pace, page};

/// How long a page can be answered, in seconds.
const PAGE_LIFE: u64 = 600;
/// Begins the name of the cookie; the page's own part follows, so that several pages can be open.
const COOKIE_PREFIX: &str = "chio-consent-";
/// Says what is signed.
const DOMAIN: &[u8] = b"chio.oauth.consent.v1\0";

/// What a page carries.
struct Shown {
    expiry: u64,
    cookie: Sha256Hex,
    query: String,
}

/// Shows the page for a request, and gives the browser the cookie for it.
pub(super) fn show(server: &AuthorizationServer, request: &AuthorizationRequest, query: &str) -> Response {
    let now = server.clock.now();
    let renewed = server.approval.as_ref().map_or(Ok(()), |code| code.renew(now));
    let Ok(cookie) = renewed.and_then(|()| secret::bytes::<32>().map(|bytes| secret::hex(&bytes))) else {
        return OauthError::unavailable("the operating system gave no random bytes").into_response();
    };
    let shown = Shown {
        expiry: server.clock.now() + PAGE_LIFE,
        cookie: sha256(cookie.as_bytes()),
        query: query.to_owned(),
    };
    let mut response = render(server, request, &shown, None);
    let secure = if server.issuer.starts_with("https:") { "; Secure" } else { "" };
    let set = format!(
        "{}={cookie}; Path=/oauth; Max-Age={PAGE_LIFE}; HttpOnly; SameSite=Strict{secure}",
        shown.cookie_name()
    );
    if let Ok(set) = HeaderValue::from_str(&set) {
        response.headers_mut().insert(SET_COOKIE, set);
    }
    response
}

/// The handler.
pub(super) async fn decide(
    State(server): State<Arc<AuthorizationServer>>,
    request: Request<Body>,
) -> Response {
    match answer(&server, request).await {
        Ok(response) => response,
        Err(reason) => page::refusal(StatusCode::FORBIDDEN, reason),
    }
}

async fn answer(server: &AuthorizationServer, request: Request<Body>) -> Result<Response, &'static str> {
    let peer = pace::peer(request.extensions());
    let (head, body) = request.into_parts();
    if head.headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes() != server.issuer.as_bytes()) {
        return Err("The answer came from a page of another origin.");
    }
    let decided = match form::posted(Request::from_parts(head.clone(), body)).await {
        Ok(decided) => decided,
        Err(Unread::Late) => {
            return Ok(page::refusal(StatusCode::REQUEST_TIMEOUT, "The answer did not arrive in time."));
        }
        Err(Unread::Unusable(_)) => return Err("The answer is not the form of the page."),
    };
    let shown = decided
        .get("consent")
        .and_then(|token| Shown::read(server, token))
        .ok_or("The answer belongs to no page of this edge, or the edge was started anew. Begin again in the program.")?;
    let now = server.clock.now();
    if now >= shown.expiry {
        return Err("The page is too old. Begin again in the program.");
    }
    if !shown.has_cookie(&head.headers) {
        return Err(
            "The answer does not come from the browser that was shown the page. Begin again in the program.",
        );
    }
    let request = match server.read_request(&shown.query) {
        Ok(request) => request,
        Err(refusal) => return Ok(server.refuse(refusal)),
    };
    match decided.get("decision") {
        Some("approve") => {}
        Some("deny") => {
            let refusal = Refusal::Client(request.destination, "access_denied", "the operator said no");
            return Ok(server.refuse(refusal));
        }
        _ => return Err("The answer says neither approve nor deny."),
    }
    let guess = match &server.approval {
        None => Ok(Guess::Right),
        Some(code) => code.guess(decided.get("approval_code").unwrap_or_default(), peer, now),
    };
    Ok(match guess {
        Ok(Guess::Right) => server.approve(request),
        Ok(Guess::Wrong) => render(server, &request, &shown, Some("That is not the approval code.")),
        Ok(Guess::TooMany) => page::refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong approval codes were given. Wait a minute and begin again in the program.",
        ),
        Err(NoRandomness { .. }) => page::refusal(StatusCode::SERVICE_UNAVAILABLE, "No code could be made."),
    })
}

fn render(
    server: &AuthorizationServer,
    request: &AuthorizationRequest,
    shown: &Shown,
    complaint: Option<&str>,
) -> Response {
    page::consent(&page::Consent {
        client_name: &request.client.name,
        is_registered: request.client.is_registered(),
        redirect_uri: &request.destination.redirect_uri,
        may_invoke: request.scopes.may_invoke(),
        resource: &server.resource,
        token: &shown.write(server),
        complaint,
    })
}

impl Shown {
    fn write(&self, server: &AuthorizationServer) -> String {
        let payload =
            [&self.expiry.to_be_bytes()[..], self.cookie.as_bytes(), self.query.as_bytes()].concat();
        let signature = server.page_key.sign(&[DOMAIN, &payload].concat());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(signature.as_bytes()))
    }

    fn read(server: &AuthorizationServer, token: &str) -> Option<Shown> {
        let (payload, signature) = token.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = <[u8; 64]>::try_from(URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let signed = [DOMAIN, &payload].concat();
        if !server.page_key.public().verify(&signed, &SignatureHex::from_bytes(signature)) {
            return None;
        }
        let (expiry, rest) = payload.split_first_chunk::<8>()?;
        let (cookie, query) = rest.split_first_chunk::<32>()?;
        Some(Shown {
            expiry: u64::from_be_bytes(*expiry),
            cookie: Sha256Hex::from_bytes(*cookie),
            query: String::from_utf8(query.to_vec()).ok()?,
        })
    }

    fn cookie_name(&self) -> String {
        let mut name = self.cookie.to_string();
        name.truncate(16);
        format!("{COOKIE_PREFIX}{name}")
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(found, value)| found == name && sha256(value.as_bytes()) == self.cookie)
    }
}
