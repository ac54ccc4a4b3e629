//! Tokens that end while something goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::hash::sha256;
use chio_mcp_edge::auth::{Approval, JwksSource, Method, OauthConfig};
use chio_mcp_edge::{EdgeConfig, Limits};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::house::http::{Ask, Reply};
use crate::house::issuer::Issuer;
use crate::house::{House, call, config, initialize, notification, streaming};

const SCOPES: &str = "chio.read chio.invoke";

/// A caller with a token, in a session that is ready.
struct Caller<'a> {
    house: &'a House,
    token: String,
    session: String,
}

impl<'a> Caller<'a> {
    async fn enter(house: &'a House, token: &str) -> Self {
        Self::enter_as("test", house, token).await
    }

    async fn enter_as(client: &str, house: &'a House, token: &str) -> Self {
        let body = initialize(client).to_string();
        let mut reply = house.ask(Ask::post(&body).header("Authorization", token)).await;
        let session = reply.header("mcp-session-id").expect("a session").to_owned();
        reply.messages().await;
        let caller = Self { house, token: token.to_owned(), session };
        assert_eq!(caller.post(&notification("notifications/initialized")).await.status, 202);
        caller
    }

    async fn ask(&self, ask: Ask<'_>) -> Reply {
        self.house.ask(ask.header("Authorization", &self.token).header("MCP-Session-Id", &self.session)).await
    }

    async fn post(&self, message: &Value) -> Reply {
        self.ask(Ask::post(&message.to_string())).await
    }

    async fn listen(&self, last_event: Option<&str>) -> Reply {
        let ask = Ask::get("/mcp").header("Accept", "text/event-stream");
        self.ask(last_event.into_iter().fold(ask, |ask, event| ask.header("Last-Event-ID", event))).await
    }
}

#[tokio::test]
async fn event_streams_end_when_the_token_that_opened_them_expires() {
    let issuer = Issuer::new();
    let house = issuer.house(config()).await;
    let mut caller = Caller::enter(&house, &issuer.token("ann", SCOPES)).await;
    let mut listening = caller.listen(None).await;
    listening.event().await.expect("the priming event");
    let mut answering = caller.post(&call(1, "gate", json!({"tell": 1}))).await;
    answering.event().await.expect("the priming event");
    let seen = answering.event().await.expect("what the call tells first").id.unwrap();

    // The leeway for clocks is a minute; a client that comes back within it would be let in again.
    house.clock.forward(361);
    for stream in [&mut listening, &mut answering] {
        assert_eq!(stream.events().await, []);
        assert!(stream.whole, "the stream ended as streams end, not as connections break");
    }
    let refused = caller.listen(Some(&seen)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));

    // The call went on, and whoever comes with another token is told the rest.
    caller.token = issuer.token_for("ann", SCOPES, 3000);
    let mut resumed = caller.listen(Some(&seen)).await;
    assert_eq!(resumed.status, 200);
    house.script.gate.notify_one();
    let messages = resumed.messages().await;
    assert_eq!((messages.len(), messages[0]["result"]["content"][0]["text"].as_str()), (1, Some("opened")));
    house.close().await;
}

#[tokio::test]
async fn a_stream_outlives_its_token_while_its_client_could_not_come_back_for_the_answer() {
    let issuer = Issuer::new();
    let house = issuer.house(streaming()).await;
    // It takes no priming event, so it is told no event id before the answer.
    let caller = Caller::enter_as("chio-sdk", &house, &issuer.token("ann", SCOPES)).await;
    let mut answering = caller.post(&call(1, "gate", json!({}))).await;
    house.clock.forward(361);
    // Long enough for any stream to be asked whether its token holds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(caller.listen(None).await.status, 401);
    house.script.gate.notify_one();
    let messages = answering.messages().await;
    assert_eq!((messages.len(), messages[0]["result"]["content"][0]["text"].as_str()), (1, Some("opened")));
    house.close().await;
}

#[tokio::test]
async fn an_event_stream_ends_when_its_token_is_revoked() {
    let oauth = OauthConfig {
        seed: Zeroizing::new([3; 32]),
        subject: "ada".to_owned(),
        approval: Approval::Automatic,
    };
    let house = House::with(config(), Method::Oauth(oauth)).await;
    let tokens = log_in(&house).await;
    let token = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let caller = Caller::enter(&house, &token).await;
    let mut listening = caller.listen(None).await;
    listening.event().await.expect("the priming event");

    // A refresh token that is used twice was stolen, so the whole family ends.
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "chio-cli"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    for status in [200, 400] {
        assert_eq!(form(&house, &refresh).await.status, status);
    }
    assert_eq!(listening.events().await, []);
    assert!(listening.whole);
    assert_eq!(caller.listen(None).await.status, 401);
    house.close().await;
}

#[tokio::test]
async fn only_credentials_that_may_be_guesses_count_against_an_address() {
    let issuer = Issuer::new();
    let limits = Limits { failures_per_minute: 2, ..Limits::default() };
    let config = EdgeConfig { limits, ..config() };
    let body = initialize("test").to_string();
    let ask = |token: &str| Ask::post(&body).header("Authorization", token);

    // Nobody answers where the keys should be.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = JwksSource::Url(format!("http://{closed}/jwks.json"));
    let house = issuer.house_with_keys_at(config.clone(), nowhere).await;
    let token = issuer.token("ann", SCOPES);
    for _ in 0..5 {
        assert_eq!(house.ask(ask(&token)).await.status, 503);
    }
    for status in [401, 401, 429] {
        assert_eq!(house.ask(ask("Bearer no-jwt-at-all")).await.status, status, "the count was still empty");
    }
    house.close().await;

    // That a token expired is how its holder learns to fetch the next.
    let house = issuer.house(config).await;
    house.clock.forward(361);
    for _ in 0..5 {
        assert_eq!(house.ask(ask(&token)).await.status, 401);
    }
    let (rest, _) = token.rsplit_once('.').unwrap();
    for status in [401, 401, 429] {
        assert_eq!(house.ask(ask(&format!("{rest}.AAAA"))).await.status, status);
    }
    house.close().await;
}

/// The tokens of one login.
async fn log_in(house: &House) -> Value {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()).as_bytes());
    let redirect = "http://127.0.0.1:53682/callback";
    let resource = format!("http://{}/mcp", house.address);
    let query = encode(&[
        ("response_type", "code"),
        ("client_id", "chio-cli"),
        ("redirect_uri", redirect),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("scope", SCOPES),
        ("resource", &resource),
    ]);
    let reply = house.ask(Ask::get(&format!("/oauth/authorize?{query}"))).await;
    let location = url::Url::parse(reply.header("location").expect("a redirect")).unwrap();
    let answer: BTreeMap<_, _> = location.query_pairs().into_owned().collect();
    let mut reply = form(
        house,
        &[
            ("grant_type", "authorization_code"),
            ("code", &answer["code"]),
            ("client_id", "chio-cli"),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ],
    )
    .await;
    assert_eq!(reply.status, 200);
    reply.json().await
}

async fn form(house: &House, fields: &[(&str, &str)]) -> Reply {
    let body = encode(fields);
    let ask = Ask::new("POST", "/oauth/token").header("Content-Type", "application/x-www-form-urlencoded");
    house.ask(ask.body(&body)).await
}

fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
