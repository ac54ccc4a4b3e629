//! The published holes of other MCP gateways, servers and libraries, one by one.
//!
//! | hole | what it was | why it is not ours |
//! |---|---|---|
//! | CVE-2025-6514 | a URL of the server handed to a shell | `addresses_that_are_no_web_addresses_are_refused` |
//! | CVE-2025-49596 | an open port on localhost, and DNS rebinding | `web_pages_cannot_reach_the_edge`, `without_credentials_only_health_answers` |
//! | CVE-2025-53109, -53110 | paths compared by prefix | `forbidden_paths_are_compared_by_components`; what symbolic links point to is not looked up (SECURITY.md) |
//! | CVE-2025-53365, -53366 | an exception ended the server | `malformed_and_aborted_requests_never_end_the_edge` |
//! | CVE-2025-66414, -66416 | rebinding protection off by default | `web_pages_cannot_reach_the_edge` |
//! | CVE-2026-34742 | one endpoint was forgotten | `every_route_refuses_a_foreign_host` |
//! | CVE-2026-35568 | no check of `Host` and `Origin` | `every_route_refuses_a_foreign_host`, `web_pages_cannot_reach_the_edge` |
//! | CVE-2026-42559 | no check of `Host` | `every_route_refuses_a_foreign_host`, `the_library_with_the_hole_is_not_used` |
//! | CVE-2026-35577 | the port of `Host` was not compared | `web_pages_cannot_reach_the_edge` |
//! | CVE-2025-64443 | no authentication on streams | `without_credentials_only_health_answers` |
//! | CVE-2026-55887 | metadata of an image became launch options | `nothing_that_comes_over_the_network_starts_a_process` |
//! | CVE-2025-9611 | no check of `Origin` | `web_pages_cannot_reach_the_edge` |
//! | CVE-2026-48710 | a strange `Host` shifted the path | `strange_hosts_are_refused` |
//! | CVE-2026-42271 | a command accepted over HTTP | `nothing_that_comes_over_the_network_starts_a_process` |
//! | CVE-2026-27896 | names of members in any case | `names_of_members_are_exact_and_single` |
//! | CVE-2026-25536 | answers crossed between clients | `the_same_request_ids_in_many_sessions_never_cross` |
//! | CVE-2026-33946 | a second stream replaced the first; sessions without owner | `a_session_belongs_to_its_credential`, `a_second_stream_does_not_replace_the_first` |
//! | CVE-2026-52870 | tasks without owner | `a_task_of_another_session_is_an_unknown_task` |
//! | CVE-2025-6515 | predictable session ids | `session_ids_are_long_and_random` |
//! | CVE-2026-0621 | a regular expression without bound | `hostile_text_costs_time_in_proportion_to_its_length` |
//! | CVE-2026-39313 | a limit of bodies that was not enforced | `bodies_beyond_the_limit_are_refused_before_they_are_kept` |
//! | CVE-2026-32871 | arguments pasted into a URL | cannot apply: no argument of a call becomes part of a URL |
//! | CVE-2026-27124 | consent not bound to the browser | `approval_without_consent_is_refused` |
//! | GHSA-g53w-w6mj-hrpp | an internal header and a default key | `headers_of_others_replace_no_credentials`, `beyond_loopback_the_edge_needs_to_know_callers` |
//! | CVE-2025-68143 and others | arguments of tools read as options | `arguments_that_look_like_options_reach_no_option`, `arguments_that_look_like_options_do_nothing_in_a_stock_server` |
//! | CVE-2026-33032 | an endpoint without authentication | `without_credentials_only_health_answers` |
//! | CVE-2026-30623 and family | a process started by configuration from outside | `nothing_that_comes_over_the_network_starts_a_process` |

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chio_core::keys::SigningKey;
use serde_json::{Value, json};

use crate::clients::TOKEN;
use crate::edge::{Edge, fixture, open_policy, root};
use crate::home::Home;
use crate::http::{Head, Reply, Request, Session, call, exchange, initialize, open, text};
use crate::tee::ADMIN;
use crate::upstreams::{beside, git, repository};

/// Why a hole is not ours.
enum Proof {
    /// These tests show it.
    Tests(&'static [fn()]),
    /// There is nothing in the product that could have it.
    CannotApply(&'static str),
}
use Proof::{CannotApply, Tests};

const ROWS: &[(&str, Proof)] = &[
    ("CVE-2025-6514", Tests(&[addresses_that_are_no_web_addresses_are_refused])),
    ("CVE-2025-49596", Tests(&[web_pages_cannot_reach_the_edge, without_credentials_only_health_answers])),
    ("CVE-2025-53109 / CVE-2025-53110", Tests(&[forbidden_paths_are_compared_by_components])),
    ("CVE-2025-53365, CVE-2025-53366", Tests(&[malformed_and_aborted_requests_never_end_the_edge])),
    ("CVE-2025-66414 / CVE-2025-66416", Tests(&[web_pages_cannot_reach_the_edge])),
    ("CVE-2026-34742", Tests(&[every_route_refuses_a_foreign_host])),
    ("CVE-2026-35568", Tests(&[every_route_refuses_a_foreign_host, web_pages_cannot_reach_the_edge])),
    (
        "CVE-2026-42559 / RUSTSEC-2026-0189",
        Tests(&[every_route_refuses_a_foreign_host, the_library_with_the_hole_is_not_used]),
    ),
    ("CVE-2026-35577", Tests(&[web_pages_cannot_reach_the_edge])),
    ("CVE-2025-64443", Tests(&[without_credentials_only_health_answers])),
    ("CVE-2026-55887", Tests(&[nothing_that_comes_over_the_network_starts_a_process])),
    ("CVE-2025-9611", Tests(&[web_pages_cannot_reach_the_edge])),
    ("CVE-2026-48710 (BadHost)", Tests(&[strange_hosts_are_refused])),
    ("CVE-2026-42271", Tests(&[nothing_that_comes_over_the_network_starts_a_process])),
    ("CVE-2026-27896", Tests(&[names_of_members_are_exact_and_single])),
    ("CVE-2026-25536", Tests(&[the_same_request_ids_in_many_sessions_never_cross])),
    (
        "CVE-2026-33946",
        Tests(&[a_session_belongs_to_its_credential, a_second_stream_does_not_replace_the_first]),
    ),
    ("CVE-2026-52870 / GHSA-hvrp-rf83-w775", Tests(&[a_task_of_another_session_is_an_unknown_task])),
    ("CVE-2025-6515", Tests(&[session_ids_are_long_and_random])),
    ("CVE-2026-0621", Tests(&[hostile_text_costs_time_in_proportion_to_its_length])),
    ("CVE-2026-39313", Tests(&[bodies_beyond_the_limit_are_refused_before_they_are_kept])),
    (
        "CVE-2026-32871",
        CannotApply(
            "no argument of a call becomes part of a URL: a server's URL is the operator's, and calls travel in bodies",
        ),
    ),
    ("CVE-2026-27124 and GHSA-c2jp-c369-7pvx", Tests(&[approval_without_consent_is_refused])),
    (
        "GHSA-g53w-w6mj-hrpp",
        Tests(&[headers_of_others_replace_no_credentials, beyond_loopback_the_edge_needs_to_know_callers]),
    ),
    (
        "CVE-2025-68143/68144/68145, CVE-2026-27735",
        Tests(&[
            arguments_that_look_like_options_reach_no_option,
            arguments_that_look_like_options_do_nothing_in_a_stock_server,
        ]),
    ),
    ("CVE-2026-33032", Tests(&[without_credentials_only_health_answers])),
    ("CVE-2026-30623 family", Tests(&[nothing_that_comes_over_the_network_starts_a_process])),
];

/// A hole that is published and has no row here fails this test.
#[test]
fn every_published_hole_has_a_row() {
    let data =
        std::env::var_os("CHIO_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let file = data.join("cve/mcp_cves.json");
    let Ok(published) = std::fs::read_to_string(&file) else {
        assert!(std::env::var_os("CI").is_none(), "{} is not there", file.display());
        let mut stderr = std::io::stderr();
        let _ =
            writeln!(stderr, "SKIPPED: {} is not there; name its folder with CHIO_TEST_DATA", file.display());
        return;
    };
    let published: Value = serde_json::from_str(&published).unwrap();
    let head = std::fs::read_to_string(root().join("tests/mcp/cve.rs")).unwrap();
    for hole in published["cves"].as_array().unwrap() {
        let id = hole["id"].as_str().unwrap();
        let proof = ROWS.iter().find(|(row, _)| *row == id).map(|(_, proof)| proof);
        match proof.unwrap_or_else(|| panic!("no row for {id}: {}", hole["class"])) {
            Tests(tests) => assert!(!tests.is_empty(), "{id}"),
            CannotApply(reason) => assert!(reason.len() > 40, "{id}: {reason}"),
        }
        let first = id.split([' ', ',', '/']).next().unwrap();
        assert!(head.contains(&format!("//! | {first}")), "{id} is not in the table above");
    }
}

/// Every route of the edge, with the methods that it has.
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("PUT", "/mcp"),
    ("GET", "/admin/sessions"),
    ("POST", "/admin/sessions/x/drain"),
    ("POST", "/admin/sessions/x/shutdown"),
    ("GET", "/admin/servers"),
    ("GET", "/admin/metrics"),
    ("GET", "/"),
    ("GET", "/no/such/path"),
];

/// What everybody may read, so that they learn how to log in.
const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/admin/health"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/oauth/authorize"),
    ("POST", "/oauth/authorize"),
    ("POST", "/oauth/token"),
    ("POST", "/oauth/register"),
    ("GET", "/oauth/jwks.json"),
];

fn request(method: &'static str, path: &str) -> Request {
    let mut request = Request::new(method, path).with("Accept", "application/json, text/event-stream");
    if method == "POST" {
        request.body = initialize(json!({})).to_string().into_bytes();
        request = request.with("Content-Type", "application/json");
    }
    request
}

/// An edge before the fixture, to everybody on loopback.
fn anonymous(home: &Home) -> Edge {
    Edge::of_fixture(home, json!({}), &open_policy(), None)
}

/// An edge before the fixture with options of the command line.
fn with(home: &Home, config: Value, options: &[&str]) -> Edge {
    let (fixture, policy) = (fixture(None), open_policy());
    let mut arguments = vec!["--policy", policy.to_str().unwrap(), "--server-id", "fixture"];
    arguments.extend(options);
    arguments.push("--");
    arguments.extend(fixture.iter().map(String::as_str));
    Edge::start(home, config, &arguments)
}

/// Whether an edge with these options refuses to start, in time.
fn refuses_to_start(config: Value, options: &[&str]) {
    let home = Home::new();
    std::fs::create_dir_all(home.path()).unwrap();
    std::fs::write(home.path().join("chio.yaml"), config.to_string()).unwrap();
    let fixture = fixture(None);
    let mut arguments = vec!["mcp", "serve-http"];
    arguments.extend(options);
    if !options.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    arguments.push("--");
    arguments.extend(fixture.iter().map(String::as_str));
    let ran = home.run(&arguments);
    assert!(!ran.status.success(), "it started with {options:?} and {config}: {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn web_pages_cannot_reach_the_edge() {
    let home = Home::new();
    let edge = anonymous(&home);
    let port = edge.address.rsplit(':').next().unwrap();
    let message = initialize(json!({}));
    for host in [
        "evil.example",
        "evil.example:80",
        "127.0.0.1:1",
        "127.0.0.1",
        "localhost:1",
        "127.0.0.1.evil.example",
    ] {
        let reply = Request::post(&message).with("Host", host).send(&edge.address);
        assert_eq!(reply.status(), 403, "Host: {host}: {}", reply.text());
    }
    for origin in
        ["https://evil.example", "http://127.0.0.1:1", "null", &format!("http://evil.example:{port}")]
    {
        let reply = Request::post(&message).with("Origin", origin).send(&edge.address);
        assert_eq!(reply.status(), 403, "Origin: {origin}: {}", reply.text());
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let own = Request::post(&message).with("Host", &host).with("Origin", &format!("http://{host}"));
        assert_eq!(own.send(&edge.address).status(), 200, "{host}");
    }
    assert!(home.receipts().is_empty());
}

#[test]
fn every_route_refuses_a_foreign_host() {
    let home = Home::new();
    let edge = with(&home, json!({"mcp": {"admin_token": ADMIN}}), &["--oauth"]);
    for (method, path) in ROUTES.iter().chain(PUBLIC) {
        let foreign = request(method, path)
            .with("Host", "evil.example")
            .with("Authorization", &format!("Bearer {ADMIN}"));
        assert_eq!(foreign.send(&edge.address).status(), 403, "{method} {path}");
    }
}

#[test]
fn without_credentials_only_health_answers() {
    let home = Home::new();
    let edge = with(&home, json!({"mcp": {"admin_token": ADMIN, "auth": {"token": TOKEN}}}), &[]);
    for (method, path) in ROUTES {
        for credentials in
            [None, Some("Bearer wrong-token-of-the-same-kind-01"), Some("Basic Og=="), Some("Bearer ")]
        {
            let mut request = request(method, path);
            if let Some(credentials) = credentials {
                request = request.with("Authorization", credentials);
            }
            let reply = request.send(&edge.address);
            assert!(
                matches!(reply.status(), 401 | 404),
                "{method} {path} {credentials:?}: {}",
                reply.status()
            );
            assert!(path != &"/mcp" || reply.status() == 401, "{method} {path}: {}", reply.status());
        }
    }
    // Nor does the token of a client open the admin endpoints, nor that of the admin the endpoint of clients.
    let admin = request("GET", "/admin/sessions").with("Authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(admin.send(&edge.address).status(), 401);
    let client = request("POST", "/mcp").with("Authorization", &format!("Bearer {ADMIN}"));
    assert_eq!(client.send(&edge.address).status(), 401);
    assert_eq!(request("GET", "/admin/health").send(&edge.address).status(), 200);
    // A token in the query is no token.
    let query = request("POST", &format!("/mcp?access_token={TOKEN}"));
    assert_eq!(query.send(&edge.address).status(), 401);
}

#[test]
fn strange_hosts_are_refused() {
    let home = Home::new();
    let edge = anonymous(&home);
    let good = &edge.address;
    let hosts = [
        "",
        "a b",
        &format!("{good}/admin/health?"),
        &format!("{good}?"),
        &format!("{good}#"),
        &format!("x@{good}"),
    ];
    for host in hosts {
        let reply = request("GET", "/admin/health").with("Host", host).send(good);
        assert!(matches!(reply.status(), 400 | 403), "Host: {host:?}: {}", reply.status());
    }
    let twice = request("GET", "/admin/health").with("Host", good).with("Host", good).send(good);
    assert_eq!(twice.status(), 400, "two Host headers");
    let none = exchange(good, b"GET /admin/health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert!(matches!(none.status(), 400 | 403), "no Host header: {}", none.status());
}

#[test]
fn malformed_and_aborted_requests_never_end_the_edge() {
    let home = Home::new();
    let mut edge = anonymous(&home);
    let session = Session::open(&edge.address, None);
    let wrong = [
        "",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]",
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}"#,
        "\u{0}\u{1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\\ud800\"}}",
    ];
    for round in 0..50 {
        for body in wrong {
            let mut request = session.request(&Value::Null);
            request.body = body.as_bytes().to_vec();
            let reply = request.send(&edge.address);
            assert!(reply.status() < 500, "{body}: {} {}", reply.status(), reply.text());
        }
        // Left before the answer, in the middle of a body, and in the middle of a head.
        let slow = session.request(&call(
            round,
            "tools/call",
            json!({"name": "sleep", "arguments": {"millis": 300}}),
        ));
        drop(open(&edge.address, &slow.bytes(&edge.address)).unwrap());
        let bytes = slow.bytes(&edge.address);
        drop(open(&edge.address, &bytes[..bytes.len() - 10]).unwrap());
        drop(open(&edge.address, &bytes[..20]).unwrap());
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut request = session.request(&Value::Null);
    request.body = deep.into_bytes();
    assert_eq!(request.send(&edge.address).status(), 400);
    assert!(edge.is_running());
    assert_eq!(text(&session.tool("echo", json!({"message": "still here"}))), "still here");
}

#[test]
fn names_of_members_are_exact_and_single() {
    let home = Home::new();
    let edge = anonymous(&home);
    let session = Session::open(&edge.address, None);
    let send = |body: &str| {
        let mut request = session.request(&Value::Null);
        request.body = body.as_bytes().to_vec();
        request.send(&edge.address)
    };
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"METHOD":"ping"}"#,
        r#"{"JSONRPC":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
    ] {
        let reply = send(body);
        assert_eq!(reply.status(), 400, "{body}: {}", reply.text());
    }
    // Folded letters (U+017F is a long s) and repeated names decide nothing.
    for (params, why) in [
        (r#"{"Name":"echo","arguments":{"message":"x"}}"#, "another case"),
        (r#"{"name":"echo","name":"secret","arguments":{}}"#, "twice"),
    ] {
        let answer = send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#));
        let refused = answer.status() == 400 || answer.answer().get("error").is_some();
        assert!(refused, "{why}: {}", answer.text());
    }
    let folded = send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\u{17f}\":{\"x\":1}}");
    assert!(folded.status() == 400 || folded.answer().get("result").is_some(), "{}", folded.text());
    assert!(home.receipts().iter().all(|receipt| receipt["tool_name"] != "secret"));
}

#[test]
fn the_same_request_ids_in_many_sessions_never_cross() {
    for shared in [false, true] {
        let home = Home::new();
        let edge = with(&home, json!({}), if shared { &["--shared"] } else { &[] });
        let sessions: Vec<Session> = (0..8).map(|_| Session::open(&edge.address, None)).collect();
        let workers: Vec<_> = sessions
            .into_iter()
            .enumerate()
            .map(|(number, session)| {
                std::thread::spawn(move || {
                    let secret = text(&session.tool("secret", json!({}))).to_owned();
                    for round in 0..20 {
                        let message = format!("session {number} round {round}");
                        // Every session uses the same ids.
                        let answer = session.ask(
                            round,
                            "tools/call",
                            json!({"name": "echo", "arguments": {"message": message}}),
                        );
                        assert_eq!(answer["id"], round);
                        assert_eq!(text(&answer), message);
                        assert_eq!(text(&session.tool("secret", json!({}))), secret);
                    }
                    secret
                })
            })
            .collect();
        let secrets: std::collections::BTreeSet<String> =
            workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        assert_eq!(
            secrets.len(),
            if shared { 1 } else { 8 },
            "each session has its own server, unless it is shared"
        );
        edge.end();
        assert_eq!(home.fsck(), 8 * 41);
    }
}

/// Tokens of an issuer whose key is in the test's hand.
struct Issuer {
    key: SigningKey,
    keys: PathBuf,
}

impl Issuer {
    const NAME: &'static str = "https://issuer.example";
    const AUDIENCE: &'static str = "chio-tests";

    fn new(home: &Home) -> Self {
        let key = SigningKey::from_seed_hex(&"07".repeat(32)).unwrap();
        let public = bytes(&key.public().to_string());
        let keys = home.side("keys.json");
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "one", "x": base64(&public)});
        std::fs::write(&keys, json!({"keys": [jwk]}).to_string()).unwrap();
        Self { key, keys }
    }

    fn token(&self, subject: &str, scope: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": Self::NAME, "sub": subject, "aud": Self::AUDIENCE, "scope": scope, "client_id": "tests",
            "iat": now, "exp": now + 600, "jti": format!("{subject}-{now}"),
        });
        let head = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "one"});
        let signed =
            format!("{}.{}", base64(head.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let signature = bytes(&self.key.sign(signed.as_bytes()).to_string());
        format!("{signed}.{}", base64(&signature))
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Base64url without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[(number >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

#[test]
fn a_session_belongs_to_its_credential() {
    let home = Home::new();
    let issuer = Issuer::new(&home);
    let keys = issuer.keys.display().to_string();
    let options = ["--jwt-issuer", Issuer::NAME, "--jwks", &keys, "--jwt-audience", Issuer::AUDIENCE];
    let edge = with(&home, json!({}), &options);
    let scope = "chio.read chio.invoke";
    let (alice, mallory) = (issuer.token("alice", scope), issuer.token("mallory", scope));
    let session = Session::open(&edge.address, Some(&alice));
    let stolen = Session { token: Some(mallory), ..session.clone() };
    let message = call(1, "tools/call", json!({"name": "echo", "arguments": {"message": "mine"}}));
    for reply in [
        stolen.request(&message).send(&edge.address),
        stolen.listen(None).send(&edge.address),
        stolen.delete(),
    ] {
        assert!(matches!(reply.status(), 403 | 404), "{} {}", reply.status(), reply.text());
    }
    let unknown = Session { token: None, ..session.clone() };
    assert_eq!(unknown.request(&message).send(&edge.address).status(), 401);
    assert_eq!(text(&session.tool("echo", json!({"message": "mine"}))), "mine");
    // A token that may only read calls nothing.
    let reader = Session::open(&edge.address, Some(&issuer.token("reader", "chio.read")));
    let refused = reader.request(&message).send(&edge.address);
    assert_eq!(refused.status(), 403, "{}", refused.text());
    assert!(refused.head.get("www-authenticate").unwrap().contains("insufficient_scope"));
    edge.end();
    assert_eq!(home.receipts().len(), 1);
}

#[test]
fn a_second_stream_does_not_replace_the_first() {
    let home = Home::new();
    let edge = anonymous(&home);
    let session = Session::open(&edge.address, None);
    let mut first = open(&edge.address, &session.listen(None).bytes(&edge.address)).unwrap();
    assert_eq!(Head::read(&mut first).unwrap().unwrap().status(), 200);
    assert_eq!(session.listen(None).send(&edge.address).status(), 409);
    session.tool("grow", json!({"name": "later"}));
    let mut seen = String::new();
    let started = Instant::now();
    while !seen.contains("tools/list_changed") {
        assert!(started.elapsed() < Duration::from_secs(20), "the first stream is silent: {seen}");
        let mut buffer = [0; 1024];
        let count = first.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the first stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[test]
fn a_task_of_another_session_is_an_unknown_task() {
    let home = Home::new();
    let edge = anonymous(&home);
    let (owner, other) = (Session::open(&edge.address, None), Session::open(&edge.address, None));
    let params = json!({"name": "task_required", "arguments": {"millis": 3000}, "task": {"ttl": 60000}});
    let created = owner.ask(1, "tools/call", params);
    let id = created["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned();
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let foreign = other.ask(2, method, json!({"taskId": id}));
        let unknown = other.ask(2, method, json!({"taskId": "0".repeat(id.len())}));
        assert_eq!(foreign["error"]["code"], -32602, "{method}: {foreign}");
        assert_eq!(
            foreign.to_string().replace(&id, ""),
            unknown.to_string().replace(&"0".repeat(id.len()), "")
        );
    }
    assert_eq!(other.ask(3, "tasks/list", json!({}))["result"]["tasks"], json!([]));
    assert_eq!(owner.ask(3, "tasks/list", json!({}))["result"]["tasks"].as_array().unwrap().len(), 1);
    let result = owner.ask(4, "tasks/result", json!({"taskId": id}));
    assert_eq!(text(&result), "the work is done");
}

#[test]
fn session_ids_are_long_and_random() {
    let home = Home::new();
    let edge = with(&home, json!({}), &["--shared"]);
    let ids: std::collections::BTreeSet<String> =
        (0..300).map(|_| Session::open(&edge.address, None).id).collect();
    assert_eq!(ids.len(), 300);
    let mut counts = [0_u32; 16];
    for id in &ids {
        let digits: Vec<u32> = id.chars().filter_map(|letter| letter.to_digit(16)).collect();
        assert!(digits.len() >= 32, "fewer than 128 bits: {id}");
        digits.iter().for_each(|digit| counts[*digit as usize] += 1);
    }
    let expected = f64::from(counts.iter().sum::<u32>()) / 16.0;
    let chi: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    // Fifteen degrees of freedom: above 60 less than once in a million runs.
    assert!(chi < 60.0, "the digits are not evenly spread: {counts:?}, {chi}");
}

/// Text that is read again and again where somebody was careless: each piece is repeated.
const HOSTILE: &[&str] = &["{a,", "../", "%2e", "/proc/self/root"];

#[test]
fn hostile_text_costs_time_in_proportion_to_its_length() {
    let home = Home::new();
    let policy = home.side("policy.yaml");
    let open = std::fs::read_to_string(open_policy()).unwrap();
    std::fs::write(&policy, format!("guards:\n  forbidden_path: {{}}\n{open}")).unwrap();
    let edge = Edge::of_fixture(&home, json!({}), &policy, None);
    let session = Session::open(&edge.address, None);
    let took = |piece: &str, length: usize| {
        let text = piece.repeat(length / piece.len());
        let calls = [
            ("resources/read", json!({"uri": format!("test://template/{text}")})),
            ("tools/call", json!({"name": "echo", "arguments": {"message": "x", "path": text}})),
        ];
        calls.map(|(method, params)| {
            let request = session.request(&call(1, method, params));
            let before = processor_time(edge.pid());
            let reply = request.send(&edge.address);
            assert!(reply.status() < 500, "{method}: {}", reply.text());
            processor_time(edge.pid()) - before
        })
    };
    for piece in HOSTILE {
        let (quarter, whole) = (took(piece, 1 << 18), took(piece, 1 << 20));
        println!("{piece:?}: {quarter:?} for a quarter of it, {whole:?} for all");
        for (quarter, whole) in quarter.into_iter().zip(whole) {
            // In proportion it is four times as much; where every letter is compared with every other, sixteen times.
            let most = 10 * quarter.max(Duration::from_millis(250));
            assert!(whole < most, "{piece:?}: {quarter:?} for a quarter of it, {whole:?} for all");
        }
    }
}

/// What a process took of the processor so far, which is the same on a busy machine.
fn processor_time(pid: u32) -> Duration {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = status.rsplit(')').next().unwrap().split_whitespace().collect();
    // The 14th and 15th field of all, in hundredths of a second.
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Bytes of memory that a process keeps.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn bodies_beyond_the_limit_are_refused_before_they_are_kept() {
    let home = Home::new();
    let limit = 100_000;
    let edge = with(&home, json!({"mcp": {"limits": {"body_bytes": limit}}}), &[]);
    let session = Session::open(&edge.address, None);
    let before = memory(edge.pid());
    let echo = |length: usize| {
        call(1, "tools/call", json!({"name": "echo", "arguments": {"message": "x".repeat(length)}}))
    };
    assert_eq!(session.request(&echo(limit - 1000)).send(&edge.address).status(), 200);
    assert_eq!(session.request(&echo(limit)).send(&edge.address).status(), 413);

    // Ten gigabytes are announced; the refusal comes before they do.
    let mut announced = session.request(&Value::Null).with("Content-Length", "10737418240");
    announced.body = vec![b'x'; 1000];
    assert_eq!(announced.send(&edge.address).status(), 413);

    // Nothing is announced, and it never ends.
    let mut endless = session.request(&Value::Null).with("Transfer-Encoding", "chunked");
    endless.body = Vec::new();
    let mut reader = open(&edge.address, &endless.bytes(&edge.address)).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..1000 {
        if reader.get_mut().write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    if let Ok(Some(head)) = Head::read(&mut reader) {
        assert_eq!(head.status(), 413);
    }
    let grown = memory(edge.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert_eq!(text(&session.tool("echo", json!({"message": "still here"}))), "still here");
}

#[test]
fn forbidden_paths_are_compared_by_components() {
    let home = Home::new();
    let policy = home.side("policy.yaml");
    let open = std::fs::read_to_string(open_policy()).unwrap();
    let rules = "guards:\n  forbidden_path:\n    additional_patterns: ['/srv/private/**']\n";
    std::fs::write(&policy, format!("{rules}{open}")).unwrap();
    let edge = Edge::of_fixture(&home, json!({}), &policy, None);
    let session = Session::open(&edge.address, None);
    for path in [
        "/srv/private/key",
        "/srv/public/../private/key",
        "/srv//private/./key",
        "/srv/private/deep/er/key",
        "file:///srv/private/key",
        "file:///srv/public/%2e%2e/private/key",
    ] {
        let answer = session.tool("echo", json!({"message": "x", "path": path}));
        assert_eq!(answer["result"]["_meta"]["chio.dev/decision"], "deny", "{path}: {answer}");
    }
    // A sibling whose name begins alike is another folder.
    for path in ["/srv/private_evil/key", "/srv/privately", "/srv/public/private-key"] {
        let answer = session.tool("echo", json!({"message": "x", "path": path}));
        assert_eq!(answer["result"]["_meta"]["chio.dev/decision"], "allow", "{path}: {answer}");
    }
}

#[test]
fn nothing_that_comes_over_the_network_starts_a_process() {
    let home = Home::new();
    let edge = with(&home, json!({"mcp": {"admin_token": ADMIN}}), &[]);
    let mark = home.side("started");
    let launch = json!({
        "id": "evil", "name": "evil", "command": ["touch", mark], "args": [mark], "env": {"A": "B"}, "cwd": "/",
        "transport": "stdio", "servers": [{"id": "evil", "command": ["touch", mark]}],
    });
    for path in [
        "/admin/servers",
        "/admin/sessions",
        "/servers",
        "/mcp/servers",
        "/mcp-rest/test/connection",
        "/config",
    ] {
        for method in ["POST", "PUT", "PATCH"] {
            let mut request = request(method, path)
                .with("Authorization", &format!("Bearer {ADMIN}"))
                .with("Content-Type", "application/json");
            request.body = launch.to_string().into_bytes();
            let reply = request.send(&edge.address);
            assert!(
                matches!(reply.status(), 400 | 404 | 405),
                "{method} {path}: {} {}",
                reply.status(),
                reply.text()
            );
        }
    }
    // Nor what a client says of itself, or a call carries.
    let mut message = initialize(json!({"experimental": launch}));
    message["params"]["_meta"] = launch.clone();
    assert_eq!(Request::post(&message).send(&edge.address).status(), 200);
    let session = Session::open(&edge.address, None);
    session.ask(1, "tools/call", json!({"name": "echo", "arguments": {"message": "x"}, "_meta": launch}));
    for method in ["servers/add", "server/start", "admin/servers"] {
        assert_eq!(session.ask(2, method, launch.clone())["error"]["code"], -32601);
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(!mark.exists());
}

#[test]
fn headers_of_others_replace_no_credentials() {
    let home = Home::new();
    let edge = with(&home, json!({"mcp": {"auth": {"token": TOKEN}}}), &[]);
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-For",
        "X-Real-IP",
        "X-Remote-User",
        "X-Auth-Request-User",
        "X-Internal",
        "X-Chio-Principal",
        "X-Chio-Internal",
        "X-Mcp-Init-Host",
        "Mcp-Init-Host",
        "Router-Key",
        "X-Api-Key",
        "Cookie",
        "Proxy-Authorization",
        "X-Original-URL",
        "X-Rewrite-URL",
    ];
    for name in names {
        for value in ["127.0.0.1", "admin", TOKEN, &format!("Bearer {TOKEN}"), "/admin/health"] {
            let reply = request("POST", "/mcp").with(name, value).send(&edge.address);
            assert_eq!(reply.status(), 401, "{name}: {value}");
        }
    }
}

#[test]
fn beyond_loopback_the_edge_needs_to_know_callers() {
    refuses_to_start(json!({}), &["--listen", "0.0.0.0:0"]);
    refuses_to_start(json!({}), &["--listen", "[::]:0"]);
    refuses_to_start(json!({}), &["--auth-token", "short"]);
    refuses_to_start(json!({"mcp": {"auth": {"token": ""}}}), &[]);
    refuses_to_start(json!({}), &["--admin-token", "short"]);
}

#[test]
fn addresses_that_are_no_web_addresses_are_refused() {
    let mark = std::env::temp_dir().join(format!("chio-test-{}", std::process::id()));
    let shell = format!("http://x$(touch {})/keys", mark.display());
    for url in ["javascript:alert(1)", "file:///etc/passwd", "http://keys.example/jwks", &shell] {
        let jwt = json!({"issuer": "https://issuer.example", "jwks_url": url});
        refuses_to_start(json!({"mcp": {"auth": {"jwt": jwt}}}), &[]);
    }
    assert!(!mark.exists());
}

#[test]
fn approval_without_consent_is_refused() {
    let home = Home::new();
    let edge = with(&home, json!({}), &["--oauth"]);
    let query = "response_type=code&client_id=chio-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A53682%2Fcallback\
                 &scope=chio.read&state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    let refused = |reply: Reply| {
        let location = reply.head.get("location").unwrap_or_default();
        assert!(!location.contains("code="), "{} {location}", reply.status());
    };
    // Nobody has been asked: neither opening the page nor saying yes without what the page gave makes a code.
    refused(request("GET", &format!("/oauth/authorize?{query}")).send(&edge.address));
    for body in [
        format!("{query}&decision=approve"),
        "decision=approve".to_owned(),
        format!("{query}&decision=approve&approval=000000"),
    ] {
        let mut form = Request::new("POST", "/oauth/authorize")
            .with("Content-Type", "application/x-www-form-urlencoded");
        form.body = body.into_bytes();
        refused(form.send(&edge.address));
    }
    // A page of somebody else is no place to return to.
    let foreign = query.replace("127.0.0.1%3A53682", "evil.example");
    refused(request("GET", &format!("/oauth/authorize?{foreign}")).send(&edge.address));
}

#[test]
fn arguments_that_look_like_options_reach_no_option() {
    let home = Home::new();
    let edge = anonymous(&home);
    let session = Session::open(&edge.address, None);
    let mark = home.side("started").display().to_string();
    // Arguments of a call stay JSON all the way: they are neither split nor read by a shell, and reach the tool as text.
    for message in
        ["-x", "--upload-pack=touch x", "../../x", "; touch x", "$(touch x)", "a\nb", "--record", &mark]
    {
        assert_eq!(text(&session.tool("echo", json!({"message": message}))), message);
    }
    assert!(!Path::new(&mark).exists());
}

/// A server had these holes; with its newest release behind the edge nothing happens either.
#[test]
fn arguments_that_look_like_options_do_nothing_in_a_stock_server() {
    let Some(python) = git() else { return };
    let home = Home::new();
    let (folder, mark) = (repository(&home), home.side("started").display().to_string());
    let path = folder.to_str().unwrap();
    let policy = open_policy();
    let program = beside(&python, "mcp-server-git");
    let arguments = ["--policy", policy.to_str().unwrap(), "--", &program, "--repository", path];
    let edge = Edge::start(&home, json!({}), &arguments);
    let session = Session::open(&edge.address, None);
    let options = ["-x", &format!("--upload-pack=touch {mark}"), &format!("--output={mark}"), "../../x"];
    let mut refused = 0;
    for option in options {
        for (tool, name) in [
            ("git_diff", "target"),
            ("git_show", "revision"),
            ("git_checkout", "branch_name"),
            ("git_create_branch", "base_branch"),
        ] {
            let mut arguments = json!({"repo_path": path, "branch_name": "new"});
            arguments[name] = option.into();
            let answer = session.tool(tool, arguments);
            let decision = &answer["result"]["_meta"]["chio.dev/decision"];
            assert_eq!((&answer["result"]["isError"], decision), (&json!(true), &json!("allow")), "{answer}");
            refused += 1;
        }
        for repository in [option, "/", "../.."] {
            let answer = session.tool("git_status", json!({"repo_path": repository}));
            assert_eq!(answer["result"]["isError"], true, "{answer}");
            refused += 1;
        }
    }
    assert!(!Path::new(&mark).exists());
    assert!(text(&session.tool("git_status", json!({"repo_path": path}))).contains("clean"));
    edge.end();
    assert_eq!(home.receipts().len(), refused + 1);
}

#[test]
fn the_library_with_the_hole_is_not_used() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(
        !lock.contains("name = \"rmcp\""),
        "rmcp is a dependency now: pin it at 1.4.0 or later, and say so here"
    );
    let driver = std::fs::read_to_string(root().join("tests/mcp/clients/rmcp/Cargo.lock")).unwrap();
    assert!(driver.contains("name = \"rmcp\"\nversion = \"3.9.0\""));
}
