//! The checks of a request, in the order of their table.

use std::time::Duration;

use base64::Engine;
use chio_mcp_edge::auth::{Approval, Method, OauthConfig};
use chio_mcp_edge::{EdgeConfig, Limits};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::house::http::{Ask, Reply, send_raw};
use crate::house::{House, TOKEN, call, config, initialize, notification};

async fn guarded() -> House {
    House::with(config(), Method::Static { token: Zeroizing::new(TOKEN.to_owned()) }).await
}

fn with_token(ask: Ask<'_>) -> Ask<'_> {
    ask.header("Authorization", &format!("Bearer {TOKEN}"))
}

/// The status, and the error that the body holds.
async fn refusal(mut reply: Reply) -> (u16, Value) {
    let body = reply.json().await;
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    assert!(body["error"]["code"].is_i64() && body["error"]["message"].is_string(), "{body}");
    (reply.status, body)
}

#[tokio::test]
async fn every_route_refuses_a_foreign_host_and_origin() {
    let house = guarded().await;
    let routes = [
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("OPTIONS", "/mcp"),
        ("GET", "/admin/health"),
        ("GET", "/admin/sessions"),
        ("GET", "/admin/servers"),
        ("GET", "/admin/metrics"),
        ("POST", "/admin/sessions/x/drain"),
        ("POST", "/admin/sessions/x/shutdown"),
        ("GET", "/.well-known/oauth-protected-resource"),
        ("GET", "/.well-known/oauth-protected-resource/mcp"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/oauth/authorize"),
        ("POST", "/oauth/token"),
        ("GET", "/nowhere"),
        ("GET", "/"),
    ];
    let port = house.address.port();
    for (method, path) in routes {
        for host in ["evil.example.com", "localhost", "127.0.0.1:1", &format!("evil.example.com:{port}")] {
            let reply = house.ask(with_token(Ask::new(method, path)).hosts(&[host])).await;
            assert_eq!(refusal(reply).await.0, 403, "{method} {path} {host}");
        }
        let own = house.address.to_string();
        for hosts in [&[][..], &[own.as_str(), own.as_str()], &["not a host"], &[""]] {
            let reply = house.ask(with_token(Ask::new(method, path)).hosts(hosts)).await;
            assert_eq!(reply.status, 400, "{method} {path} {hosts:?}");
        }
        for origin in
            ["http://evil.example.com", "null", "http://localhost:1", &format!("https://127.0.0.1:{port}")]
        {
            let reply = house.ask(with_token(Ask::new(method, path)).header("Origin", origin)).await;
            assert_eq!(refusal(reply).await.0, 403, "{method} {path} {origin}");
        }
        let origin = format!("http://127.0.0.1:{port}");
        let reply = house.ask(with_token(Ask::new(method, path)).header("Origin", &origin)).await;
        assert_ne!(reply.status, 403, "{method} {path}");
    }
    house.close().await;
}

#[tokio::test]
async fn without_credentials_only_health_and_the_documents_of_authorization_answer() {
    let house = guarded().await;
    let body = initialize("test").to_string();
    for (method, path) in [
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("PUT", "/mcp"),
        ("OPTIONS", "/mcp"),
        ("HEAD", "/mcp"),
        ("GET", "/admin/sessions"),
        ("GET", "/admin/servers"),
        ("GET", "/admin/metrics"),
        ("POST", "/admin/sessions/x/drain"),
        ("POST", "/admin/sessions/x/shutdown"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("POST", "/v1/receipts"),
        ("GET", "/mcp/"),
        ("GET", "/MCP"),
    ] {
        for credentials in [None, Some("Bearer"), Some("Bearer wrong-token-0123456789"), Some("Basic YTpi")] {
            let ask = Ask::new(method, path).header("Accept", "text/event-stream");
            let ask = match credentials {
                Some(credentials) => ask.header("Authorization", credentials),
                None => ask,
            };
            let reply = house.ask(ask).await;
            assert_eq!(reply.status, 401, "{method} {path} {credentials:?}");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"), "{method} {path}");
        }
    }
    assert_eq!(house.ask(Ask::post(&body)).await.status, 401);
    // The token of a client does not open what is the operator's, nor the other way round.
    assert_eq!(house.ask(with_token(Ask::get("/admin/sessions"))).await.status, 401);
    assert_eq!(house.admin("GET", "/mcp").await.status, 401);
    let mut health = house.ask(Ask::get("/admin/health")).await;
    assert_eq!((health.status, health.json().await["status"].as_str()), (200, Some("ok")));
    house.close().await;
}

#[tokio::test]
async fn documents_that_are_not_served_are_404_without_credentials() {
    for house in [guarded().await, House::open(config()).await] {
        for path in ["oauth-protected-resource", "oauth-protected-resource/mcp", "openid-configuration"] {
            let reply = house.ask(Ask::get(&format!("/.well-known/{path}"))).await;
            assert_eq!((reply.status, reply.header("www-authenticate")), (404, None), "{path}");
        }
        house.close().await;
    }
}

#[tokio::test]
async fn a_get_takes_any_media_type_when_the_client_does() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let ask = Ask::get("/mcp").header("Accept", "*/*").header("MCP-Session-Id", &session);
    assert_eq!(house.ask(ask).await.status, 200);
    house.close().await;
}

#[tokio::test]
async fn other_methods_are_405_and_say_which_are_known() {
    let house = House::open(config()).await;
    for method in ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"] {
        let reply = house.ask(Ask::new(method, "/mcp")).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET, POST, DELETE"));
    }
    assert_eq!(house.ask(Ask::get("/nowhere")).await.status, 404);
    house.close().await;
}

#[tokio::test]
async fn accept_and_content_type_are_checked() {
    let house = House::open(config()).await;
    let body = initialize("test").to_string();
    let session = house.session().await;
    for (accept, status) in [
        ("application/json, text/event-stream", 200),
        ("text/event-stream, application/json", 200),
        ("Application/JSON;q=0.5,\ttext/event-stream; charset=utf-8", 200),
        ("*/*", 200),
        ("application/*, text/*", 200),
        ("application/json", 406),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("application/json, text/event-stream;q=0", 406),
        ("application/jsonx, text/event-streamx", 406),
        ("", 406),
    ] {
        let ask = Ask::post(&body).without("Accept").header("Accept", accept);
        assert_eq!(house.ask(ask).await.status, status, "{accept}");
    }
    assert_eq!(house.ask(Ask::post(&body).without("Accept")).await.status, 406);
    for (kind, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/Json", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ] {
        let ask = Ask::post(&body).without("Content-Type").header("Content-Type", kind);
        assert_eq!(house.ask(ask).await.status, status, "{kind}");
    }
    assert_eq!(house.ask(Ask::post(&body).without("Content-Type")).await.status, 415);
    for (accept, status) in [("application/json", 406), ("application/json, text/event-stream", 200)] {
        let ask = Ask::get("/mcp").header("Accept", accept).header("MCP-Session-Id", &session);
        assert_eq!(house.ask(ask).await.status, status, "GET {accept}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_whichever_way_it_comes() {
    let limits = Limits { body_bytes: 4096, ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let session = house.session().await;
    let padded = |size: usize| {
        let frame = call(1, "echo", json!({"p": ""})).to_string();
        frame.replace(r#""p":"""#, &format!(r#""p":"{}""#, "x".repeat(size - frame.len())))
    };
    for chunked in [false, true] {
        for (size, status) in [(4095, 200), (4096, 200), (4097, 413), (400_000, 413)] {
            let body = padded(size);
            assert_eq!(body.len(), size);
            let ask = Ask::post(&body).header("MCP-Session-Id", &session);
            let ask = if chunked { ask.chunked() } else { ask };
            assert_eq!(house.ask(ask).await.status, status, "{size} {chunked}");
        }
    }
    // A length that is only claimed costs nothing.
    for length in ["4097", "99999999999"] {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{",
            house.address
        );
        assert_eq!(send_raw(house.address, head.as_bytes()).await.status, 413, "{length}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable_or_says_that_it_closes() {
    let house = House::open(config()).await;
    let body = call(1, "echo", json!({})).to_string();
    let refused = |more: &str| {
        let length = body.len();
        format!(
            "POST /mcp HTTP/1.1\r\nHost: evil.example.com\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
        )
    };
    // A body that comes after its head was refused, and then another request.
    let mut stream = BufReader::new(TcpStream::connect(house.address).await.unwrap());
    for _ in 0..3 {
        stream.write_all(refused("").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let head = head_and_body(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 403") && !head.contains("connection: close"), "{head}");
    }
    let health = format!("GET /admin/health HTTP/1.1\r\nHost: {}\r\n\r\n", house.address);
    stream.write_all(health.as_bytes()).await.unwrap();
    assert!(head_and_body(&mut stream).await.starts_with("HTTP/1.1 200"));

    // A body that was read to its end, in chunks and on demand.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        house.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"2\r\n{}\r\n0\r\n\r\n").await.unwrap();
    let head = head_and_body(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 400") && !head.contains("connection: close"), "{head}");

    // A body that does not come, and one that only comes on demand.
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut stream = BufReader::new(TcpStream::connect(house.address).await.unwrap());
        stream.write_all(refused(more).as_bytes()).await.unwrap();
        let head = head_and_body(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 403") && head.contains("connection: close"), "{head}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the connection ends");
    }
    house.close().await;
}

/// Reads one response and gives its head.
async fn head_and_body(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection ended: {head}");
        head.push_str(&line);
    }
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap()]).await.unwrap();
    head
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let limits = Limits { read_timeout: Duration::from_millis(300), ..Limits::default() };
    let house = House::open(EdgeConfig { limits, ..config() }).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        house.address
    );
    assert_eq!(send_raw(house.address, head.as_bytes()).await.status, 408);
    // A head that does not come ends the connection.
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"POST /mcp HTT").await.unwrap();
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection ends").unwrap();
    house.close().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_by_the_authorization_server_too() {
    let limits = Limits { read_timeout: Duration::from_millis(300), ..Limits::default() };
    let seed = Zeroizing::new([7; 32]);
    let method =
        Method::Oauth(OauthConfig { seed, subject: "local".to_owned(), approval: Approval::Automatic });
    let house = House::with(EdgeConfig { limits, ..config() }, method).await;
    let form = "application/x-www-form-urlencoded";
    for (path, kind) in [
        ("/oauth/token", form),
        ("/token", form),
        ("/oauth/authorize", form),
        ("/oauth/register", "application/json"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n{{",
            house.address
        );
        assert_eq!(send_raw(house.address, head.as_bytes()).await.status, 408, "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_no_single_json_rpc_message_is_400() {
    let house = House::open(config()).await;
    let session = house.session().await;
    for (body, code, id) in [
        ("", -32700, None),
        ("{", -32700, None),
        ("nonsense", -32700, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, -32700, None),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, None),
        ("[]", -32600, None),
        ("7", -32600, None),
        // What seems to answer us gets no answer that its sender could take for that of a request of its own.
        (r#"{"jsonrpc":"2.0","id":5}"#, -32600, None),
        (r#"{"jsonrpc":"2.0","id":"x","Method":"ping"}"#, -32600, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, -32600, None),
        (r#"{"jsonrpc":"1.0","id":6,"method":"ping"}"#, -32600, Some(json!(6))),
        (r#"{"id":6,"method":"ping"}"#, -32600, Some(json!(6))),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, None),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, None),
        (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, -32600, Some(json!(7))),
        (r#"{"jsonrpc":"2.0","id":8,"method":"ping","params":[1]}"#, -32600, Some(json!(8))),
        (r#"{"jsonrpc":"2.0","id":9,"result":{},"error":{"code":1,"message":"m"}}"#, -32600, None),
    ] {
        let (status, answer) =
            refusal(house.ask(Ask::post(body).header("MCP-Session-Id", &session)).await).await;
        assert_eq!((status, answer["error"]["code"].as_i64()), (400, Some(code)), "{body}");
        assert_eq!(answer.get("id"), id.as_ref(), "{body}: {answer}");
    }
    let raw = [
        b"POST /mcp HTTP/1.1\r\nHost: ",
        house.address.to_string().as_bytes(),
        b"\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n\"\xff\"",
    ]
    .concat();
    assert_eq!(refusal(send_raw(house.address, &raw).await).await.1["error"]["code"], -32700);
    house.close().await;
}

#[tokio::test]
async fn initialize_must_be_a_request_without_a_session() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let (status, answer) = refusal(house.post(None, notification("initialize")).await).await;
    assert_eq!((status, answer["error"]["code"].as_i64(), answer.get("id")), (400, Some(-32600), None));
    let (status, answer) = refusal(house.post(Some(&session), initialize("test")).await).await;
    assert_eq!((status, answer["error"]["code"].as_i64(), &answer["id"]), (400, Some(-32600), &json!(0)));
    house.close().await;
}

#[tokio::test]
async fn a_successful_initialize_is_an_event_stream_with_a_session_id() {
    let house = House::open(config()).await;
    let body = initialize("test").to_string();
    // A version header on initialize is not the session's business.
    let mut reply = house.ask(Ask::post(&body).header("MCP-Protocol-Version", "2025-03-26")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(reply.header("x-chio-mcp-response-mode"), Some("initialize_sse"));
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    assert!(session.len() == 64 && session.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let events = reply.events().await;
    // Not primed: the answer is the only event.
    assert_eq!(events.len(), 1);
    assert!(events[0].id.as_ref().unwrap().starts_with(&format!("{session}-")));
    assert_eq!(events[0].message().unwrap()["result"]["protocolVersion"], "2025-11-25");
    house.close().await;
}

#[tokio::test]
async fn a_refused_initialize_is_an_answer_and_leaves_nothing_behind() {
    let house = House::open(config()).await;
    let mut message = initialize("test");
    message["params"]["protocolVersion"] = json!("2026-07-28");
    let reply = house.post(None, message).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("mcp-session-id"), None);
    let (status, answer) = refusal(reply).await;
    assert_eq!((status, answer["error"]["code"].as_i64(), &answer["id"]), (200, Some(-32600), &json!(0)));
    // A session whose other side dies is an answer, too.
    let (status, answer) = refusal(house.post(None, initialize("panic")).await).await;
    assert_eq!((status, &answer["id"]), (200, &json!(0)));
    *house.script.refuse.lock().unwrap() = Some(chio_spec::ErrorCode::ServerUnavailable);
    let (status, answer) = refusal(house.post(None, initialize("test")).await).await;
    assert_eq!((status, &answer["error"]["data"]["chioError"]["code"]), (200, &json!(5107)));
    let sessions = house.admin("GET", "/admin/sessions").await.json().await;
    assert_eq!((&sessions["activeCount"], &sessions["terminalCount"]), (&json!(0), &json!(0)), "{sessions}");
    house.close().await;
}

#[tokio::test]
async fn requests_without_a_session_are_400_with_their_own_id() {
    let house = House::open(config()).await;
    for (version, method) in [("2026-07-28", "server/discover"), ("2025-11-25", "tools/list")] {
        let body = json!({"jsonrpc": "2.0", "id": "probe", "method": method}).to_string();
        let ask = Ask::post(&body).header("MCP-Protocol-Version", version).header("Mcp-Method", method);
        let (status, answer) = refusal(house.ask(ask).await).await;
        let code = answer["error"]["code"].as_i64().unwrap();
        assert_eq!((status, &answer["id"]), (400, &json!("probe")), "{method}");
        assert!(![-32020, -32021, -32022].contains(&code), "{code}");
        assert_eq!(code, -32600);
    }
    let (status, answer) = refusal(house.post(None, notification("notifications/initialized")).await).await;
    assert_eq!((status, answer.get("id")), (400, None));
    for method in ["GET", "DELETE"] {
        let ask = Ask::new(method, "/mcp").header("Accept", "text/event-stream");
        assert_eq!(refusal(house.ask(ask).await).await.0, 400, "{method}");
    }
    house.close().await;
}

#[tokio::test]
async fn an_unknown_session_is_404() {
    let house = House::open(config()).await;
    for session in ["unknown", &"0".repeat(64), "", "é"] {
        let (status, answer) = refusal(house.post(Some(session), call(3, "echo", json!({}))).await).await;
        assert_eq!((status, &answer["id"]), (404, &json!(3)), "{session}");
        assert_eq!(house.get(session, None).await.status, 404);
        assert_eq!(house.delete(session).await.status, 404);
    }
    let session = house.session().await;
    let body = call(3, "echo", json!({})).to_string();
    let ask = Ask::post(&body).header("MCP-Session-Id", &session).header("MCP-Session-Id", &session);
    assert_eq!(house.ask(ask).await.status, 400);
    house.close().await;
}

#[tokio::test]
async fn the_protocol_version_header_must_be_the_sessions_or_absent() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let body = call(3, "echo", json!({})).to_string();
    for (version, status) in
        [("2025-11-25", 200), ("2025-03-26", 400), ("2026-07-28", 400), ("nonsense", 400), ("", 400)]
    {
        let with = |ask: Ask<'static>| {
            ask.header("MCP-Session-Id", &session).header("MCP-Protocol-Version", version)
        };
        let body: &'static str = Box::leak(body.clone().into_boxed_str());
        let mut reply = house.ask(with(Ask::post(body))).await;
        assert_eq!(reply.status, status, "{version}");
        assert_eq!(reply.json().await["id"], 3);
        let get = house.ask(with(Ask::get("/mcp").header("Accept", "text/event-stream"))).await;
        assert_eq!(get.status, status, "{version}");
        drop(get);
    }
    let reply = house.ask(Ask::post(&body).header("MCP-Session-Id", &session)).await;
    assert_eq!(reply.status, 200, "absent is tolerated");
    house.close().await;
}

#[tokio::test]
async fn notifications_and_responses_are_accepted_without_a_body() {
    let house = House::open(config()).await;
    let session = house.session().await;
    for message in [
        notification("notifications/whatever"),
        json!({"jsonrpc": "2.0", "id": 77, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 77, "error": {"code": 1, "message": "m"}}),
        json!({"jsonrpc": "2.0", "error": {"code": 1, "message": "m"}}),
    ] {
        let mut reply = house.post(Some(&session), message).await;
        assert_eq!((reply.status, reply.text().await.as_str()), (202, ""));
    }
    house.close().await;
}

#[tokio::test]
async fn capabilities_in_headers_arrive_in_meta_and_both_are_refused() {
    let house = House::open(config()).await;
    let session = house.session().await;
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"id":"cap"}"#);
    let body = call(1, "meta", json!({})).to_string();
    let with = |body| Ask::post(body).header("MCP-Session-Id", &session).header("Chio-Capability", &encoded);
    let answer = house.ask(with(&body)).await.json().await;
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"chio.dev/capability":{"id":"cap"}}"#);
    let mut both = call(2, "meta", json!({}));
    both["params"]["_meta"] = json!({"chio.dev/capability": {}});
    let both = both.to_string();
    let (status, answer) = refusal(house.ask(with(&both)).await).await;
    assert_eq!((status, answer["error"]["code"].as_i64(), &answer["id"]), (200, Some(-32602), &json!(2)));
    house.close().await;
}

#[tokio::test]
async fn rates_are_limited_by_address() {
    let limits = Limits {
        sessions_per_minute: 3,
        failures_per_minute: 4,
        requests_per_minute: 60,
        ..Limits::default()
    };
    let method = Method::Static { token: Zeroizing::new(TOKEN.to_owned()) };
    let house = House::with(EdgeConfig { limits, ..config() }, method).await;
    let body = initialize("test").to_string();
    for status in [200, 200, 200, 429] {
        let reply = house.ask(with_token(Ask::post(&body))).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("retry-after").is_some(), status == 429);
    }
    for status in [401, 401, 401, 401, 429] {
        let wrong = Ask::post(&body).header("Authorization", "Bearer wrong-token-0123456789");
        assert_eq!(house.ask(wrong).await.status, status);
    }
    // Nobody shuts out the others at the same address: those with the token, and those who ask where to log in.
    assert_ne!(house.ask(with_token(Ask::get("/nowhere"))).await.status, 429);
    assert_eq!(house.ask(Ask::post(&body)).await.status, 401);
    let mut last = 0;
    for _ in 0..60 {
        last = house.ask(Ask::get("/admin/health")).await.status;
    }
    assert_eq!(last, 429);
    house.close().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask_and_read() {
    let page = "https://app.example.com";
    let house = House::open(EdgeConfig { allowed_origins: vec![page.to_owned()], ..config() }).await;
    let ask = Ask::new("OPTIONS", "/mcp").header("Access-Control-Request-Method", "POST");
    let reply = house.ask(ask.header("Origin", page)).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some(page)));
    let body = initialize("test").to_string();
    let reply = house.ask(Ask::post(&body).header("Origin", page)).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(page)));
    assert!(reply.header("access-control-expose-headers").unwrap().contains("MCP-Session-Id"));
    house.close().await;
    // A page can read when to come again.
    let limits = Limits { requests_per_minute: 1, ..Limits::default() };
    let allowed_origins = vec![page.to_owned()];
    let house = House::open(EdgeConfig { allowed_origins, limits, ..config() }).await;
    for status in [200, 429] {
        let reply = house.ask(Ask::get("/admin/health").header("Origin", page)).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (status, Some(page)));
    }
    house.close().await;
}
