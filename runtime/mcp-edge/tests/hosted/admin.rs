//! What operators can ask.

use chio_mcp_edge::auth::Method;
use chio_mcp_edge::{EdgeConfig, Limits};
use serde_json::json;
use zeroize::Zeroizing;

use crate::house::http::Ask;
use crate::house::{ADMIN, House, TOKEN, config};

#[tokio::test]
async fn the_admin_token_is_none_of_the_clients_and_wrong_ones_are_paced() {
    let method = || Method::Static { token: Zeroizing::new(TOKEN.to_owned()) };
    for unusable in [TOKEN, "short", "a token with spaces in it"] {
        let admin_token = Some(Zeroizing::new(unusable.to_owned()));
        let house = House::with(EdgeConfig { admin_token, ..config() }, method()).await;
        assert!(house.outcome().await.is_err(), "{unusable}");
    }
    let limits = Limits { failures_per_minute: 3, ..Limits::default() };
    let house = House::with(EdgeConfig { limits, ..config() }, method()).await;
    for status in [401, 401, 401, 429] {
        let wrong = Ask::get("/admin/sessions").header("Authorization", "Bearer a-wrong-guess-0123456789");
        assert_eq!(house.ask(wrong).await.status, status);
    }
    assert_eq!(house.admin("GET", "/admin/sessions").await.status, 200);
    house.close().await;
}

#[tokio::test]
async fn without_an_admin_token_there_is_only_health() {
    let house = House::open(EdgeConfig { admin_token: None, ..config() }).await;
    assert_eq!(house.ask(Ask::get("/admin/health")).await.status, 200);
    for path in ["/admin/sessions", "/admin/servers", "/admin/metrics"] {
        assert_eq!(house.admin("GET", path).await.status, 404, "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn the_admin_token_is_asked_for_and_nothing_like_it_passes() {
    let house = House::open(config()).await;
    for wrong in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        ADMIN.to_owned(),
        format!("Basic {ADMIN}"),
        format!("Bearer {ADMIN}x"),
        format!("Bearer {}", &ADMIN[1..]),
    ] {
        let reply = house.ask(Ask::get("/admin/sessions").header("Authorization", &wrong)).await;
        assert_eq!(reply.status, 401, "{wrong}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let token = format!("Bearer {ADMIN}");
    let twice = Ask::get("/admin/sessions").header("Authorization", &token).header("Authorization", &token);
    assert_eq!(house.ask(twice).await.status, 401);
    assert_eq!(house.admin("GET", "/admin/sessions").await.status, 200);
    assert_eq!(house.admin("POST", "/admin/sessions").await.status, 405);
    assert_eq!(house.admin("GET", "/admin/sessions/x/drain").await.status, 405);
    house.close().await;
}

#[tokio::test]
async fn sessions_are_listed_newest_first_within_a_limit() {
    let house = House::open(config()).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(house.session().await);
    }
    house.delete(&ids[1]).await;
    let all = house.admin("GET", "/admin/sessions").await.json().await;
    assert_eq!((&all["activeCount"], &all["terminalCount"]), (&json!(2), &json!(1)));
    let entry = &all["activeSessions"][0];
    assert_eq!(entry["sessionId"], ids[2].as_str());
    assert_eq!(entry["authContext"], json!({"kind": "anonymous", "principal": "anonymous"}));
    assert_eq!(entry["lifecycle"]["state"], "ready");
    assert_eq!(entry["lifecycle"]["protocolVersion"], "2025-11-25");
    assert_eq!(entry["lifecycle"]["reconnect"]["terminalStates"], json!(["deleted", "expired", "closed"]));
    for time in ["createdAt", "lastSeenAt", "idleExpiresAt"] {
        assert!(entry["lifecycle"][time].as_u64().unwrap() > 1_700_000_000_000, "{entry}");
    }
    assert_eq!(all["terminalSessions"][0]["lifecycle"]["state"], "deleted");
    let one = house.admin("GET", "/admin/sessions?limit=1").await.json().await;
    assert_eq!((&one["activeCount"], one["activeSessions"].as_array().unwrap().len()), (&json!(2), 1));
    for wrong in ["0", "201", "-1", "x"] {
        assert_eq!(
            house.admin("GET", &format!("/admin/sessions?limit={wrong}")).await.status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(
        house.admin("GET", "/admin/servers").await.json().await,
        json!({"servers": [{
            "id": "files", "owner": "shared", "running": 1, "restarts": 2, "unattributedNotifications": 3,
            "lastFailure": {"at": 7000, "reason": "it died"}, "retryInMillis": 1500,
        }]})
    );
    house.close().await;
}

#[tokio::test]
async fn metrics_count_requests_decisions_sessions_and_refusals() {
    let house = House::open(config()).await;
    let session = house.session().await;
    house.call(&session, 1, "echo", json!({})).await.json().await;
    house.call(&session, 2, "flood", json!({"count": 1})).await.messages().await;
    house.call("unknown", 3, "echo", json!({})).await;
    let _listening = house.get(&session, None).await;
    let mut reply = house.admin("GET", "/admin/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = reply.text().await;
    for line in [
        r#"chio_mcp_requests_total{method="tools/call",outcome="answered"} 1"#,
        r#"chio_mcp_requests_total{method="tools/call",outcome="streamed"} 1"#,
        r#"chio_mcp_requests_total{method="initialize",outcome="streamed"} 1"#,
        r#"chio_mcp_requests_total{method="notifications/initialized",outcome="accepted"} 1"#,
        r#"chio_mcp_decisions_total{decision="allow"} 2"#,
        r#"chio_mcp_refused_total{reason="session_not_found"} 1"#,
        r#"chio_mcp_sessions{state="ready"} 1"#,
        "chio_mcp_streams 1",
        "chio_mcp_in_flight 0",
        "chio_mcp_buffered_bytes 0",
        "chio_mcp_dropped_messages_total 0",
        r#"chio_mcp_upstream_restarts_total{server="files"} 2"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains(&session), "session ids are secrets");
    house.close().await;
}
