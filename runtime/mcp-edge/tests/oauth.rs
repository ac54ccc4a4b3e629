//! The built-in authorization server, over sockets: what it grants, and everything that it must not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod auth_harness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use chio_core::keys::SigningKey;
use chio_kernel::Clock;
use chio_mcp_edge::auth::{Approval, Method, OauthConfig};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use auth_harness::{Answer, Edge, Signer, encode, query_of, start};

const SEED: [u8; 32] = [42; 32];
const REDIRECT: &str = "http://127.0.0.1:53682/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const INVALID: StatusCode = StatusCode::BAD_REQUEST;

fn oauth(approval: Approval) -> Method {
    Method::Oauth(OauthConfig { seed: Zeroizing::new(SEED), subject: "ada".to_owned(), approval })
}

/// An edge that approves everything.
async fn automatic() -> Edge {
    start(|_| oauth(Approval::Automatic)).await
}

/// An edge that asks, and what it showed to the operator.
async fn asking() -> (Edge, Arc<Mutex<Vec<String>>>) {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = shown.clone();
    let announce = Arc::new(move |code: &str| seen.lock().unwrap().push(code.to_owned()));
    (start(|_| oauth(Approval::Code { announce })).await, shown)
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()).as_bytes())
}

/// The authorization request of a client that does everything right, with some parameters changed or (when empty)
/// left out.
fn authorize_path(edge: &Edge, changes: &[(&str, &str)]) -> String {
    let resource = format!("{}/mcp", edge.base);
    let challenge = challenge();
    let mut parameters: BTreeMap<&str, &str> = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", "chio-cli"),
        ("redirect_uri", REDIRECT),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("state", "st/at&e="),
        ("scope", "chio.read chio.invoke"),
        ("resource", resource.as_str()),
    ]);
    parameters.extend(changes.iter().copied());
    let kept: Vec<(&str, &str)> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    format!("/oauth/authorize?{}", encode(&kept))
}

async fn code(edge: &Edge, changes: &[(&str, &str)]) -> String {
    let answer = edge.get(&authorize_path(edge, changes)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    query_of(answer.header("location"))["code"].clone()
}

async fn redeem(edge: &Edge, code: &str, changes: &[(&str, &str)]) -> Answer {
    let mut form: BTreeMap<&str, &str> = BTreeMap::from([
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", "chio-cli"),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]);
    form.extend(changes.iter().copied());
    let kept: Vec<(&str, &str)> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    edge.form("/oauth/token", &kept).await
}

async fn refresh(edge: &Edge, token: &str, more: &[(&str, &str)]) -> Answer {
    let form =
        [&[("grant_type", "refresh_token"), ("client_id", "chio-cli"), ("refresh_token", token)], more]
            .concat();
    edge.form("/oauth/token", &form).await
}

async fn exchange(edge: &Edge, token: &str, changes: &[(&str, &str)]) -> Answer {
    let mut form: BTreeMap<&str, &str> = BTreeMap::from([
        ("grant_type", EXCHANGE),
        ("client_id", "chio-cli"),
        ("subject_token", token),
        ("subject_token_type", ACCESS),
    ]);
    form.extend(changes.iter().copied());
    let kept: Vec<(&str, &str)> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    edge.form("/oauth/token", &kept).await
}

/// Goes the whole way and returns the token answer.
async fn login(edge: &Edge, scope: &str) -> Value {
    let code = code(edge, &[("scope", scope)]).await;
    let answer = redeem(edge, &code, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("{member} in {value}")).to_owned()
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The answer is this OAuth error, and not to be kept.
fn assert_error(answer: &Answer, status: StatusCode, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{answer:?}");
    assert!(answer.json()["error_description"].is_string());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
}

// --- What everybody may know ---------------------------------------------------------------------------------------

#[tokio::test]
async fn the_metadata_names_the_public_url_as_issuer_and_only_s256() {
    let edge = automatic().await;
    let metadata = edge.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(
        metadata,
        json!({
            "issuer": edge.base,
            "authorization_endpoint": format!("{}/oauth/authorize", edge.base),
            "token_endpoint": format!("{}/oauth/token", edge.base),
            "registration_endpoint": format!("{}/oauth/register", edge.base),
            "jwks_uri": format!("{}/oauth/jwks.json", edge.base),
            "scopes_supported": ["chio.read", "chio.invoke"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", EXCHANGE],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    );
    let resource = edge.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert_eq!(resource["authorization_servers"], json!([edge.base]));
    // A document there would have to name an issuer that does not exist.
    assert_eq!(edge.get("/.well-known/oauth-authorization-server/oauth").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_metadata_does_not_follow_the_host_header() {
    let edge = automatic().await;
    let url = format!("{}/.well-known/oauth-authorization-server", edge.base);
    let answer = Answer::of(edge.client.get(url).header("host", "evil.example.org")).await;
    assert!(!answer.text.contains("evil"));
}

#[tokio::test]
async fn access_tokens_verify_with_the_published_key() {
    let edge = automatic().await;
    let keys = edge.get("/oauth/jwks.json").await.json();
    let key = &keys["keys"][0];
    assert_eq!((keys["keys"].as_array().unwrap().len(), &key["alg"]), (1, &json!("EdDSA")));
    let token = text(&login(&edge, "chio.read").await, "access_token");
    // By another implementation than the one that signed.
    let decoding = jsonwebtoken::DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert!(jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &decoding, Algorithm::EdDSA).unwrap());
    assert_eq!(part(&token, 0), json!({"alg": "EdDSA", "kid": key["kid"], "typ": "at+jwt"}));
}

// --- Authorization code ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_code_becomes_an_access_token_with_the_agreed_claims() {
    let edge = automatic().await;
    let answer = edge.get(&authorize_path(&edge, &[])).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::SEE_OTHER, "no-store"));
    let query = query_of(answer.header("location"));
    assert!(answer.header("location").starts_with(&format!("{REDIRECT}?")));
    assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("st/at&e=", edge.base.as_str()));

    let answer = redeem(&edge, &query["code"], &[]).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!(answer.header("content-type"), "application/json");
    let granted = answer.json();
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(granted["scope"], "chio.read chio.invoke");
    let token = text(&granted, "access_token");
    let claims = part(&token, 1);
    let now = edge.clock.now();
    assert!(text(&claims, "jti").starts_with("atk-"));
    let mut rest = claims.clone();
    rest.as_object_mut().unwrap().remove("jti");
    let resource = format!("{}/mcp", edge.base);
    assert_eq!(
        rest,
        json!({
            "iss": edge.base, "sub": "ada", "aud": resource, "scope": "chio.read chio.invoke",
            "client_id": "chio-cli", "resource": resource, "iat": now, "exp": now + 600,
        })
    );
    let seen = edge.call_method(&token, "tools/call").await.json();
    assert_eq!(seen["principal"], format!("{}#ada", edge.base));
    assert_eq!(seen["client_id"], "chio-cli");
    edge.clock.forward(660);
    assert_eq!(edge.call(&token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn access_tokens_stay_valid_across_a_restart() {
    let first = automatic().await;
    let token = text(&login(&first, "chio.read").await, "access_token");
    // The same seed and the same public URL, in another process as it were.
    let auth = chio_mcp_edge::auth::Authentication::new(chio_mcp_edge::auth::AuthConfig {
        public_url: first.base.clone(),
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        method: oauth(Approval::Automatic),
        clock: first.clock.clone(),
    })
    .unwrap();
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(auth.identify(&headers).await.unwrap().identity.subject.as_deref(), Some("ada"));
}

#[tokio::test]
async fn foreign_and_forged_access_tokens_are_refused() {
    let edge = automatic().await;
    let token = text(&login(&edge, "chio.read").await, "access_token");
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let own = Signer::Ed(Box::new(SigningKey::from_seed(SEED)));
    assert_eq!(
        edge.call(&own.token(&header, &claims)).await.status,
        StatusCode::OK,
        "the forger's tools work"
    );

    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        changed
    };
    let public =
        URL_SAFE_NO_PAD.decode(text(&edge.get("/oauth/jwks.json").await.json()["keys"][0], "x")).unwrap();
    let symmetric = Signer::Other(Algorithm::HS256, EncodingKey::from_secret(&public));
    let mut confused = header.clone();
    confused["alg"] = json!("HS256");
    let mut unnamed = header.clone();
    unnamed["kid"] = json!("other");
    for (token, why) in [
        (Signer::ed(1).token(&header, &claims), "another key"),
        (symmetric.token(&confused, &claims), "the public key as a secret"),
        (own.token(&unnamed, &claims), "another kid"),
        (own.token(&header, &with("iss", json!("https://other"))), "iss"),
        (own.token(&header, &with("aud", json!(edge.base))), "aud"),
        (own.token(&header, &with("exp", json!(edge.clock.now() - 100))), "exp"),
        (own.token(&header, &with("jti", json!("x"))), "jti"),
        (own.token(&header, &with("sub", json!(""))), "sub"),
    ] {
        let answer = edge.call(&token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(answer.challenge().contains("error=\"invalid_token\""));
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_its_reuse_revokes_what_it_issued() {
    let edge = automatic().await;
    let code = code(&edge, &[]).await;
    let granted = redeem(&edge, &code, &[]).await.json();
    let token = text(&granted, "access_token");
    let derived = text(&exchange(&edge, &token, &[]).await.json(), "access_token");
    assert_eq!(edge.call(&token).await.status, StatusCode::OK);

    assert_error(&redeem(&edge, &code, &[]).await, INVALID, "invalid_grant");
    for revoked in [&token, &derived] {
        assert_eq!(edge.call(revoked).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_error(&refresh(&edge, &text(&granted, "refresh_token"), &[]).await, INVALID, "invalid_grant");
    assert_error(&exchange(&edge, &token, &[]).await, INVALID, "invalid_request");
    // Another approval is not touched.
    let other = text(&login(&edge, "chio.read").await, "access_token");
    assert_error(&redeem(&edge, &code, &[]).await, INVALID, "invalid_grant");
    assert_eq!(edge.call(&other).await.status, StatusCode::OK);
    // The revocation lasts as long as any of the tokens could.
    edge.clock.forward(659);
    login(&edge, "chio.read").await;
    assert_eq!(edge.call(&token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_code_ends_after_300_seconds() {
    let edge = automatic().await;
    let (early, late) = (code(&edge, &[]).await, code(&edge, &[]).await);
    edge.clock.forward(299);
    assert_eq!(redeem(&edge, &early, &[]).await.status, StatusCode::OK);
    edge.clock.forward(1);
    assert_error(&redeem(&edge, &late, &[]).await, INVALID, "invalid_grant");
}

#[tokio::test]
async fn a_code_is_bound_to_client_redirect_verifier_and_resource() {
    let edge = automatic().await;
    let other_client = registered(&edge, &["http://127.0.0.1:53682/callback"]).await;
    for (change, error) in [
        (("client_id", other_client.as_str()), "invalid_grant"),
        (("redirect_uri", "http://127.0.0.1:53683/callback"), "invalid_grant"),
        (("redirect_uri", ""), "invalid_request"),
        (("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXx"), "invalid_grant"),
        (("code_verifier", ""), "invalid_request"),
        (("code_verifier", "short"), "invalid_request"),
        (("resource", "https://other.example.org/mcp"), "invalid_target"),
        (("code", "code-0000"), "invalid_grant"),
        (("code", ""), "invalid_request"),
    ] {
        let code = code(&edge, &[]).await;
        assert_error(&redeem(&edge, &code, &[change]).await, INVALID, error);
        if error == "invalid_grant" && change.0 != "code" {
            // Nobody tries verifiers: the first attempt spent the code.
            assert_error(&redeem(&edge, &code, &[]).await, INVALID, "invalid_grant");
        }
    }
    // The plain challenge is not a verifier.
    let code = code(&edge, &[]).await;
    assert_error(&redeem(&edge, &code, &[("code_verifier", &challenge())]).await, INVALID, "invalid_grant");
}

#[tokio::test]
async fn pkce_with_s256_is_required_and_cannot_be_downgraded() {
    let edge = automatic().await;
    for changes in [
        &[("code_challenge_method", "plain")][..],
        &[("code_challenge_method", "")],
        &[("code_challenge_method", "s256")],
        &[("code_challenge", "")],
        &[("code_challenge", ""), ("code_challenge_method", "")],
        &[("code_challenge", "short")],
        &[("code_challenge", VERIFIER), ("code_challenge_method", "plain")],
    ] {
        let answer = edge.get(&authorize_path(&edge, changes)).await;
        let query = query_of(answer.header("location"));
        assert_eq!(query["error"], "invalid_request", "{changes:?}");
        assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("st/at&e=", edge.base.as_str()));
        assert!(!query.contains_key("code"));
    }
}

#[tokio::test]
async fn errors_of_a_known_client_go_to_it_with_state_and_issuer() {
    let edge = automatic().await;
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "code id_token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("scope", "chio.read admin"), "invalid_scope"),
        (("scope", " "), "invalid_scope"),
        (("resource", "https://other.example.org/mcp"), "invalid_target"),
    ] {
        let answer = edge.get(&authorize_path(&edge, &[change])).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{change:?}");
        let query = query_of(answer.header("location"));
        assert_eq!(
            (query["error"].as_str(), query["iss"].as_str()),
            (error, edge.base.as_str()),
            "{change:?}"
        );
        assert!(answer.header("location").starts_with(REDIRECT) && !query.contains_key("code"));
    }
}

#[tokio::test]
async fn absent_scope_and_resource_mean_ours() {
    let edge = automatic().await;
    let code = code(&edge, &[("scope", ""), ("resource", ""), ("state", "")]).await;
    let granted = redeem(&edge, &code, &[]).await.json();
    assert_eq!(granted["scope"], "chio.read chio.invoke");
    assert_eq!(part(&text(&granted, "access_token"), 1)["aud"], format!("{}/mcp", edge.base));
}

#[tokio::test]
async fn the_redirect_uri_is_matched_exactly_but_for_the_port_of_loopback() {
    let edge = automatic().await;
    for uri in [
        "http://127.0.0.1:53682/callback/",
        "http://127.0.0.1:53682/callback/../evil",
        "http://127.0.0.1:53682/callback/%2e%2e/evil",
        "http://127.0.0.1:53682/x/../callback",
        "http://127.0.0.1:53682/callback?x=1",
        "http://127.0.0.1:53682/callback#x",
        "http://127.0.0.1:53682/Callback",
        "http://127.0.0.1:53682//callback",
        "http://127.0.0.1:53682\\callback",
        "http://127.0.0.1:53682/callback ",
        " http://127.0.0.1:53682/callback",
        "http://user@127.0.0.1:53682/callback",
        "http://127.0.0.1:53682@evil.example.org/callback",
        "http://127.0.0.1@evil.example.org:53682/callback",
        "http://127.0.0.1:x@evil.example.org/callback",
        "http://127.0.0.1.evil.example.org:53682/callback",
        "http://evil.example.org/callback",
        "http://localhost:53682/callback",
        "http://127.0.0.2:53682/callback",
        "http://[::1]:53682/callback",
        "http://0177.0.0.1:53682/callback",
        "http://127.1:53682/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:+53682/callback",
        "http://127.0.0.1:/callback",
        "https://127.0.0.1:53682/callback",
        "HTTP://127.0.0.1:53682/callback",
        "//127.0.0.1:53682/callback",
        "javascript:alert(1)",
        "file:///callback",
        "",
    ] {
        let answer = edge.get(&authorize_path(&edge, &[("redirect_uri", uri)])).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
        assert_eq!(answer.header("location"), "", "nothing is sent anywhere: {uri}");
        assert!(answer.header("content-type").starts_with("text/html"));
    }
    for uri in ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://127.0.0.1/callback"]
    {
        let code = code(&edge, &[("redirect_uri", uri)]).await;
        assert_error(&redeem(&edge, &code, &[]).await, INVALID, "invalid_grant");
        let code = self::code(&edge, &[("redirect_uri", uri)]).await;
        assert_eq!(redeem(&edge, &code, &[("redirect_uri", uri)]).await.status, StatusCode::OK, "{uri}");
    }
}

#[tokio::test]
async fn an_unknown_client_or_a_doubled_parameter_is_answered_to_the_person_only() {
    let edge = automatic().await;
    let doubled =
        |name: &str, value: &str| format!("{}&{}", authorize_path(&edge, &[]), encode(&[(name, value)]));
    for path in [
        authorize_path(&edge, &[("client_id", "nobody")]),
        authorize_path(&edge, &[("client_id", "")]),
        authorize_path(&edge, &[("client_id", "dcr-e30.AAAA")]),
        doubled("redirect_uri", "https://evil.example.org/"),
        doubled("client_id", "chio-cli"),
        doubled("scope", "chio.read"),
        doubled("resource", &format!("{}/mcp", edge.base)),
        format!("{}&x={}", authorize_path(&edge, &[]), "x".repeat(9000)),
        "/oauth/authorize".to_owned(),
    ] {
        let answer = edge.get(&path).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::BAD_REQUEST, ""), "{path}");
    }
}

// --- Consent -----------------------------------------------------------------------------------------------------------

struct Page {
    consent: String,
    cookie: String,
    answer: Answer,
}

async fn page(edge: &Edge, changes: &[(&str, &str)]) -> Page {
    let answer = edge.get(&authorize_path(edge, changes)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let (_, rest) = answer.text.split_once("name=\"consent\" value=\"").unwrap();
    let consent = rest.split_once('"').unwrap().0.to_owned();
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    Page { consent, cookie, answer }
}

async fn decide(edge: &Edge, cookie: Option<&str>, origin: Option<&str>, fields: &[(&str, &str)]) -> Answer {
    let mut request = edge.form_request("/oauth/authorize", fields);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn the_page_is_plain_and_cannot_be_framed() {
    let (edge, _) = asking().await;
    let page = page(&edge, &[("scope", "chio.read")]).await;
    let answer = &page.answer;
    assert!(answer.text.contains("Approve") && answer.text.contains("not call the tools"));
    assert!(!answer.text.contains("<script") && !answer.text.contains("<style"));
    let policy = answer.header("content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; form-action 'self' http://127.0.0.1:53682; frame-ancestors 'none'; base-uri 'none'"
    );
    // The grammar of policies has no IPv6 addresses.
    let id = registered(&edge, &["http://[::1]:9/cb"]).await;
    let six = self::page(&edge, &[("client_id", &id), ("redirect_uri", "http://[::1]:9/cb")]).await.answer;
    assert!(
        six.header("content-security-policy").contains("form-action 'self' http:; frame-ancestors 'none'")
    );
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("cache-control"), "no-store");
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.contains("; HttpOnly")
            && cookie.contains("; SameSite=Strict")
            && cookie.contains("Path=/oauth")
    );
}

#[tokio::test]
async fn approval_needs_the_operators_code_and_each_code_approves_once() {
    let (edge, shown) = asking().await;
    let code = shown.lock().unwrap()[0].clone();
    assert_eq!(code.len(), 11);
    let page = page(&edge, &[]).await;
    let approve = async |code: &str| {
        let fields = [("consent", page.consent.as_str()), ("decision", "approve"), ("approval_code", code)];
        decide(&edge, Some(&page.cookie), Some(&edge.base), &fields).await
    };
    for wrong in ["", "00000-00000", "approve", &code[..10]] {
        let answer = approve(wrong).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::FORBIDDEN, ""), "{wrong}");
        assert!(answer.text.contains("That is not the approval code."));
    }
    let typed = code.to_lowercase().replace('-', " ");
    let answer = approve(&typed).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    let query = query_of(answer.header("location"));
    assert_eq!((query["state"].as_str(), query["iss"].as_str()), ("st/at&e=", edge.base.as_str()));
    assert_eq!(redeem(&edge, &query["code"], &[]).await.status, StatusCode::OK);

    assert_eq!(shown.lock().unwrap().len(), 2, "the next code was shown");
    assert_eq!(approve(&code).await.status, StatusCode::FORBIDDEN);
    let next = shown.lock().unwrap()[1].clone();
    assert_eq!(approve(&next).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn approval_codes_cannot_be_guessed_at_speed() {
    let (edge, shown) = asking().await;
    let page = page(&edge, &[]).await;
    let approve = async |code: &str| {
        let fields = [("consent", page.consent.as_str()), ("decision", "approve"), ("approval_code", code)];
        decide(&edge, Some(&page.cookie), None, &fields).await.status
    };
    for _ in 0..20 {
        assert_eq!(approve("wrong").await, StatusCode::FORBIDDEN);
    }
    let code = shown.lock().unwrap()[0].clone();
    assert_eq!(approve(&code).await, StatusCode::TOO_MANY_REQUESTS);
    edge.clock.forward(60);
    assert_eq!(approve(&code).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_approval_code_ends_after_ten_minutes_and_is_replaced() {
    let (edge, shown) = asking().await;
    let first = shown.lock().unwrap()[0].clone();
    edge.clock.forward(599);
    page(&edge, &[]).await;
    assert_eq!(shown.lock().unwrap().len(), 1);
    edge.clock.forward(1);
    let page = page(&edge, &[]).await;
    assert_eq!(shown.lock().unwrap().len(), 2, "opening a page shows the next code");
    let second = shown.lock().unwrap()[1].clone();
    let approve = async |code: &str| {
        let fields = [("consent", page.consent.as_str()), ("decision", "approve"), ("approval_code", code)];
        decide(&edge, Some(&page.cookie), None, &fields).await.status
    };
    assert_eq!(approve(&first).await, StatusCode::FORBIDDEN);
    assert_eq!(approve(&second).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn consent_without_the_cookie_of_its_page_is_refused() {
    let (edge, shown) = asking().await;
    let (ours, theirs) = (page(&edge, &[]).await, page(&edge, &[("scope", "chio.read")]).await);
    let code = shown.lock().unwrap()[0].clone();
    let fields =
        [("consent", ours.consent.as_str()), ("decision", "approve"), ("approval_code", code.as_str())];
    let (name, value) = ours.cookie.split_once('=').unwrap();
    let (_, other) = theirs.cookie.split_once('=').unwrap();
    for cookie in [
        None,
        Some(theirs.cookie.clone()),
        Some(format!("{name}={other}")),
        Some(format!("{name}=")),
        Some(format!("other={value}")),
    ] {
        let answer = decide(&edge, cookie.as_deref(), Some(&edge.base), &fields).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::FORBIDDEN, ""), "{cookie:?}");
    }
    for origin in [
        "null",
        "https://evil.example.org",
        "http://127.0.0.1:1",
        &edge.base.replace("127.0.0.1", "localhost"),
    ] {
        let answer = decide(&edge, Some(&ours.cookie), Some(origin), &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
    }
    // None of this spent the code; among other cookies the right one counts.
    let cookies = format!("a=b; {}; {}", theirs.cookie, ours.cookie);
    assert_eq!(decide(&edge, Some(&cookies), Some(&edge.base), &fields).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn consent_is_bound_to_its_request_and_ends_after_ten_minutes() {
    let (edge, shown) = asking().await;
    let (elsewhere, _) = asking().await;
    let page = page(&edge, &[]).await;
    let foreign = self::page(&elsewhere, &[]).await;
    let code = shown.lock().unwrap()[0].clone();
    let (payload, signature) = page.consent.split_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let changed = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(bytes));
    for consent in ["", "x", ".", "x.y", foreign.consent.as_str(), changed.as_str()] {
        let fields = [("consent", consent), ("decision", "approve"), ("approval_code", code.as_str())];
        for cookie in [&page.cookie, &foreign.cookie] {
            assert_eq!(
                decide(&edge, Some(cookie), None, &fields).await.status,
                StatusCode::FORBIDDEN,
                "{consent}"
            );
        }
    }
    // Parameters beside the signed request change nothing.
    let fields = [
        ("consent", page.consent.as_str()),
        ("decision", "approve"),
        ("approval_code", code.as_str()),
        ("redirect_uri", "https://evil.example.org/"),
    ];
    edge.clock.forward(599);
    let answer = decide(&edge, Some(&page.cookie), None, &fields).await;
    assert!(answer.header("location").starts_with(REDIRECT));
    edge.clock.forward(1);
    assert_eq!(decide(&edge, Some(&page.cookie), None, &fields).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_refusal_goes_to_the_client_and_needs_no_code() {
    let (edge, _) = asking().await;
    let page = page(&edge, &[]).await;
    let fields = [("consent", page.consent.as_str()), ("decision", "deny")];
    let answer = decide(&edge, Some(&page.cookie), None, &fields).await;
    assert_eq!(query_of(answer.header("location"))["error"], "access_denied");
    let fields = [("consent", page.consent.as_str())];
    assert_eq!(decide(&edge, Some(&page.cookie), None, &fields).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn everything_on_the_page_is_escaped() {
    let (edge, _) = asking().await;
    let body = json!({"client_name": "<script>alert('1')</script>&\"", "redirect_uris": ["https://c.example.org/cb?a=1&b=2"]});
    let id = text(&register(&edge, &body).await.json(), "client_id");
    let page = page(&edge, &[("client_id", &id), ("redirect_uri", "https://c.example.org/cb?a=1&b=2")]).await;
    let text = &page.answer.text;
    assert!(text.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"), "{text}");
    assert!(text.contains("https://c.example.org/cb?a=1&amp;b=2") && !text.contains("<script"));
    assert!(text.contains("registered itself"));
}

// --- Refresh ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn refresh_tokens_rotate() {
    let edge = automatic().await;
    let mut granted = login(&edge, "chio.read chio.invoke").await;
    for _ in 0..3 {
        let before = text(&granted, "refresh_token");
        granted = refresh(&edge, &before, &[]).await.json();
        assert_ne!(text(&granted, "refresh_token"), before);
        assert_eq!(
            edge.call_method(&text(&granted, "access_token"), "tools/call").await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn reuse_of_a_refresh_token_revokes_its_family() {
    let edge = automatic().await;
    let first = login(&edge, "chio.read").await;
    let other = login(&edge, "chio.read").await;
    let second = refresh(&edge, &text(&first, "refresh_token"), &[]).await.json();
    let third = refresh(&edge, &text(&second, "refresh_token"), &[]).await.json();

    assert_error(&refresh(&edge, &text(&first, "refresh_token"), &[]).await, INVALID, "invalid_grant");
    for granted in [&first, &second, &third] {
        assert_eq!(edge.call(&text(granted, "access_token")).await.status, StatusCode::UNAUTHORIZED);
        assert_error(&refresh(&edge, &text(granted, "refresh_token"), &[]).await, INVALID, "invalid_grant");
    }
    assert_eq!(
        edge.call(&text(&other, "access_token")).await.status,
        StatusCode::OK,
        "another family is not touched"
    );
}

#[tokio::test]
async fn an_invented_refresh_token_revokes_nothing() {
    let edge = automatic().await;
    let granted = login(&edge, "chio.read").await;
    let token = text(&granted, "refresh_token");
    let parts: Vec<&str> = token.split('-').collect();
    let [_, family, _, proof] = parts[..] else { panic!("{token}") };
    // The family can be read from the access token, so knowing it must not be enough to end it.
    for invented in [
        format!("rtk-{family}-0-{}", "0".repeat(64)),
        format!("rtk-{family}-1-{proof}"),
        format!("rtk-{family}-0-{proof}0"),
        format!("rtk-{family}-00-{proof}"),
        format!("rtk-{}-0-{proof}", "0".repeat(32)),
        "rtk".to_owned(),
        token.to_uppercase(),
    ] {
        assert_error(&refresh(&edge, &invented, &[]).await, INVALID, "invalid_grant");
    }
    assert_eq!(refresh(&edge, &token, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_narrows_but_never_widens() {
    let edge = automatic().await;
    let read = login(&edge, "chio.read").await;
    let token = text(&read, "refresh_token");
    for scope in ["chio.invoke", "chio.read chio.invoke", "chio.read admin"] {
        assert_error(&refresh(&edge, &token, &[("scope", scope)]).await, INVALID, "invalid_scope");
    }
    let both = login(&edge, "chio.read chio.invoke").await;
    let narrow = refresh(&edge, &text(&both, "refresh_token"), &[("scope", "chio.read")]).await.json();
    assert_eq!(narrow["scope"], "chio.read");
    let answer = edge.call_method(&text(&narrow, "access_token"), "tools/call").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let wide = refresh(&edge, &text(&narrow, "refresh_token"), &[]).await.json();
    assert_eq!(wide["scope"], "chio.read chio.invoke", "what was approved stays approved");
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_client_and_ends_after_a_week() {
    let edge = automatic().await;
    let other = registered(&edge, &[REDIRECT]).await;
    let token = text(&login(&edge, "chio.read").await, "refresh_token");
    let form =
        [("grant_type", "refresh_token"), ("client_id", other.as_str()), ("refresh_token", token.as_str())];
    assert_error(&edge.form("/oauth/token", &form).await, INVALID, "invalid_grant");
    let resource = [("resource", "https://other.example.org/mcp")];
    assert_error(&refresh(&edge, &token, &resource).await, INVALID, "invalid_target");
    edge.clock.forward(7 * 24 * 3600 - 1);
    let next = text(&refresh(&edge, &token, &[]).await.json(), "refresh_token");
    edge.clock.forward(7 * 24 * 3600);
    assert_error(&refresh(&edge, &next, &[]).await, INVALID, "invalid_grant");
}

// --- Token exchange ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_exchanged_token_is_never_stronger_than_its_subject() {
    let edge = automatic().await;
    let token = text(&login(&edge, "chio.read chio.invoke").await, "access_token");
    let resource = format!("{}/mcp", edge.base);
    edge.clock.forward(100);
    let answer =
        exchange(&edge, &token, &[("scope", "chio.read"), ("audience", &resource), ("resource", &resource)])
            .await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let exchanged = answer.json();
    assert_eq!((&exchanged["issued_token_type"], &exchanged["expires_in"]), (&json!(ACCESS), &json!(500)));
    assert!(exchanged.get("refresh_token").is_none());
    let narrow = text(&exchanged, "access_token");
    assert_eq!(part(&narrow, 1)["exp"], part(&token, 1)["exp"], "it does not outlive its subject");
    assert_eq!(edge.call(&narrow).await.status, StatusCode::OK);
    assert_eq!(edge.call_method(&narrow, "tools/call").await.status, StatusCode::FORBIDDEN);
    let unnamed = text(&exchange(&edge, &token, &[("client_id", "")]).await.json(), "access_token");
    assert_eq!(part(&unnamed, 1)["client_id"], "chio-cli");
    // What was given away does not come back.
    for scope in ["chio.invoke", "chio.read chio.invoke"] {
        assert_error(&exchange(&edge, &narrow, &[("scope", scope)]).await, INVALID, "invalid_scope");
    }
    assert_eq!(exchange(&edge, &narrow, &[]).await.json()["scope"], "chio.read");
    // Inside the leeway the token itself still works, but nothing new grows from it.
    edge.clock.forward(510);
    assert_eq!(edge.call(&token).await.status, StatusCode::OK);
    assert_error(&exchange(&edge, &token, &[]).await, INVALID, "invalid_request");
}

#[tokio::test]
async fn an_exchange_cannot_change_the_client() {
    let edge = automatic().await;
    let other = registered(&edge, &[REDIRECT]).await;
    let code = code(&edge, &[("client_id", &other)]).await;
    let token = text(&redeem(&edge, &code, &[("client_id", &other)]).await.json(), "access_token");
    assert_error(&exchange(&edge, &token, &[("client_id", "chio-cli")]).await, INVALID, "invalid_grant");
    for named in ["", other.as_str()] {
        let exchanged = exchange(&edge, &token, &[("client_id", named)]).await.json();
        assert_eq!(part(&text(&exchanged, "access_token"), 1)["client_id"], other.as_str());
    }
}

#[tokio::test]
async fn only_our_own_access_tokens_are_exchanged() {
    let edge = automatic().await;
    let granted = login(&edge, "chio.read").await;
    let token = text(&granted, "access_token");
    let refresh_token = text(&granted, "refresh_token");
    let forged = Signer::ed(1).token(&part(&token, 0), &part(&token, 1));
    for (change, error) in [
        (("subject_token", ""), "invalid_request"),
        (("subject_token", forged.as_str()), "invalid_request"),
        (("subject_token", refresh_token.as_str()), "invalid_request"),
        (("subject_token_type", ""), "invalid_request"),
        (("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"), "invalid_request"),
        (("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
        (("actor_token", "x"), "invalid_request"),
        (("audience", "https://other.example.org/mcp"), "invalid_target"),
        (("resource", "https://other.example.org/mcp"), "invalid_target"),
        (("scope", "chio.read chio.invoke"), "invalid_scope"),
        (("scope", "everything"), "invalid_scope"),
    ] {
        assert_error(&exchange(&edge, &token, &[change]).await, INVALID, error);
    }
}

// --- Token endpoint ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_token_endpoint_knows_public_clients_and_forms_only() {
    let edge = automatic().await;
    assert_error(&edge.form("/oauth/token", &[]).await, INVALID, "invalid_request");
    for grant in ["authorization_code", "refresh_token"] {
        assert_error(&edge.form("/oauth/token", &[("grant_type", grant)]).await, INVALID, "invalid_request");
    }
    assert_error(&edge.form("/oauth/token", &[("client_id", "chio-cli")]).await, INVALID, "invalid_request");
    for grant in ["password", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"] {
        let form = [("client_id", "chio-cli"), ("grant_type", grant)];
        assert_error(&edge.form("/oauth/token", &form).await, INVALID, "unsupported_grant_type");
    }
    let unauthorized = StatusCode::UNAUTHORIZED;
    let form = [("client_id", "nobody"), ("grant_type", "authorization_code")];
    assert_error(&edge.form("/oauth/token", &form).await, unauthorized, "invalid_client");
    let form = [("client_id", "chio-cli"), ("client_secret", "x"), ("grant_type", "authorization_code")];
    assert_error(&edge.form("/oauth/token", &form).await, unauthorized, "invalid_client");
    let basic =
        edge.form_request("/oauth/token", &[("client_id", "chio-cli")]).header("authorization", "Basic eDp5");
    assert_error(&Answer::of(basic).await, unauthorized, "invalid_client");
    let json = edge
        .client
        .post(format!("{}/oauth/token", edge.base))
        .header("content-type", "application/json")
        .body("{}");
    assert_error(&Answer::of(json).await, INVALID, "invalid_request");
    let large = edge.form("/oauth/token", &[("client_id", &"x".repeat(40_000))]).await;
    assert_error(&large, INVALID, "invalid_request");
    let doubled =
        [("client_id", "chio-cli"), ("grant_type", "password"), ("grant_type", "authorization_code")];
    assert_error(&edge.form("/oauth/token", &doubled).await, INVALID, "invalid_request");
    assert_eq!(edge.get("/oauth/token").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn failures_at_the_token_endpoint_are_paced() {
    let edge = automatic().await;
    let code = code(&edge, &[]).await;
    for _ in 0..30 {
        assert_error(&redeem(&edge, "code-wrong", &[]).await, INVALID, "invalid_grant");
    }
    let answer = redeem(&edge, "code-wrong", &[]).await;
    assert_error(&answer, StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), "60");
    // Whoever has the right code is not shut out by the failures of others at the same address.
    assert_eq!(redeem(&edge, &code, &[]).await.status, StatusCode::OK);
    edge.clock.forward(60);
    assert_error(&redeem(&edge, "code-wrong", &[]).await, INVALID, "invalid_grant");
}

#[tokio::test]
async fn tables_are_bounded() {
    let edge = automatic().await;
    let first = code(&edge, &[]).await;
    edge.clock.forward(1);
    for _ in 0..256 {
        code(&edge, &[]).await;
    }
    assert_error(&redeem(&edge, &first, &[]).await, INVALID, "invalid_grant");
    // The family that was used least recently gives way to the newest.
    let oldest = login(&edge, "chio.read").await;
    edge.clock.forward(1);
    for _ in 0..1024 {
        login(&edge, "chio.read").await;
    }
    assert_error(&refresh(&edge, &text(&oldest, "refresh_token"), &[]).await, INVALID, "invalid_grant");
}

// --- Registration ------------------------------------------------------------------------------------------------------

async fn register(edge: &Edge, metadata: &Value) -> Answer {
    let request = edge.client.post(format!("{}/oauth/register", edge.base));
    Answer::of(request.header("content-type", "application/json").body(metadata.to_string())).await
}

async fn registered(edge: &Edge, redirect_uris: &[&str]) -> String {
    let answer = register(edge, &json!({"redirect_uris": redirect_uris})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    text(&answer.json(), "client_id")
}

#[tokio::test]
async fn a_client_registers_itself_and_logs_in() {
    let edge = automatic().await;
    let metadata = json!({
        "client_name": "Editor", "redirect_uris": ["http://localhost:7777/cb", "https://editor.example.org/cb?x=1"],
        "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "scope": "chio.read", "software_id": "x",
    });
    let answer = register(&edge, &metadata).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::CREATED, "no-store"));
    let client = answer.json();
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert_eq!(client["redirect_uris"], metadata["redirect_uris"]);
    assert!(client.get("client_secret").is_none());
    let id = text(&client, "client_id");
    for uri in ["http://localhost:7777/cb", "http://localhost:1234/cb", "https://editor.example.org/cb?x=1"] {
        let code = code(&edge, &[("client_id", &id), ("redirect_uri", uri)]).await;
        let answer = redeem(&edge, &code, &[("client_id", &id), ("redirect_uri", uri)]).await;
        let token = text(&answer.json(), "access_token");
        assert_eq!(edge.call(&token).await.json()["client_id"], id.as_str());
    }
    for uri in ["https://editor.example.org:444/cb?x=1", "https://editor.example.org/cb", REDIRECT] {
        let answer = edge.get(&authorize_path(&edge, &[("client_id", &id), ("redirect_uri", uri)])).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri}");
    }
}

#[tokio::test]
async fn a_registration_cannot_be_forged_and_survives_a_restart() {
    let edge = automatic().await;
    let id = registered(&edge, &[REDIRECT]).await;
    let after_restart = automatic().await;
    code(&after_restart, &[("client_id", &id)]).await;
    let (payload, signature) = id.strip_prefix("dcr-").unwrap().split_once('.').unwrap();
    let forged = json!({"n": "x", "r": ["https://evil.example.org/"]}).to_string();
    let stranger = SigningKey::from_seed([1; 32]);
    let by_stranger = stranger.sign(&[b"chio.oauth.client.v1\0", forged.as_bytes()].concat());
    for (id, uri) in [
        (format!("dcr-{}.{signature}", URL_SAFE_NO_PAD.encode(&forged)), "https://evil.example.org/"),
        (
            format!(
                "dcr-{}.{}",
                URL_SAFE_NO_PAD.encode(&forged),
                URL_SAFE_NO_PAD.encode(by_stranger.as_bytes())
            ),
            "https://evil.example.org/",
        ),
        (format!("dcr-{payload}"), REDIRECT),
        (format!("dcr-{payload}."), REDIRECT),
        (format!("{id}="), REDIRECT),
        (id.to_uppercase(), REDIRECT),
    ] {
        let answer = edge.get(&authorize_path(&edge, &[("client_id", &id), ("redirect_uri", uri)])).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
    }
    // Access tokens and registrations are signed by one key, and one cannot stand for the other.
    assert_eq!(edge.call(&id).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn redirect_uris_must_be_https_or_loopback_and_nothing_odd() {
    let edge = automatic().await;
    for uri in [
        "javascript:alert(1)",
        "JavaScript:alert(1)//https://x",
        "file:///etc/passwd",
        "data:text/html,x",
        "cursor://callback",
        "http://example.org/cb",
        "http://127.0.0.1.example.org/cb",
        "https://user@example.org/cb",
        "https://user:pass@example.org/cb",
        "http://127.0.0.1:1@example.org/cb",
        "https://example.org/cb#x",
        "https://example.org/a/../cb",
        "https://example.org/%2e%2e/cb",
        "https://EXAMPLE.org/cb",
        "https://example.org/c b",
        "https://example.org\\cb",
        "https://example.org/\u{202e}cb",
        "https://$(id)/cb",
        "https://a;b/cb",
        "https://a,b/cb",
        "https:/example.org/cb",
        "https://",
        "https:example.org",
        "//example.org/cb",
        "/cb",
        "",
        " https://example.org/cb",
        "https://example.org/cb\r\nx: y",
        "https://example.org/\"><script>",
    ] {
        let answer = register(&edge, &json!({"redirect_uris": [REDIRECT, uri]})).await;
        assert_error(&answer, INVALID, "invalid_redirect_uri");
    }
    for uris in
        [json!([]), json!(null), json!("https://example.org/cb"), json!([1]), json!(vec![REDIRECT; 11])]
    {
        assert_error(
            &register(&edge, &json!({"redirect_uris": uris})).await,
            INVALID,
            "invalid_redirect_uri",
        );
    }
    let long = format!("https://example.org/{}", "x".repeat(500));
    assert_error(&register(&edge, &json!({"redirect_uris": [long]})).await, INVALID, "invalid_redirect_uri");
    let many: Vec<String> = (0..10).map(|n| format!("https://example.org/{n}/{}", "x".repeat(400))).collect();
    assert_error(&register(&edge, &json!({"redirect_uris": many})).await, INVALID, "invalid_client_metadata");
    for uri in [
        "https://example.org",
        "https://example.org/cb",
        "http://127.0.0.1/",
        "http://[::1]:9/cb",
        "http://localhost/",
    ] {
        registered(&edge, &[uri]).await;
    }
}

#[tokio::test]
async fn other_metadata_that_cannot_be_served_is_refused() {
    let edge = automatic().await;
    for (member, value) in [
        ("client_name", json!("")),
        ("client_name", json!("x".repeat(65))),
        ("client_name", json!("a\u{202e}b")),
        ("client_name", json!("a\nb")),
        ("client_name", json!(["a"])),
        ("grant_types", json!(["client_credentials"])),
        ("grant_types", json!(["implicit"])),
        ("response_types", json!(["token"])),
    ] {
        let answer = register(&edge, &json!({"redirect_uris": [REDIRECT], member: value})).await;
        assert_error(&answer, INVALID, "invalid_client_metadata");
    }
    let post = |content_type: &'static str, body: String| {
        edge.client
            .post(format!("{}/oauth/register", edge.base))
            .header("content-type", content_type)
            .body(body)
    };
    let twice =
        format!(r#"{{"redirect_uris":["{REDIRECT}"],"redirect_uris":["https://evil.example.org/"]}}"#);
    for request in [
        post("application/json", twice),
        post("application/json", "[]".to_owned()),
        post("application/json", "{".to_owned()),
        post("application/json", format!("{{\"x\":\"{}\"}}", "x".repeat(40_000))),
        post("text/plain", json!({"redirect_uris": [REDIRECT]}).to_string()),
    ] {
        assert_error(&Answer::of(request).await, INVALID, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn insufficient_scope_of_our_own_tokens_is_challenged() {
    let edge = automatic().await;
    let token = text(&login(&edge, "chio.read").await, "access_token");
    let answer = edge.call_method(&token, "tools/call").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer
            .challenge()
            .starts_with("Bearer error=\"insufficient_scope\", scope=\"chio.read chio.invoke\"")
    );
}

/// Pseudo-random numbers (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn no_input_makes_the_server_fall_over_or_give_anything_away() {
    let (edge, _) = asking().await;
    let granted = {
        let lenient = automatic().await;
        login(&lenient, "chio.read").await
    };
    let page = page(&edge, &[]).await;
    let client = registered(&edge, &[REDIRECT]).await;
    let pieces = [
        "",
        "chio-cli",
        &client,
        REDIRECT,
        "S256",
        &challenge(),
        VERIFIER,
        "code",
        "authorization_code",
        "refresh_token",
        EXCHANGE,
        ACCESS,
        "approve",
        "deny",
        &page.consent,
        &page.cookie,
        "chio.read",
        "\0",
        "%",
        "&",
        "=",
        ";",
        "é",
        "\u{202e}",
        &text(&granted, "access_token"),
        &text(&granted, "refresh_token"),
        "code-",
        "rtk-",
        "dcr-",
        ".",
        "..",
        "{}",
        "[]",
        "\"",
        "{\"redirect_uris\":[",
        "http://127.0.0.1:1/",
        "18446744073709551616",
        "-1",
    ];
    let names = [
        "client_id",
        "redirect_uri",
        "code_challenge_method",
        "code_challenge",
        "code_verifier",
        "response_type",
        "grant_type",
        "subject_token",
        "subject_token_type",
        "refresh_token",
        "decision",
        "consent",
        "approval_code",
        "scope",
        "state",
        "resource",
        "audience",
        "code",
    ];
    let mut dice = Dice(0x5eed_c0de);
    for round in 0..1500 {
        let value = |dice: &mut Dice| -> String {
            (0..dice.roll(4)).map(|_| pieces[dice.roll(pieces.len())]).collect()
        };
        let fields: Vec<(&str, String)> =
            (0..dice.roll(9)).map(|_| (names[dice.roll(names.len())], value(&mut dice))).collect();
        let borrowed: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let encoded = if dice.roll(5) == 0 { value(&mut dice) } else { encode(&borrowed) };
        let request = match dice.roll(5) {
            0 => edge.client.get(format!(
                "{}/oauth/authorize?{}",
                edge.base,
                encoded.replace(char::is_control, "")
            )),
            1 => edge.form_request("/oauth/authorize", &borrowed).header("cookie", page.cookie.as_str()),
            2 => edge.form_request("/oauth/token", &borrowed).body(encoded.clone()),
            3 => edge
                .client
                .post(format!("{}/oauth/register", edge.base))
                .header("content-type", "application/json")
                .body(encoded.clone()),
            _ => edge.client.post(format!("{}/mcp", edge.base)).header(
                "authorization",
                format!("Bearer {}", encoded.replace(|c: char| !c.is_ascii_graphic(), "")),
            ),
        };
        let answer = Answer::of(request).await;
        assert!(answer.status.as_u16() < 500, "round {round}: {encoded:?} {answer:?}");
        assert!(
            !answer.text.contains("access_token") && !answer.header("location").contains("code="),
            "{answer:?}"
        );
        if round % 20 == 0 {
            edge.clock.forward(60);
        }
    }
}
