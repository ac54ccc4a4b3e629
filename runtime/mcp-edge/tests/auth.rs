//! Who calls: without authentication, by a static token, and by the tokens of an external issuer; over sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod auth_harness;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_kernel::Clock;
use chio_mcp_edge::auth::{
    Approval, AuthConfig, AuthError, Authentication, JwksSource, JwtConfig, Method, OauthConfig,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use auth_harness::{Answer, Edge, Hands, Issuer, Signer, ec_jwk, rsa_jwk, start};

const TOKEN: &str = "correct-horse-battery-staple";
const PRM: &str = "/.well-known/oauth-protected-resource";

// --- Configurations that are refused -------------------------------------------------------------------------------

fn configured(public_url: &str, listen: &str, method: Method) -> Result<(), AuthError> {
    let config = AuthConfig {
        public_url: public_url.to_owned(),
        listen: vec![listen.parse().unwrap()],
        method,
        clock: Hands::new(),
    };
    Authentication::new(config).map(drop)
}

fn fixed(token: &str) -> Method {
    Method::Static { token: Zeroizing::new(token.to_owned()) }
}

fn oauth(approval: Approval) -> Method {
    Method::Oauth(OauthConfig { seed: Zeroizing::new([7; 32]), subject: "local".to_owned(), approval })
}

fn external(issuer: &str, jwks: &str) -> Method {
    Method::Jwt(JwtConfig {
        issuer: issuer.to_owned(),
        audience: None,
        jwks: JwksSource::Url(jwks.to_owned()),
    })
}

#[test]
fn without_authentication_only_loopback_is_served() {
    assert!(configured("http://127.0.0.1:8931", "127.0.0.1:8931", Method::None).is_ok());
    assert!(configured("http://localhost:8931", "[::1]:8931", Method::None).is_ok());
    for (url, listen) in [
        ("http://127.0.0.1:8931", "0.0.0.0:8931"),
        ("http://127.0.0.1:8931", "[::]:8931"),
        ("http://127.0.0.1:8931", "192.168.1.2:8931"),
        // A tunnel or a proxy in front makes loopback public.
        ("https://edge.example.org", "127.0.0.1:8931"),
    ] {
        let refused = configured(url, listen, Method::None);
        assert!(matches!(refused, Err(AuthError::OpenToOthers { .. })), "{url} {listen} {refused:?}");
        let refused = configured(url, listen, oauth(Approval::Automatic));
        assert!(matches!(refused, Err(AuthError::ApprovesOthers { .. })), "{url} {listen} {refused:?}");
        assert!(configured(url, listen, fixed(TOKEN)).is_ok());
    }
}

#[test]
fn settings_that_cannot_be_safe_are_refused() {
    let at = "127.0.0.1:8931";
    for url in [
        "http://edge.example.org",
        "ftp://127.0.0.1",
        "javascript:alert(1)",
        "https://user@edge.example.org",
        "https://edge.example.org/#x",
        "https://edge.example.org/sub",
        "https://edge.example.org/?x",
        "edge.example.org",
        "",
    ] {
        assert!(matches!(configured(url, at, fixed(TOKEN)), Err(AuthError::BadUrl { .. })), "{url}");
    }
    for token in [
        "",
        "short",
        "fifteen-charac.",
        "has a space in it, long enough",
        "snowman-snowman-☃",
        "=================",
    ] {
        assert!(matches!(
            configured("http://127.0.0.1:8931", at, fixed(token)),
            Err(AuthError::BadToken { .. })
        ));
    }
    for (issuer, jwks) in [
        ("http://issuer.example.org", "https://issuer.example.org/jwks"),
        ("issuer", "https://issuer.example.org/jwks"),
        ("https://issuer.example.org", "http://issuer.example.org/jwks"),
        ("https://issuer.example.org", "file:///etc/passwd"),
        ("https://issuer.example.org", "https://$(id)/"),
        ("https://issuer.example.org", "https://a;b/"),
        ("https://issuer.example.org", "https://user:secret@issuer.example.org/jwks"),
    ] {
        let refused = configured("http://127.0.0.1:8931", at, external(issuer, jwks));
        assert!(matches!(refused, Err(AuthError::BadUrl { .. })), "{issuer} {jwks}");
    }
    let missing = Method::Jwt(JwtConfig {
        issuer: "https://issuer.example.org".to_owned(),
        audience: None,
        jwks: JwksSource::File("/nowhere/jwks.json".into()),
    });
    assert!(matches!(configured("http://127.0.0.1:8931", at, missing), Err(AuthError::Keys { .. })));
}

#[test]
fn secrets_never_show_in_debug_output() {
    let shown = format!("{:?} {:?}", fixed(TOKEN), oauth(Approval::Automatic));
    assert!(!shown.contains("correct-horse") && !shown.contains('7'), "{shown}");
}

// --- No authentication, static token -------------------------------------------------------------------------------

#[tokio::test]
async fn without_authentication_everybody_is_anonymous() {
    let edge = start(|_| Method::None).await;
    let answer = Answer::of(edge.client.post(format!("{}/mcp", edge.base))).await.json();
    assert_eq!((&answer["principal"], &answer["method"]), (&json!("anonymous"), &json!("Anonymous")));
}

#[tokio::test]
async fn the_static_token_names_its_principal_by_its_hash() {
    let edge = start(|_| fixed(TOKEN)).await;
    let answer = edge.call_method(TOKEN, "tools/call").await.json();
    let digest = chio_core::hash::sha256(TOKEN.as_bytes()).to_string();
    assert_eq!(answer["principal"], format!("static:{}", &digest[..16]));
    assert_eq!(answer["method"], "StaticBearer");
    assert!(!answer.to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_missing_or_wrong_static_token_is_401_with_a_bearer_challenge() {
    let edge = start(|_| fixed(TOKEN)).await;
    let url = format!("{}/mcp", edge.base);
    let plain = |value: &str| edge.client.post(&url).header("authorization", value);
    for request in [
        edge.client.post(&url),
        plain("Bearer"),
        plain("Bearer "),
        plain("Bearer wrong-wrong-wrong-wrong"),
        plain("Bearer correct-horse-battery-stapl"),
        plain("Bearer correct-horse-battery-staplee"),
        plain("Basic Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ=="),
        plain(TOKEN),
        plain(&format!("Bearer {TOKEN}, Bearer {TOKEN}")),
        plain(&format!("Bearer {}", "x".repeat(20_000))),
    ] {
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.challenge()), (StatusCode::UNAUTHORIZED, "Bearer"), "{answer:?}");
        assert_eq!(answer.text, "missing or invalid bearer token");
    }
    assert_eq!(Answer::of(plain(&format!("bEaReR {TOKEN}"))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_in_the_query_is_no_token() {
    let edge = start(|_| fixed(TOKEN)).await;
    for name in ["access_token", "token", "authorization"] {
        let url = format!("{}/mcp?{name}={TOKEN}", edge.base);
        assert_eq!(Answer::of(edge.client.post(url)).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let edge = start(|_| fixed(TOKEN)).await;
    let request = edge.client.post(format!("{}/mcp", edge.base));
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    let answer = Answer::of(request.header("authorization", format!("Bearer {TOKEN}"))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn metadata_documents_are_404_without_oauth() {
    let nobody = start(|_| Method::None).await;
    let fixed = start(|_| fixed(TOKEN)).await;
    for edge in [&nobody, &fixed] {
        for path in
            [PRM, &format!("{PRM}/mcp"), "/.well-known/oauth-authorization-server", "/oauth/authorize"]
        {
            assert_eq!(edge.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}

// --- Tokens of an external issuer ----------------------------------------------------------------------------------

struct World {
    edge: Edge,
    issuer: Issuer,
    signer: Signer,
}

async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(more: &[Value]) -> World {
    let signer = Signer::ed(1);
    let keys: Vec<Value> = [signer.jwk("k1")].iter().chain(more).cloned().collect();
    let issuer = Issuer::start(&keys).await;
    let edge = start(|_| external(&issuer.url, &format!("{}/jwks", issuer.url))).await;
    World { edge, issuer, signer }
}

impl World {
    fn claims(&self) -> Value {
        let now = self.edge.clock.now();
        json!({
            "iss": self.issuer.url, "sub": "alice", "aud": format!("{}/mcp", self.edge.base),
            "exp": now + 300, "nbf": now - 10, "iat": now - 10, "scope": "chio.read chio.invoke openid",
            "client_id": "editor", "groups": ["staff", "ops"], "tenant": "t1", "level": 3, "mixed": ["a", 1],
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        match value {
            Value::Null => {
                claims.as_object_mut().unwrap().remove(name);
            }
            value => claims[name] = value,
        }
        claims
    }

    fn token(&self, claims: &Value) -> String {
        self.signer.token(&json!({"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}), claims)
    }

    async fn refuses(&self, token: &str, why: &str) {
        let answer = self.edge.call(token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}");
        assert!(
            answer.challenge().starts_with("Bearer error=\"invalid_token\", resource_metadata="),
            "{answer:?}"
        );
        assert!(!answer.text.contains(token) && !answer.challenge().contains(token));
    }
}

#[tokio::test]
async fn a_token_of_the_issuer_becomes_an_identity() {
    let world = world().await;
    let answer = world.edge.call(&world.token(&world.claims())).await.json();
    assert_eq!(
        answer,
        json!({
            "method": "OauthBearer",
            "principal": format!("{}#alice", world.issuer.url),
            "issuer": world.issuer.url,
            "subject": "alice",
            "client_id": "editor",
            "scopes": ["chio.invoke", "chio.read", "openid"],
            "claims": {"groups": ["staff", "ops"], "tenant": ["t1"]},
        })
    );
}

#[tokio::test]
async fn scp_and_azp_stand_in_for_scope_and_client_id() {
    let world = world().await;
    for scp in [json!(["chio.read", "chio.invoke"]), json!("chio.read chio.invoke")] {
        let mut claims = world.with("scope", Value::Null);
        claims.as_object_mut().unwrap().remove("client_id");
        claims["scp"] = scp;
        claims["azp"] = json!("other");
        let answer = world.edge.call_method(&world.token(&claims), "tools/call").await.json();
        assert_eq!(
            (&answer["scopes"], &answer["client_id"]),
            (&json!(["chio.invoke", "chio.read"]), &json!("other"))
        );
    }
}

#[tokio::test]
async fn a_request_without_token_is_sent_to_the_resource_metadata() {
    let world = world().await;
    let answer = Answer::of(world.edge.client.post(format!("{}/mcp", world.edge.base))).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let wanted =
        format!("Bearer resource_metadata=\"{}{PRM}/mcp\", scope=\"chio.read chio.invoke\"", world.edge.base);
    assert_eq!(answer.challenge(), wanted);
    for path in [PRM.to_owned(), format!("{PRM}/mcp")] {
        let metadata = world.edge.get(&path).await;
        assert_eq!(metadata.header("content-type"), "application/json");
        assert_eq!(
            metadata.json(),
            json!({
                "resource": format!("{}/mcp", world.edge.base),
                "authorization_servers": [world.issuer.url],
                "scopes_supported": ["chio.read", "chio.invoke"],
                "bearer_methods_supported": ["header"],
            })
        );
    }
    assert_eq!(world.edge.get("/.well-known/oauth-authorization-server").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn issuer_audience_and_times_must_be_right() {
    let world = world().await;
    let now = world.edge.clock.now();
    let resource = format!("{}/mcp", world.edge.base);
    for (name, value) in [
        ("iss", json!("https://other.example.org")),
        ("iss", json!(format!("{}/", world.issuer.url))),
        ("iss", Value::Null),
        ("iss", json!([world.issuer.url])),
        ("aud", json!("https://other.example.org/mcp")),
        ("aud", json!(format!("{resource}/"))),
        ("aud", json!(world.edge.base)),
        ("aud", json!([])),
        ("aud", json!({"0": resource})),
        ("aud", Value::Null),
        ("exp", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!(now - 60)),
        ("exp", json!(format!("{}", now + 300))),
        ("exp", json!(true)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("soon")),
        ("iat", json!(now + 61)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(257))),
        ("sub", json!(7)),
        ("cnf", json!({"jkt": "x"})),
    ] {
        world.refuses(&world.token(&world.with(name, value.clone())), &format!("{name} = {value}")).await;
    }
    for (name, value) in [
        ("exp", json!(now - 59)),
        ("exp", json!(f64::from(u32::try_from(now).unwrap()) + 0.5)),
        ("nbf", json!(now + 60)),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("aud", json!(["https://other.example.org", resource])),
    ] {
        let answer = world.edge.call(&world.token(&world.with(name, value.clone()))).await;
        assert_eq!(answer.status, StatusCode::OK, "{name} = {value}");
    }
    let token = world.token(&world.claims());
    world.edge.clock.forward(300 + 59);
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    world.edge.clock.forward(1);
    world.refuses(&token, "after its end and the skew").await;
}

#[tokio::test]
async fn the_algorithm_is_the_keys_and_never_symmetric_or_none() {
    let world = world_with(&[rsa_jwk("rsa"), ec_jwk("ec")]).await;
    let claims = world.claims();
    let modulus = URL_SAFE_NO_PAD.decode(auth_harness::keys::RSA_MODULUS).unwrap();
    let ed_public = {
        let jwk = world.signer.jwk("k1");
        URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap()
    };
    // Public keys used as the secret of an HMAC, in every form that they are published in.
    for (kid, secret) in [
        ("rsa", modulus),
        ("rsa", auth_harness::keys::RSA_MODULUS.as_bytes().to_vec()),
        ("k1", ed_public),
        ("k1", world.signer.jwk("k1")["x"].as_str().unwrap().as_bytes().to_vec()),
        ("k1", Vec::new()),
    ] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let signer = Signer::Other(algorithm, EncodingKey::from_secret(&secret));
            let token = signer.token(&json!({"alg": format!("{algorithm:?}"), "kid": kid}), &claims);
            world.refuses(&token, &format!("{algorithm:?} with the public key {kid}")).await;
        }
    }
    // No signature at all.
    for alg in ["none", "None", "NONE", ""] {
        let signed = world.signer.token(&json!({"alg": alg, "kid": "k1"}), &claims);
        let (body, _) = signed.rsplit_once('.').unwrap();
        world.refuses(&signed, alg).await;
        world.refuses(&format!("{body}."), alg).await;
    }
    // A key of one type under the algorithm of another, and RSA under a name that the key excludes.
    for (signer, alg, kid) in [
        (&world.signer, "RS256", "k1"),
        (&world.signer, "EdDSA", "rsa"),
        (&world.signer, "ES256", "ec"),
        (&Signer::rsa(Algorithm::RS256), "EdDSA", "k1"),
        (&Signer::rsa(Algorithm::RS256), "RS256", "k1"),
        (&Signer::rsa(Algorithm::RS256), "PS256", "rsa"),
        (&Signer::ec(), "ES256", "rsa"),
        (&Signer::ec(), "ES384", "ec"),
    ] {
        world
            .refuses(&signer.token(&json!({"alg": alg, "kid": kid}), &claims), &format!("{alg} with {kid}"))
            .await;
    }
}

#[tokio::test]
async fn rsa_and_elliptic_keys_verify() {
    let world = world_with(&[rsa_jwk("rsa"), ec_jwk("ec")]).await;
    for (signer, alg, kid) in [
        (Signer::rsa(Algorithm::RS256), "RS256", "rsa"),
        (Signer::rsa(Algorithm::PS384), "PS384", "rsa"),
        (Signer::ec(), "ES256", "ec"),
    ] {
        let token = signer.token(&json!({"alg": alg, "kid": kid}), &world.claims());
        assert_eq!(world.edge.call(&token).await.status, StatusCode::OK, "{alg}");
        let (body, signature) = token.rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        world.refuses(&format!("{body}.{turned}"), alg).await;
    }
    // Without a key id the one key that could have signed is meant.
    let token = Signer::ec().token(&json!({"alg": "ES256"}), &world.claims());
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn weak_and_foreign_keys_are_passed_over() {
    let short = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xc5; 128]), "e": "AQAB", "kid": "short"});
    let secret = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "secret"});
    let mut other = Signer::ed(2).jwk("encryption");
    other["use"] = json!("enc");
    let mut odd = Signer::ed(3).jwk("odd");
    odd["alg"] = json!("HS256");
    let world = world_with(&[short, secret, other, odd]).await;
    assert_eq!(world.edge.call(&world.token(&world.claims())).await.status, StatusCode::OK);
    let symmetric = Signer::Other(Algorithm::HS256, EncodingKey::from_secret(&[7; 32]));
    world.refuses(&symmetric.token(&json!({"alg": "HS256", "kid": "secret"}), &world.claims()), "oct").await;
    for (seed, kid) in [(2, "encryption"), (3, "odd")] {
        let token = Signer::ed(seed).token(&json!({"alg": "EdDSA", "kid": kid}), &world.claims());
        world.refuses(&token, kid).await;
    }
}

#[tokio::test]
async fn the_type_is_that_of_an_access_token_and_no_extension_is_demanded() {
    let world = world().await;
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        let token = world.signer.token(&json!({"alg": "EdDSA", "kid": "k1", "typ": typ}), &world.claims());
        assert_eq!(world.edge.call(&token).await.status, StatusCode::OK, "{typ}");
    }
    for header in [
        json!({"alg": "EdDSA", "kid": "k1", "typ": "dpop+jwt"}),
        json!({"alg": "EdDSA", "kid": "k1", "typ": "logout+jwt"}),
        json!({"alg": "EdDSA", "kid": "k1", "typ": 1}),
        json!({"alg": "EdDSA", "kid": "k1", "crit": ["b64"], "b64": false}),
        json!({"alg": "EdDSA", "kid": 1}),
        json!({"alg": "EdDSA", "kid": "K1"}),
        json!({"alg": ["EdDSA"], "kid": "k1"}),
        json!({"kid": "k1"}),
        // A key inside the token is nobody's key.
        json!({"alg": "EdDSA", "kid": "own", "jwk": Signer::ed(9).jwk("own")}),
    ] {
        world.refuses(&world.signer.token(&header, &world.claims()), &header.to_string()).await;
    }
}

#[tokio::test]
async fn a_token_with_two_readings_has_none() {
    let world = world().await;
    let header = r#"{"alg":"EdDSA","kid":"k1"}"#;
    let claims = world.claims().to_string();
    let twice = claims.replacen("\"sub\":\"alice\"", "\"sub\":\"alice\",\"sub\":\"root\"", 1);
    world.refuses(&world.signer.token_of(header, &twice), "sub twice").await;
    let twice = r#"{"alg":"EdDSA","alg":"none","kid":"k1"}"#;
    world.refuses(&world.signer.token_of(twice, &claims), "alg twice").await;
    world.refuses(&world.signer.token_of(header, "[]"), "an array").await;
    let good = world.signer.token_of(header, &claims);
    for spoiled in [
        format!("{good}."),
        format!(".{good}"),
        good.replacen('.', "..", 1),
        good.replace('.', ""),
        format!("{good}="),
        good[..good.len() - 1].to_owned(),
        "a.b.c".to_owned(),
        "...".to_owned(),
    ] {
        world.refuses(&spoiled, "spoiled").await;
    }
}

#[tokio::test]
async fn every_changed_character_of_a_token_is_noticed() {
    let signer = Signer::ed(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": [signer.jwk("k1"), rsa_jwk("rsa"), ec_jwk("ec")]}).to_string())
        .unwrap();
    let clock = Hands::new();
    let auth = Authentication::new(AuthConfig {
        public_url: "http://127.0.0.1:1".to_owned(),
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        method: Method::Jwt(JwtConfig {
            issuer: "https://issuer.example.org".to_owned(),
            audience: None,
            jwks: JwksSource::File(path),
        }),
        clock: clock.clone(),
    })
    .unwrap();
    let claims = json!({
        "iss": "https://issuer.example.org", "sub": "s", "aud": "http://127.0.0.1:1/mcp", "exp": clock.now() + 99,
    });
    let identify = async |token: &str| {
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        auth.identify(&headers).await.map(|admission| admission.identity)
    };
    // Verifying without optimisation is slow for the last two, so only some positions are tried.
    for (signer, alg, kid, step) in [
        (signer, "EdDSA", "k1", 1),
        (Signer::ec(), "ES256", "ec", 11),
        (Signer::rsa(Algorithm::RS256), "RS256", "rsa", 29),
    ] {
        let token = signer.token(&json!({"alg": alg, "kid": kid}), &claims);
        assert!(identify(&token).await.is_ok());
        for position in (0..token.len()).step_by(step) {
            for other in ["A", "-", "."] {
                if &token[position..=position] != other {
                    let changed = format!("{}{other}{}", &token[..position], &token[position + 1..]);
                    assert!(identify(&changed).await.is_err(), "{alg}: {other} at {position}");
                }
            }
            let shortened = format!("{}{}", &token[..position], &token[position + 1..]);
            assert!(identify(&shortened).await.is_err(), "{alg}: nothing at {position}");
        }
        assert!(identify(&token).await.is_ok());
    }
}

#[tokio::test]
async fn rotated_keys_are_found_and_withdrawn_keys_end() {
    let world = world().await;
    let old = world.token(&world.with("exp", json!(world.edge.clock.now() + 100_000)));
    assert_eq!(world.edge.call(&old).await.status, StatusCode::OK);
    assert_eq!(world.issuer.asked(), 1);

    let next = Signer::ed(2);
    world.issuer.publish(&[next.jwk("k2")]);
    world.edge.clock.forward(31);
    let token = next.token(&json!({"alg": "EdDSA", "kid": "k2"}), &world.claims());
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    assert_eq!(world.issuer.asked(), 2);
    world.refuses(&old, "its key was withdrawn").await;
}

#[tokio::test]
async fn invented_key_ids_do_not_hammer_the_issuer() {
    let world = world().await;
    assert_eq!(world.edge.call(&world.token(&world.claims())).await.status, StatusCode::OK);
    for round in 0..50 {
        let header = json!({"alg": "EdDSA", "kid": format!("invented-{round}")});
        world.refuses(&world.signer.token(&header, &world.claims()), "unknown key").await;
    }
    assert_eq!(world.issuer.asked(), 1, "within half a minute of the first fetch");
    world.edge.clock.forward(31);
    for round in 0..50 {
        let header = json!({"alg": "EdDSA", "kid": format!("invented-{round}")});
        world.refuses(&world.signer.token(&header, &world.claims()), "unknown key").await;
    }
    assert_eq!(world.issuer.asked(), 2);
}

#[tokio::test]
async fn a_storm_of_first_requests_fetches_once() {
    let world = world().await;
    world.issuer.state.delay.store(200, Ordering::SeqCst);
    let token = world.token(&world.claims());
    let answers = futures_util::future::join_all((0..20).map(|_| world.edge.call(&token))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(world.issuer.asked(), 1);
}

#[tokio::test]
async fn keys_outlive_an_outage_of_the_issuer_for_an_hour() {
    let world = world().await;
    let token = world.token(&world.with("exp", json!(world.edge.clock.now() + 100_000)));
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    world.issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, "down");
    for _ in 0..6 {
        world.edge.clock.forward(600);
        assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    }
    world.edge.clock.forward(31);
    let answer = world.edge.call(&token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "nothing is known about any token");
    assert!(!answer.header("retry-after").is_empty() && answer.challenge().is_empty());

    world.issuer.publish(&[world.signer.jwk("k1")]);
    world.edge.clock.forward(31);
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn during_an_outage_of_the_issuer_nothing_is_said_about_a_key_that_is_not_known() {
    let world = world().await;
    assert_eq!(world.edge.call(&world.token(&world.claims())).await.status, StatusCode::OK);
    world.issuer.answer(StatusCode::INTERNAL_SERVER_ERROR, "down");
    world.edge.clock.forward(31);
    // The issuer may have rotated its keys by now.
    let next = Signer::ed(2);
    let token = next.token(&json!({"alg": "EdDSA", "kid": "k2"}), &world.claims());
    for _ in 0..2 {
        assert_eq!(world.edge.call(&token).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(
        world.edge.call(&world.token(&world.claims())).await.status,
        StatusCode::OK,
        "known keys serve"
    );
    world.issuer.publish(&[world.signer.jwk("k1")]);
    world.edge.clock.forward(31);
    world.refuses(&token, "the issuer has no such key").await;
}

#[tokio::test]
async fn keys_are_confirmed_in_the_background() {
    let world = world().await;
    let token = world.token(&world.with("exp", json!(world.edge.clock.now() + 100_000)));
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    world.edge.clock.forward(601);
    assert_eq!(world.edge.call(&token).await.status, StatusCode::OK);
    for _ in 0..100 {
        if world.issuer.asked() == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the keys were asked for {} times", world.issuer.asked());
}

#[tokio::test]
async fn what_is_not_a_plain_key_set_is_not_taken() {
    let elsewhere = Issuer::start(&[Signer::ed(1).jwk("k1")]).await;
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024));
    let many = json!({"keys": vec![Signer::ed(1).jwk("k1"); 65]}).to_string();
    for (status, text) in [
        (StatusCode::FOUND, format!("{}/jwks", elsewhere.url)),
        (StatusCode::TEMPORARY_REDIRECT, format!("{}/jwks", elsewhere.url)),
        (StatusCode::OK, large),
        (StatusCode::OK, many),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, "[]".to_owned()),
        (StatusCode::CREATED, json!({"keys": [Signer::ed(1).jwk("k1")]}).to_string()),
    ] {
        let world = world().await;
        world.issuer.answer(status, &text);
        let answer = world.edge.call(&world.token(&world.claims())).await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{status} {}",
            &text[..text.len().min(60)]
        );
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_silent_issuer_is_given_up_after_five_seconds() {
    let world = world().await;
    world.issuer.state.delay.store(60_000, Ordering::SeqCst);
    let begun = std::time::Instant::now();
    let answer = world.edge.call(&world.token(&world.claims())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < std::time::Duration::from_secs(15));
}

#[tokio::test]
async fn keys_can_come_from_a_file_that_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": [Signer::ed(1).jwk("k1")]}).to_string()).unwrap();
    let issuer = "https://issuer.example.org";
    let edge = start(|_| {
        Method::Jwt(JwtConfig {
            issuer: issuer.to_owned(),
            audience: Some("api://edge".to_owned()),
            jwks: JwksSource::File(path.clone()),
        })
    })
    .await;
    let claims = json!({"iss": issuer, "sub": "s", "aud": "api://edge", "exp": edge.clock.now() + 9, "scope": "chio.read"});
    let token = |seed, kid: &str| Signer::ed(seed).token(&json!({"alg": "EdDSA", "kid": kid}), &claims);
    assert_eq!(edge.call(&token(1, "k1")).await.status, StatusCode::OK);
    std::fs::write(&path, json!({"keys": [Signer::ed(2).jwk("k2")]}).to_string()).unwrap();
    assert_eq!(edge.call(&token(2, "k2")).await.status, StatusCode::OK);
    assert_eq!(edge.call(&token(1, "k1")).await.status, StatusCode::UNAUTHORIZED);
}

// --- Scopes ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn chio_invoke_is_needed_for_tool_calls_and_cancelled_tasks_and_chio_read_for_everything_else() {
    let world = world().await;
    let cases = [
        ("chio.read", "tools/list", None),
        ("chio.read", "initialize", None),
        ("chio.read", "an/unknown", None),
        ("chio.read", "tools/call", Some("chio.read chio.invoke")),
        ("chio.read", "tasks/cancel", Some("chio.read chio.invoke")),
        ("chio.invoke", "tools/call", None),
        ("chio.invoke", "tasks/cancel", None),
        ("chio.invoke", "tools/list", Some("chio.read chio.invoke")),
        ("", "tools/list", Some("chio.read")),
        ("openid CHIO.READ chio.readx", "tools/call", Some("chio.invoke")),
        ("chio.read chio.invoke", "tools/call", None),
    ];
    for (scope, method, wanted) in cases {
        let token = world.token(&world.with("scope", json!(scope)));
        let answer = world.edge.call_method(&token, method).await;
        match wanted {
            None => assert_eq!(answer.status, StatusCode::OK, "{scope} {method}"),
            Some(wanted) => {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{scope} {method}");
                let challenge = format!(
                    "Bearer error=\"insufficient_scope\", scope=\"{wanted}\", resource_metadata=\"{}{PRM}/mcp\"",
                    world.edge.base
                );
                assert_eq!(answer.challenge(), challenge);
            }
        }
    }
}

#[test]
fn refusals_name_their_registry_entries() {
    let auth = Authentication::new(AuthConfig {
        public_url: "http://127.0.0.1:1".to_owned(),
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        method: fixed(TOKEN),
        clock: Hands::new(),
    })
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let failure = runtime.block_on(auth.identify(&axum::http::HeaderMap::new())).unwrap_err();
    assert_eq!(failure.code(), chio_spec::ErrorCode::AuthMissingOrInvalid);
    let _: Arc<Authentication> = auth;
}
