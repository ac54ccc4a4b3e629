//! An edge that only authenticates, and everything to talk to it over real sockets.
//!
//! `/mcp` answers with the identity that was found, or with the refusal, exactly as the edge would send it.

// Each test file uses its own part.
#![allow(dead_code)]

pub mod keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chio_core::keys::SigningKey;
use chio_kernel::Clock;
use chio_mcp_edge::auth::{AuthConfig, Authentication, Method};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A clock that stands still until it is moved.
pub struct Hands(AtomicU64);

impl Hands {
    pub fn new() -> Arc<Hands> {
        Arc::new(Hands(AtomicU64::new(1_800_000_000)))
    }

    pub fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A running edge.
pub struct Edge {
    pub base: String,
    pub clock: Arc<Hands>,
    pub client: reqwest::Client,
}

/// Starts an edge with the method that `method` makes for its base URL.
pub async fn start(method: impl FnOnce(&str) -> Method) -> Edge {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let base = format!("http://{address}");
    let clock = Hands::new();
    let auth = Authentication::new(AuthConfig {
        public_url: base.clone(),
        listen: vec![address],
        method: method(&base),
        clock: clock.clone(),
    })
    .unwrap();
    let app = Router::new().route("/mcp", post(mcp)).with_state(auth.clone()).merge(auth.routes());
    tokio::spawn(async move {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
    Edge { base, clock, client: client() }
}

pub fn client() -> reqwest::Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

async fn mcp(State(auth): State<Arc<Authentication>>, request: Request) -> Response<Body> {
    let identity = match auth.identify(request.headers()).await {
        Ok(admission) => admission.identity,
        Err(failure) => return failure.into_response(),
    };
    let method =
        request.headers().get("x-method").and_then(|value| value.to_str().ok()).unwrap_or("tools/list");
    if let Err(failure) = auth.authorize(&identity, method) {
        return failure.into_response();
    }
    let body = json!({
        "method": format!("{:?}", identity.method),
        "principal": identity.principal,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "client_id": identity.client_id,
        "scopes": identity.scopes,
        "claims": identity.claims,
    });
    body.to_string().into_response()
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn challenge(&self) -> &str {
        self.header("www-authenticate")
    }
}

impl Edge {
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Posts to `/mcp` with a bearer token.
    pub async fn call(&self, token: &str) -> Answer {
        self.call_method(token, "tools/list").await
    }

    /// The same, as if the body named that MCP method.
    pub async fn call_method(&self, token: &str, method: &str) -> Answer {
        let request = self.client.post(format!("{}/mcp", self.base));
        Answer::of(request.header("authorization", format!("Bearer {token}")).header("x-method", method))
            .await
    }

    /// Posts a form.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        Answer::of(self.form_request(path, fields)).await
    }

    pub fn form_request(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(fields))
    }
}

pub fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The parameters of a redirect's target.
pub fn query_of(location: &str) -> std::collections::BTreeMap<String, String> {
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

// --- An issuer ---------------------------------------------------------------------------------------------------

/// An issuer of tokens with a key endpoint of its own.
pub struct Issuer {
    pub url: String,
    pub state: Arc<IssuerState>,
}

pub struct IssuerState {
    /// Status and text that the key endpoint answers.
    pub answer: Mutex<(StatusCode, String)>,
    /// How often it was asked.
    pub asked: AtomicUsize,
    /// Milliseconds that it takes.
    pub delay: AtomicU64,
}

impl Issuer {
    pub async fn start(keys: &[Value]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(IssuerState {
            answer: Mutex::new((StatusCode::OK, json!({"keys": keys}).to_string())),
            asked: AtomicUsize::new(0),
            delay: AtomicU64::new(0),
        });
        let app = Router::new().route("/jwks", get(jwks)).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Issuer { url, state }
    }

    pub fn publish(&self, keys: &[Value]) {
        self.answer(StatusCode::OK, &json!({"keys": keys}).to_string());
    }

    pub fn answer(&self, status: StatusCode, text: &str) {
        *self.state.answer.lock().unwrap() = (status, text.to_owned());
    }

    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn jwks(State(state): State<Arc<IssuerState>>) -> Response<Body> {
    state.asked.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(std::time::Duration::from_millis(state.delay.load(Ordering::SeqCst))).await;
    let (status, text) = state.answer.lock().unwrap().clone();
    if status.is_redirection() {
        return (status, [("location", text)]).into_response();
    }
    (status, text).into_response()
}

/// A key pair that signs tokens.
pub enum Signer {
    Ed(Box<SigningKey>),
    Other(Algorithm, EncodingKey),
}

impl Signer {
    pub fn ed(seed: u8) -> Signer {
        Signer::Ed(Box::new(SigningKey::from_seed([seed; 32])))
    }

    pub fn rsa(algorithm: Algorithm) -> Signer {
        Signer::Other(algorithm, EncodingKey::from_rsa_der(&STANDARD.decode(keys::RSA_PRIVATE).unwrap()))
    }

    pub fn ec() -> Signer {
        Signer::Other(Algorithm::ES256, EncodingKey::from_ec_der(&STANDARD.decode(keys::EC_PRIVATE).unwrap()))
    }

    /// The public key of an Ed25519 signer.
    pub fn jwk(&self, kid: &str) -> Value {
        let Signer::Ed(key) = self else { panic!("only Ed25519 signers know their JWK") };
        let x = URL_SAFE_NO_PAD.encode(key.public().hex().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"})
    }

    fn sign(&self, message: &str) -> String {
        match self {
            Signer::Ed(key) => URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).as_bytes()),
            Signer::Other(algorithm, key) => {
                jsonwebtoken::crypto::sign(message.as_bytes(), key, *algorithm).unwrap()
            }
        }
    }

    /// A token with exactly these texts as header and claims.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{signed}.{}", self.sign(&signed))
    }

    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }
}

pub fn rsa_jwk(kid: &str) -> Value {
    json!({"kty": "RSA", "n": keys::RSA_MODULUS, "e": "AQAB", "kid": kid})
}

pub fn ec_jwk(kid: &str) -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": keys::EC_X, "y": keys::EC_Y, "kid": kid, "alg": "ES256"})
}
