//! Peers that are broken, slow, half open or malicious: each harms only its own connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chio_json::Signed;
use chio_native::{Client, ServerLimits, decode_frame, frame};
use chio_spec::{AgentMessage, KernelMessage, ToolCallError, ToolCallResult};
use fixture::{House, request, token, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest that an honest peer may wait on this machine, however busy; far below every deadline of the server.
const HONEST: Duration = Duration::from_secs(10);

async fn raw(house: &House) -> TcpStream {
    TcpStream::connect(house.host()).await.unwrap()
}

fn call(id: &str, token_id: &str, tool: &str, params: &Value) -> Vec<u8> {
    let request = request(id, &token(token_id), tool, params);
    frame::encode(&AgentMessage::ToolCallRequest(Box::new(request))).unwrap()
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Whatever the server still sends until it closes in an orderly way.
async fn until_closed(peer: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    tokio::time::timeout(HONEST, peer.read_to_end(&mut rest))
        .await
        .expect("the server closes")
        .expect("no reset");
    rest
}

async fn next_message(peer: &mut TcpStream) -> KernelMessage {
    let length = tokio::time::timeout(HONEST, peer.read_u32()).await.expect("an answer").unwrap();
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    peer.read_exact(&mut payload).await.unwrap();
    frame::decode(&payload).unwrap()
}

async fn answered(client: &Client, token_id: &str) {
    let request = request("honest", &token(token_id), "echo", &json!({}));
    let response =
        tokio::time::timeout(HONEST, client.call(request)).await.expect("an answer in time").unwrap();
    assert!(matches!(response.result, ToolCallResult::Ok(_)), "{:?}", response.result);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_closes_its_connection_and_no_other() {
    let house = House::open().await;
    let witness = house.client().await;
    let endless = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: &[(&str, Vec<u8>)] = &[
        ("not canonical", framed(br#"{ "type": "heartbeat" }"#)),
        ("a duplicate key", framed(br#"{"type":"heartbeat","type":"heartbeat"}"#)),
        ("endless depth", framed(endless.as_bytes())),
        ("an unknown type", framed(br#"{"type":"hello"}"#)),
        ("an unknown field", framed(br#"{"a":1,"type":"heartbeat"}"#)),
        ("zero length", framed(b"")),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("one byte too large", 16_777_217_u32.to_be_bytes().to_vec()),
        ("4 GiB", u32::MAX.to_be_bytes().to_vec()),
    ];
    for (name, bytes) in cases {
        let mut peer = raw(&house).await;
        peer.write_all(&frame::encode(&AgentMessage::Heartbeat).unwrap()).await.unwrap();
        assert_eq!(next_message(&mut peer).await, KernelMessage::Heartbeat, "{name}");
        peer.write_all(bytes).await.unwrap();
        assert_eq!(until_closed(&mut peer).await, b"", "{name}: nothing is answered");
        witness.heartbeat().await.unwrap();
    }
    answered(&witness, "cap-1").await;
    assert_eq!(house.verdicts().await, ["allow"], "what is no request leaves no receipt");
}

#[tokio::test]
async fn what_follows_a_bad_frame_is_never_served() {
    let house = House::open().await;
    let mut peer = raw(&house).await;
    let mut bytes = framed(b"{}");
    bytes.extend(call("1", "cap-1", "echo", &json!({})));
    peer.write_all(&bytes).await.unwrap();
    assert_eq!(until_closed(&mut peer).await, b"");
    assert!(house.verdicts().await.is_empty());
}

#[tokio::test]
async fn a_bad_frame_cancels_the_calls_before_it() {
    let house = House::open().await;
    let mut peer = raw(&house).await;
    peer.write_all(&call("1", "cap-1", "wait", &json!({}))).await.unwrap();
    until("the call runs", async || house.script.started.load(Ordering::SeqCst) == 1).await;
    peer.write_all(&framed(b"{}")).await.unwrap();
    let rest = until_closed(&mut peer).await;
    let (message, _) = decode_frame::<KernelMessage>(&rest).unwrap().expect("its answer");
    let KernelMessage::ToolCallResponse(response) = message else { panic!("{message:?}") };
    assert!(matches!(response.result, ToolCallResult::Cancelled(_)));
    assert_eq!(house.verdicts().await, ["cancelled"]);
}

#[tokio::test]
async fn an_end_inside_a_frame_makes_no_call() {
    let house = House::open().await;
    let bytes = call("1", "cap-1", "echo", &json!({}));
    for end in [1, 3, 4, 5, bytes.len() - 1] {
        let mut peer = raw(&house).await;
        peer.write_all(&bytes[..end]).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(until_closed(&mut peer).await, b"");
    }
    assert!(house.verdicts().await.is_empty());
}

#[tokio::test]
async fn two_calls_in_flight_may_carry_the_same_id() {
    let house = House::open().await;
    let mut peer = raw(&house).await;
    let mut bytes = call("same", "cap-1", "wait", &json!({"milliseconds": 50}));
    bytes.extend(call("same", "cap-1", "echo", &json!({})));
    peer.write_all(&bytes).await.unwrap();
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let KernelMessage::ToolCallResponse(response) = next_message(&mut peer).await else {
            panic!("no response")
        };
        assert_eq!(response.id.as_str(), "same");
        receipts.push(response.receipt.view().unwrap().id.clone());
    }
    assert_ne!(receipts[0], receipts[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_half_open_peers_starve_nobody() {
    let house = House::open().await;
    let honest = house.client().await;
    answered(&honest, "cap-1").await;
    let bytes = call("1", "cap-2", "echo", &json!({}));
    let mut half_open = Vec::new();
    for number in 0..500 {
        let mut peer = raw(&house).await;
        let part: &[u8] = match number % 5 {
            0 => b"",
            1 => &bytes[..2],
            2 => &bytes[..40],
            3 => &16_777_216_u32.to_be_bytes(),
            _ => &bytes[..bytes.len() - 1],
        };
        peer.write_all(part).await.unwrap();
        half_open.push(peer);
    }
    let started = Instant::now();
    for _ in 0..50 {
        answered(&honest, "cap-1").await;
    }
    answered(&house.client().await, "cap-3").await;
    assert!(started.elapsed() < HONEST, "51 calls took {:?}", started.elapsed());
    drop(half_open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_tokens_delays_no_holder() {
    let house = House::open().await;
    let honest = house.client().await;
    answered(&honest, "cap-1").await;
    let forged = token("cap-2").text().replacen("cap-2", "cap-3", 1);
    let mut flood = Vec::new();
    for number in 0..200 {
        let request =
            request(&number.to_string(), &Signed::from_text(forged.clone()).unwrap(), "echo", &json!({}));
        flood.extend(frame::encode(&AgentMessage::ToolCallRequest(Box::new(request))).unwrap());
    }
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let mut stranger = raw(&house).await;
        let flood = flood.clone();
        strangers.push(tokio::spawn(async move { stranger.write_all(&flood).await.map(|()| stranger) }));
    }
    until("the flood is felt", async || house.verdicts().await.len() > 300).await;
    let started = Instant::now();
    for _ in 0..20 {
        answered(&honest, "cap-1").await;
    }
    assert!(started.elapsed() < HONEST, "20 calls took {:?}", started.elapsed());
    answered(&house.client().await, "cap-4").await;
    strangers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_peer_that_trickles_is_cut_off() {
    let mut limits = ServerLimits::default();
    limits.frame_deadline = Duration::from_millis(500);
    let house = House::with(limits).await;
    let mut peer = raw(&house).await;
    let started = Instant::now();
    for byte in call("1", "cap-1", "echo", &json!({})) {
        if peer.write_all(&[byte]).await.is_err() || started.elapsed() > HONEST {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() < HONEST);
    assert!(house.verdicts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_slowed_down_then_cut_off_and_its_call_receipted() {
    let mut limits = ServerLimits::default();
    limits.frame_deadline = Duration::from_secs(2);
    let house = House::with(limits).await;
    let honest = house.client().await;
    let mut peer = raw(&house).await;
    peer.write_all(&call("1", "cap-1", "stream", &json!({"chunks": 200, "bytes": 1_000_000}))).await.unwrap();
    until("the stream begins", async || house.script.chunks.load(Ordering::SeqCst) > 0).await;
    answered(&honest, "cap-2").await;
    // Socket buffers, the outbox and the channels hold some; the tool waits with the rest.
    until("the call is cancelled", async || house.verdicts().await.contains(&"cancelled".to_owned())).await;
    let taken = house.script.chunks.load(Ordering::SeqCst);
    assert!(taken < 100, "{taken} chunks were taken although nobody read them");
    answered(&honest, "cap-2").await;
    drop(peer);
}

#[tokio::test]
async fn strangers_make_way_and_holders_do_not() {
    let mut limits = ServerLimits::default();
    limits.connections = 4;
    let house = House::with(limits).await;
    let holder = house.client().await;
    answered(&holder, "cap-1").await;
    let mut strangers = Vec::new();
    for _ in 0..10 {
        let stranger = house.client().await;
        tokio::time::timeout(HONEST, stranger.heartbeat()).await.expect("a place is found").unwrap();
        strangers.push(stranger);
    }
    answered(&holder, "cap-1").await;
    assert!(strangers[0].heartbeat().await.is_err(), "the oldest stranger made way");
    strangers[9].heartbeat().await.unwrap();
}

#[tokio::test]
async fn a_house_full_of_holders_lets_new_peers_wait() {
    let mut limits = ServerLimits::default();
    limits.connections = 2;
    let house = House::with(limits).await;
    let (first, second) = (house.client().await, house.client().await);
    answered(&first, "cap-1").await;
    answered(&second, "cap-2").await;
    let third = house.client().await;
    let waiting = tokio::time::timeout(Duration::from_millis(500), third.heartbeat());
    assert!(waiting.await.is_err(), "there is no place yet");
    answered(&first, "cap-1").await;
    drop(second);
    // The first question was sent and is answered once there is a place; its asker has gone.
    answered(&third, "cap-3").await;
}

#[tokio::test]
async fn each_code_has_its_cause() {
    let house = House::open().await;
    let client = house.client().await;
    let good = token("cap-1");
    let error = async |request| match client.call(request).await.unwrap().result {
        ToolCallResult::Err(error) => error.error,
        other => panic!("{other:?}"),
    };
    let denied = error(request("1", &good, "unknown", &json!({}))).await;
    assert!(matches!(denied, ToolCallError::CapabilityDenied(_)), "{denied:?}");
    let expired = fixture::token_until("cap-2", fixture::now());
    assert_eq!(error(request("2", &expired, "echo", &json!({}))).await, ToolCallError::CapabilityExpired);
    let policy = error(request("3", &good, "echo", &json!({"path": "/home/a/.env"}))).await;
    assert!(
        matches!(&policy, ToolCallError::PolicyDenied(denial) if denial.guard.contains("forbidden")),
        "{policy:?}"
    );
    let failed = error(request("4", &good, "fail", &json!({}))).await;
    assert!(matches!(failed, ToolCallError::ToolServerError(_)), "{failed:?}");
    house.revoke("cap-1").await;
    assert_eq!(error(request("5", &good, "echo", &json!({}))).await, ToolCallError::CapabilityRevoked);
    assert_eq!(house.verdicts().await, ["deny"; 5]);
}
