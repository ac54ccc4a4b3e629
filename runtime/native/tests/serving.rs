//! What a well-behaved agent sees of a served kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chio_core::receipt;
use chio_native::{Address, Client, Listener, NativeError, ServerLimits, serve_connection};
use chio_spec::{Decision, ToolCallError, ToolCallResponse, ToolCallResult};
use fixture::{House, request, token, until};
use serde_json::json;
use tokio_util::sync::CancellationToken;

fn failure(response: &ToolCallResponse) -> &ToolCallError {
    match &response.result {
        ToolCallResult::Err(error) => &error.error,
        other => panic!("not an error: {other:?}"),
    }
}

fn verdict(response: &ToolCallResponse) -> &Decision {
    &response.receipt.view().unwrap().decision
}

#[tokio::test]
async fn a_call_returns_its_value_and_a_receipt_that_verifies() {
    let house = House::open().await;
    let params = json!({"big": 18_446_744_073_709_551_615_u64, "text": "\u{7f}é"});
    let response =
        house.client().await.call(request("call 1", &token("cap-1"), "echo", &params)).await.unwrap();
    assert_eq!(response.id.as_str(), "call 1");
    let ToolCallResult::Ok(ok) = &response.result else { panic!("{:?}", response.result) };
    assert_eq!(ok.value.to_value().unwrap(), params);
    assert_eq!(verdict(&response), &Decision::Allow);
    let report = receipt::verify(response.receipt.text());
    assert!(report.signature_valid && report.parameter_hash_valid);
    assert_eq!(house.verdicts().await, ["allow"]);
}

#[tokio::test]
async fn heartbeats_and_the_list_are_answered_in_order() {
    let house = House::open().await;
    let client = house.client().await;
    client.heartbeat().await.unwrap();
    assert!(client.list_capabilities().await.unwrap().is_empty());
    let (first, second) = (token("cap-1"), token("cap-2"));
    client.call(request("1", &first, "echo", &json!({}))).await.unwrap();
    client.call(request("2", &second, "echo", &json!({}))).await.unwrap();
    assert_eq!(client.list_capabilities().await.unwrap(), [first, second]);
    let stranger = house.client().await;
    assert!(stranger.list_capabilities().await.unwrap().is_empty(), "the list belongs to its connection");
    client.heartbeat().await.unwrap();
}

#[tokio::test]
async fn a_token_that_did_not_verify_is_not_listed() {
    let house = House::open().await;
    let client = house.client().await;
    let good = token("cap-1");
    let forged = good.text().replacen("cap-1", "cap-9", 1);
    let forged = chio_json::Signed::from_text(forged).unwrap();
    let response = client.call(request("1", &forged, "echo", &json!({}))).await.unwrap();
    assert!(matches!(failure(&response), ToolCallError::CapabilityDenied(_)));
    let response = client.call(request("2", &good, "fail", &json!({}))).await.unwrap();
    assert!(matches!(failure(&response), ToolCallError::ToolServerError(_)));
    assert_eq!(client.list_capabilities().await.unwrap(), [good]);
}

#[tokio::test]
async fn chunks_come_in_order_and_before_the_response() {
    let house = House::open().await;
    let client = house.client().await;
    let mut call = client
        .start(request("s", &token("cap-1"), "stream", &json!({"chunks": 200, "bytes": 10})))
        .await
        .unwrap();
    let mut count = 0;
    while let Some(chunk) = call.next_chunk().await.unwrap() {
        assert_eq!(chunk.data.to_value().unwrap()[0], count);
        assert_eq!(chunk.id.as_str(), "s");
        count += 1;
    }
    assert_eq!(count, 200);
    let response = call.response().await.unwrap();
    let ToolCallResult::StreamComplete(complete) = &response.result else { panic!("{:?}", response.result) };
    assert_eq!(complete.total_chunks, 200);
}

#[tokio::test]
async fn calls_of_one_connection_run_side_by_side() {
    let house = House::open().await;
    let client = Arc::new(house.client().await);
    let token = token("cap-1");
    let slow =
        client.start(request("slow", &token, "wait", &json!({"milliseconds": 600_000}))).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (client, request) =
            (Arc::clone(&client), request(&number.to_string(), &token, "echo", &json!([number])));
        calls.spawn(async move { (number, client.call(request).await.unwrap()) });
    }
    while let Some(ended) = calls.join_next().await {
        let (number, response) = ended.unwrap();
        assert_eq!(response.id.as_str(), number.to_string());
        let ToolCallResult::Ok(ok) = &response.result else { panic!("{:?}", response.result) };
        assert_eq!(ok.value.to_value().unwrap(), json!([number]));
    }
    drop(slow);
}

#[tokio::test]
async fn beyond_its_limit_a_connection_waits_and_nothing_is_lost() {
    let mut limits = ServerLimits::default();
    limits.calls_per_connection = 2;
    let house = House::with(limits).await;
    let client = Arc::new(house.client().await);
    let token = token("cap-1");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (client, request) =
            (Arc::clone(&client), request(&number.to_string(), &token, "wait", &json!({"milliseconds": 5})));
        calls.spawn(async move { client.call(request).await.unwrap() });
    }
    for response in calls.join_all().await {
        assert!(matches!(response.result, ToolCallResult::Ok(_)), "{:?}", response.result);
    }
    assert_eq!(house.verdicts().await.len(), 20);
}

#[tokio::test]
async fn a_request_id_may_come_again_and_two_calls_may_share_one() {
    let house = House::open().await;
    let client = house.client().await;
    let token = token("cap-1");
    let waiting = client.start(request("1", &token, "wait", &json!({"milliseconds": 50}))).await.unwrap();
    // Our client cannot tell their answers apart and refuses; the wire leaves that to the caller.
    let again = client.start(request("1", &token, "echo", &json!({}))).await;
    assert!(matches!(again, Err(NativeError::RequestIdInFlight(id)) if id == "1"));
    waiting.response().await.unwrap();
    client.call(request("1", &token, "echo", &json!({}))).await.unwrap();
}

#[tokio::test]
async fn a_revocation_is_pushed_to_those_who_hold_the_token() {
    let house = House::open().await;
    let (holder, other) = (house.client().await, house.client().await);
    let (revoked, kept) = (token("cap-1"), token("cap-2"));
    holder.call(request("1", &revoked, "echo", &json!({}))).await.unwrap();
    holder.call(request("2", &kept, "echo", &json!({}))).await.unwrap();
    other.call(request("1", &kept, "echo", &json!({}))).await.unwrap();
    let (mut told, mut not_told) = (holder.revocations(), other.revocations());

    house.revoke("cap-1").await;
    let id = tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
    assert_eq!(id.as_str(), "cap-1");
    assert_eq!(holder.list_capabilities().await.unwrap(), [kept]);
    let response = holder.call(request("3", &revoked, "echo", &json!({}))).await.unwrap();
    assert!(matches!(failure(&response), ToolCallError::CapabilityRevoked));
    assert!(told.try_recv().is_err() && not_told.try_recv().is_err());
}

#[tokio::test]
async fn a_result_above_a_frame_is_an_error_with_its_receipt() {
    let house = House::open().await;
    let client = house.client().await;
    let token = token("cap-1");
    let fits = client.call(request("1", &token, "large", &json!({"bytes": 16_000_000}))).await.unwrap();
    assert!(matches!(fits.result, ToolCallResult::Ok(_)));
    let response = client.call(request("2", &token, "large", &json!({"bytes": 17_000_000}))).await.unwrap();
    assert!(matches!(failure(&response), ToolCallError::ToolServerError(_)));
    assert!(receipt::verify(response.receipt.text()).signature_valid);
    client.heartbeat().await.unwrap();
}

#[tokio::test]
async fn a_result_that_is_not_canonical_is_answered_canonically() {
    let house = House::open().await;
    let client = house.client().await;
    let token = token("cap-1");
    let loose = json!({"text": "{ \"b\": 1.0, \"a\": \"\\u0041\" }"});
    let response = client.call(request("1", &token, "raw", &loose)).await.unwrap();
    let ToolCallResult::Ok(ok) = &response.result else { panic!("{:?}", response.result) };
    assert_eq!(ok.value.get(), r#"{"a":"A","b":1}"#);
    let ambiguous = json!({"text": "{\"a\":1,\"a\":2}"});
    let response = client.call(request("2", &token, "raw", &ambiguous)).await.unwrap();
    assert!(matches!(failure(&response), ToolCallError::ToolServerError(_)));
}

#[tokio::test]
async fn the_calls_of_a_peer_that_is_gone_are_cancelled_and_receipted() {
    let house = House::open().await;
    let client = house.client().await;
    let token = token("cap-1");
    for id in ["1", "2"] {
        client.start(request(id, &token, "wait", &json!({}))).await.unwrap();
    }
    until("both calls run", async || house.script.started.load(Ordering::SeqCst) == 2).await;
    drop(client);
    until("both receipts", async || house.verdicts().await == ["cancelled", "cancelled"]).await;
    assert_eq!(house.script.cancelled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_peer_that_leaves_while_its_calls_are_at_their_limit_is_noticed() {
    let mut limits = ServerLimits::default();
    limits.calls_per_connection = 1;
    let house = House::with(limits).await;
    let client = house.client().await;
    let token = token("cap-1");
    for id in ["1", "2", "3"] {
        client.start(request(id, &token, "wait", &json!({}))).await.unwrap();
    }
    until("the first call runs", async || house.script.started.load(Ordering::SeqCst) == 1).await;
    drop(client);
    until("its receipt", async || house.verdicts().await == ["cancelled"]).await;
    assert_eq!(house.script.started.load(Ordering::SeqCst), 1, "calls that were not taken are not made");
}

#[tokio::test]
async fn shutdown_lets_calls_end_within_the_grace() {
    let mut house = House::open().await;
    let client = house.client().await;
    let call =
        client.start(request("1", &token("cap-1"), "wait", &json!({"milliseconds": 300}))).await.unwrap();
    until("the call runs", async || house.script.started.load(Ordering::SeqCst) == 1).await;
    house.shutdown.cancel();
    let response = call.response().await.unwrap();
    assert!(matches!(response.result, ToolCallResult::Ok(_)), "{:?}", response.result);
    house.close().await;
    assert!(Client::connect(&house.address).await.is_err(), "nobody listens any more");
    assert!(matches!(client.heartbeat().await, Err(NativeError::ConnectionClosed)));
}

#[tokio::test]
async fn shutdown_cancels_what_outlives_the_grace_and_still_answers_it() {
    let mut limits = ServerLimits::default();
    limits.grace = Duration::from_millis(100);
    let mut house = House::with(limits).await;
    let client = house.client().await;
    let call = client.start(request("1", &token("cap-1"), "wait", &json!({}))).await.unwrap();
    until("the call runs", async || house.script.started.load(Ordering::SeqCst) == 1).await;
    house.shutdown.cancel();
    let response = call.response().await.unwrap();
    assert!(matches!(response.result, ToolCallResult::Cancelled(_)), "{:?}", response.result);
    house.close().await;
    assert_eq!(house.verdicts().await, ["cancelled"]);
}

#[tokio::test]
async fn pipes_are_one_connection_that_ends_with_its_input() {
    let (kernel, _script, _folder) = fixture::kernel();
    let (near_in, far_in) = tokio::io::simplex(1 << 16);
    let (near_out, far_out) = tokio::io::simplex(1 << 16);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve_connection(near_in, far_out, kernel, ServerLimits::default(), shutdown));
    let client = Client::over(near_out, far_in);
    let call = client.call(request("1", &token("cap-1"), "echo", &json!({}))).await.unwrap();
    assert!(matches!(call.result, ToolCallResult::Ok(_)));
    drop(client);
    tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_of_standard_input_lets_calls_in_flight_be_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (kernel, _script, _folder) = fixture::kernel();
    let message = chio_spec::AgentMessage::ToolCallRequest(Box::new(request(
        "1",
        &token("cap-1"),
        "wait",
        &json!({"milliseconds": 200}),
    )));
    let bytes = chio_native::frame::encode(&message).unwrap();
    let (mut near_in, far_in) = tokio::io::duplex(1 << 16);
    let (mut near_out, far_out) = tokio::io::duplex(1 << 16);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve_connection(far_in, far_out, kernel, ServerLimits::default(), shutdown));
    near_in.write_all(&bytes).await.unwrap();
    drop(near_in);
    let mut answer = Vec::new();
    near_out.read_to_end(&mut answer).await.unwrap();
    serving.await.unwrap();
    let (message, length) = chio_native::decode_frame::<chio_spec::KernelMessage>(&answer).unwrap().unwrap();
    assert_eq!(length, answer.len());
    let chio_spec::KernelMessage::ToolCallResponse(response) = message else { panic!("{message:?}") };
    assert!(matches!(response.result, ToolCallResult::Ok(_)), "{:?}", response.result);
}

#[tokio::test]
async fn a_unix_socket_belongs_to_its_owner_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chio.sock");
    let address = Address::Unix(path.clone());
    let mut house = House::at(&address, ServerLimits::default()).await;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let only: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(only, ["chio.sock"]);
    let response =
        house.client().await.call(request("1", &token("cap-1"), "echo", &json!({}))).await.unwrap();
    assert!(matches!(response.result, ToolCallResult::Ok(_)));

    let second = Listener::bind(&address).await;
    assert!(matches!(second, Err(NativeError::SocketInUse { .. })), "{second:?}");
    house.client().await.heartbeat().await.unwrap();

    house.close().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_another_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chio.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library leaves the file behind, as a killed process does");
    let listener = Listener::bind(&Address::Unix(path.clone())).await.unwrap();

    // A file that replaced ours is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(listener);
    let refused = Listener::bind(&Address::Unix(path.clone())).await;
    assert!(matches!(refused, Err(NativeError::NotASocket { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn addresses_are_read_and_written_back() {
    for text in [
        "tcp://127.0.0.1:7400",
        "tcp://[::1]:0",
        "tcp://host.example:65535",
        "unix:///run/c.sock",
        "unix://c.sock",
        "stdio:",
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    let mut hints = BTreeSet::new();
    for text in [
        "",
        "127.0.0.1:7400",
        "http://a:1",
        "tcp://",
        "tcp://:80",
        "tcp://host",
        "tcp://host:",
        "tcp://host:65536",
        "tcp://host:+1",
        "tcp://host:-1",
        "tcp://::1:80",
        "tcp://[::1]",
        "tcp://[]:1",
        "unix://",
        "unix:path",
        "unix://a\0b",
        "stdio:x",
        "stdio",
    ] {
        let error = text.parse::<Address>().unwrap_err();
        assert_eq!(error.text, text);
        hints.insert(error.fault.to_string());
    }
    assert_eq!(hints.len(), 6, "every fault has its own hint: {hints:?}");
}

#[tokio::test]
async fn a_client_says_where_it_could_not_connect() {
    let nobody = Client::connect(&"unix:///nonexistent/chio.sock".parse().unwrap()).await.unwrap_err();
    assert!(nobody.to_string().contains("connecting to unix:///nonexistent/chio.sock failed"), "{nobody}");
    assert!(matches!(Client::connect(&Address::Stdio).await, Err(NativeError::NoClientOverStdio)));
}
