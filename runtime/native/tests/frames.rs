//! Frames without a server: what is refused and as what, what any delivery must not change, and that no bytes panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use chio_json::{Json, Signed};
use chio_native::{FrameReader, NativeError, decode_frame, frame};
use chio_spec::{
    AgentMessage, CapabilityId, CapabilityList, CapabilityRevoked, ErrorCode, KernelMessage, PolicyDenial,
    RequestId, ResultCancelled, ResultErr, ResultIncomplete, ResultOk, ResultStreamComplete, ServerId,
    ToolCallChunk, ToolCallError, ToolCallRequest, ToolCallResponse, ToolCallResult, ToolName,
};
use proptest::prelude::*;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

const DEADLINE: Duration = Duration::from_secs(30);

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn refusal(bytes: &[u8]) -> NativeError {
    decode_frame::<AgentMessage>(bytes).expect_err("the frame is refused")
}

#[test]
fn a_heartbeat_is_the_golden_frame() {
    let Some(golden) = golden() else { return };
    let hex = golden["frame_heartbeat_hex"].as_str().unwrap();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    assert_eq!(frame::encode(&AgentMessage::Heartbeat).unwrap(), bytes);
    assert_eq!(frame::encode(&KernelMessage::Heartbeat).unwrap(), bytes);
    assert_eq!(decode_frame(&bytes).unwrap(), Some((AgentMessage::Heartbeat, bytes.len())));
}

/// The published values, or none when they are not here; on CI they must be.
fn golden() -> Option<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("CHIO_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let path = data.join("chio/golden.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{}: {error}", path.display());
            eprintln!("SKIPPED: the golden frame is not at {}: {error}", path.display());
            None
        }
    }
}

#[test]
fn a_payload_that_is_not_canonical_is_a_deserialization_failure() {
    let deep = format!(
        r#"{{"capability_token":{{}},"id":"1","params":{}{},"server_id":"s","tool":"t","type":"tool_call_request"}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    let cases: &[(&str, &[u8])] = &[
        ("zero length", b""),
        ("white space", br#"{"type": "heartbeat"}"#),
        ("a newline at the end", b"{\"type\":\"heartbeat\"}\n"),
        ("trailing bytes", br#"{"type":"heartbeat"}{}"#),
        ("a key out of order", br#"{"type":"heartbeat","a":1}"#),
        ("a duplicate key", br#"{"type":"heartbeat","type":"heartbeat"}"#),
        (
            "a duplicate key inside an opaque value",
            br#"{"capability_token":{},"id":"1","params":{"a":1,"a":2},"server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        (
            "a lone surrogate inside an opaque value",
            br#"{"capability_token":{},"id":"1","params":"\ud800","server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        (
            "a number that would print otherwise",
            br#"{"capability_token":{},"id":"1","params":1.0,"server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        ("65 levels", deep.as_bytes()),
        ("not UTF-8", b"{\"type\":\"\xff\"}"),
        ("not JSON", b"heartbeat"),
        ("half a message", br#"{"type":"heart"#),
    ];
    for (name, payload) in cases {
        let error = refusal(&framed(payload));
        assert!(matches!(error, NativeError::NotCanonical(_)), "{name}: {error}");
        assert_eq!(error.code(), Some(ErrorCode::DeserializationFailed), "{name}");
    }
}

#[test]
fn a_payload_of_another_family_is_a_deserialization_failure() {
    let cases: &[(&str, &str)] = &[
        ("an unknown field", r#"{"a":1,"type":"heartbeat"}"#),
        ("an unknown type", r#"{"type":"hello"}"#),
        ("no type", "{}"),
        ("a type that is no string", r#"{"type":1}"#),
        ("a message of the kernel", r#"{"id":"cap-1","type":"capability_revoked"}"#),
        (
            "a missing field",
            r#"{"capability_token":{},"id":"1","params":{},"server_id":"s","type":"tool_call_request"}"#,
        ),
        (
            "a field of the wrong type",
            r#"{"capability_token":{},"id":1,"params":{},"server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        (
            "an empty id",
            r#"{"capability_token":{},"id":"","params":{},"server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        (
            "an optional field that is null",
            r#"{"ancestors":null,"capability_token":{},"id":"1","params":{},"server_id":"s","tool":"t","type":"tool_call_request"}"#,
        ),
        ("an array", "[]"),
        ("a string", r#""heartbeat""#),
        ("null", "null"),
    ];
    for (name, payload) in cases {
        let error = refusal(&framed(payload.as_bytes()));
        assert!(matches!(error, NativeError::NotOfFamily { family: "AgentMessage", .. }), "{name}: {error}");
        assert_eq!(error.code(), Some(ErrorCode::DeserializationFailed), "{name}");
    }
}

#[test]
fn a_malformed_token_in_a_good_frame_is_left_to_the_kernel() {
    let payload =
        br#"{"capability_token":7,"id":"1","params":null,"server_id":"s","tool":"t","type":"tool_call_request"}"#;
    let (message, _) = decode_frame::<AgentMessage>(&framed(payload)).unwrap().unwrap();
    let AgentMessage::ToolCallRequest(request) = message else { panic!("another message") };
    assert_eq!(request.capability_token.text(), "7");
    assert!(request.capability_token.view().is_err());
}

#[test]
fn words_of_a_stranger_stay_one_short_line() {
    let key = format!("{}{}", r"\n\u001b[31mforged", "x".repeat(5000));
    let words = refusal(&framed(format!(r#"{{"{key}":1,"type":"heartbeat"}}"#).as_bytes())).to_string();
    assert!(!words.contains(char::is_control), "{words:?}");
    assert!(words.len() < 1000, "{} bytes", words.len());
}

#[test]
fn a_prefix_above_the_limit_is_too_large_whatever_follows() {
    for announced in [16_777_217_u32, u32::MAX] {
        let error = refusal(&announced.to_be_bytes());
        assert!(matches!(error, NativeError::MessageTooLarge { .. }), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
    }
    assert_eq!(decode_frame::<AgentMessage>(&16_777_216_u32.to_be_bytes()).unwrap(), None);
}

#[test]
fn what_we_send_may_fill_a_frame_and_not_one_byte_more() {
    let chunk = |bytes: usize| {
        let data = Json::from_text(format!("\"{}\"", "x".repeat(bytes))).unwrap();
        KernelMessage::ToolCallChunk(Box::new(ToolCallChunk::new(0, data, RequestId::new("1").unwrap())))
    };
    let envelope = frame::encode(&chunk(0)).unwrap().len() - frame::PREFIX_BYTES;
    let largest = frame::MAX_PAYLOAD_BYTES - envelope;
    assert_eq!(frame::encode(&chunk(largest)).unwrap().len(), frame::PREFIX_BYTES + frame::MAX_PAYLOAD_BYTES);
    let error = frame::encode(&chunk(largest + 1)).unwrap_err();
    assert!(matches!(error, NativeError::OutgoingTooLarge { .. }), "{error}");
}

#[test]
fn an_opaque_value_that_is_not_canonical_is_sent_canonically() {
    let data = Json::from_text(r#"{ "b": 1.0, "a": [] }"#.to_owned()).unwrap();
    let message =
        KernelMessage::ToolCallChunk(Box::new(ToolCallChunk::new(0, data, RequestId::new("1").unwrap())));
    let bytes = frame::encode(&message).unwrap();
    assert_eq!(&bytes[4..], br#"{"chunk_index":0,"data":{"a":[],"b":1},"id":"1","type":"tool_call_chunk"}"#);
}

#[test]
fn what_cannot_be_canonical_is_not_sent() {
    let data = Json::from_text(r#"{"a":1,"a":2}"#.to_owned()).unwrap();
    let message =
        KernelMessage::ToolCallChunk(Box::new(ToolCallChunk::new(0, data, RequestId::new("1").unwrap())));
    assert!(matches!(frame::encode(&message), Err(NativeError::Unwritable(_))));
}

/// Reads everything that a peer sends before it closes.
async fn read_all(bytes: &[u8], step: usize) -> (Vec<AgentMessage>, Option<NativeError>) {
    let (mut near, far) = tokio::io::duplex(16);
    let bytes = bytes.to_vec();
    let sending = tokio::spawn(async move {
        for part in bytes.chunks(step) {
            // The reader hangs up when it refuses a frame.
            if near.write_all(part).await.is_err() {
                return;
            }
        }
    });
    let mut reader = FrameReader::new(far, DEADLINE);
    let mut messages = Vec::new();
    let error = loop {
        match reader.next().await {
            Ok(Some(frame)) => match frame::decode(frame.payload()) {
                Ok(message) => messages.push(message),
                Err(error) => break Some(error),
            },
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    drop(reader);
    sending.await.unwrap();
    (messages, error)
}

#[tokio::test]
async fn delivery_in_any_pieces_gives_the_same_messages() {
    let request = br#"{"capability_token":{"a":[1,2]},"id":"1","params":{"k":"v"},"server_id":"s","tool":"t","type":"tool_call_request"}"#;
    let mut bytes = framed(br#"{"type":"heartbeat"}"#);
    bytes.extend(framed(request));
    bytes.extend(framed(br#"{"type":"list_capabilities"}"#));
    let (whole, error) = read_all(&bytes, usize::MAX).await;
    assert!(error.is_none());
    assert_eq!(whole.len(), 3);
    for step in [1, 2, 3, 5, 7, 16, 64] {
        let (messages, error) = read_all(&bytes, step).await;
        assert!(error.is_none(), "{step}: {error:?}");
        assert_eq!(messages, whole, "{step}");
    }
}

#[tokio::test]
async fn an_end_before_the_payload_is_an_orderly_end_without_a_message() {
    for prefix in 0..4 {
        let (messages, error) = read_all(&framed(b"{}")[..prefix], 1).await;
        assert!(messages.is_empty() && error.is_none(), "{prefix} bytes: {error:?}");
    }
}

#[tokio::test]
async fn an_end_inside_the_payload_delivers_nothing() {
    let frame = framed(br#"{"type":"heartbeat"}"#);
    for end in 4..frame.len() {
        let (messages, error) = read_all(&frame[..end], 3).await;
        assert!(messages.is_empty());
        assert!(
            matches!(error, Some(NativeError::ClosedInsideFrame { announced: 20, .. })),
            "{end}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_without_its_payload() {
    let (mut near, far) = tokio::io::duplex(64);
    near.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let error = FrameReader::new(far, DEADLINE).next().await.unwrap_err();
    assert!(matches!(error, NativeError::MessageTooLarge { announced: 4_294_967_295, limit: 16_777_216 }));
}

#[tokio::test]
async fn a_large_frame_arrives_whole_and_the_next_one_after_it() {
    let mut bytes = framed(&[b'x'; 3 << 20]);
    bytes.extend(framed(b"{}"));
    let mut reader = FrameReader::new(&bytes[..], DEADLINE);
    assert_eq!(reader.next().await.unwrap().unwrap().payload().len(), 3 << 20);
    assert_eq!(reader.next().await.unwrap().unwrap().payload(), b"{}");
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn silence_between_frames_is_allowed_and_inside_a_frame_it_is_not() {
    let (mut near, far) = tokio::io::duplex(64);
    let mut reader = FrameReader::new(far, DEADLINE);
    let patient = tokio::time::timeout(Duration::from_secs(86_400), reader.next()).await;
    assert!(patient.is_err(), "a day of silence is no reason to close");
    near.write_all(&framed(b"{}")).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().payload(), b"{}");
    near.write_all(&[0]).await.unwrap();
    let started = tokio::time::Instant::now();
    assert!(matches!(reader.next().await, Err(NativeError::FrameDeadline(_))));
    assert_eq!(started.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_extend_the_deadline() {
    let (mut near, far) = tokio::io::duplex(64);
    tokio::spawn(async move {
        for byte in framed(&[b' '; 100]) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if near.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
    let error = FrameReader::new(far, DEADLINE).next().await.unwrap_err();
    assert!(matches!(error, NativeError::FrameDeadline(_)), "{error}");
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn opaque() -> impl Strategy<Value = Json> {
    json().prop_map(|value| Json::from_value(&value))
}

fn signed<T>() -> impl Strategy<Value = Signed<T>> {
    json().prop_map(|value| Signed::from_text(Json::from_value(&value).get().to_owned()).unwrap())
}

fn id() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 1..12).prop_map(|chars| chars.into_iter().collect())
}

fn request_id() -> impl Strategy<Value = RequestId> {
    id().prop_map(|id| RequestId::new(id).unwrap())
}

fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let call = (signed(), request_id(), opaque(), id(), id(), prop::collection::vec(signed(), 0..3))
        .prop_map(|(token, id, params, server, tool, ancestors)| {
            let (server, tool) = (ServerId::new(server).unwrap(), ToolName::new(tool).unwrap());
            let request = ToolCallRequest::new(token, id, params, server, tool).with_ancestors(ancestors);
            AgentMessage::ToolCallRequest(Box::new(request))
        });
    prop_oneof![4 => call, 1 => Just(AgentMessage::ListCapabilities), 1 => Just(AgentMessage::Heartbeat)]
}

fn error() -> impl Strategy<Value = ToolCallError> {
    prop_oneof![
        any::<String>().prop_map(ToolCallError::CapabilityDenied),
        Just(ToolCallError::CapabilityExpired),
        Just(ToolCallError::CapabilityRevoked),
        (any::<String>(), any::<String>())
            .prop_map(|(guard, reason)| ToolCallError::PolicyDenied(PolicyDenial::new(guard, reason))),
        any::<String>().prop_map(ToolCallError::ToolServerError),
        any::<String>().prop_map(ToolCallError::InternalError),
    ]
}

fn result() -> impl Strategy<Value = ToolCallResult> {
    let count = 0_u64..=9_007_199_254_740_991;
    prop_oneof![
        opaque().prop_map(|value| ToolCallResult::Ok(Box::new(ResultOk::new(value)))),
        count.clone().prop_map(|count| ToolCallResult::StreamComplete(ResultStreamComplete::new(count))),
        (count.clone(), any::<String>())
            .prop_map(|(count, reason)| ToolCallResult::Cancelled(ResultCancelled::new(count, reason))),
        (count, any::<String>())
            .prop_map(|(count, reason)| ToolCallResult::Incomplete(ResultIncomplete::new(count, reason))),
        error().prop_map(|error| ToolCallResult::Err(ResultErr::new(error))),
    ]
}

fn kernel_message() -> impl Strategy<Value = KernelMessage> {
    prop_oneof![
        (0_u64..1000, opaque(), request_id()).prop_map(|(index, data, id)| KernelMessage::ToolCallChunk(
            Box::new(ToolCallChunk::new(index, data, id))
        )),
        (request_id(), signed(), result()).prop_map(|(id, receipt, result)| KernelMessage::ToolCallResponse(
            Box::new(ToolCallResponse::new(id, receipt, result))
        )),
        prop::collection::vec(signed(), 0..4)
            .prop_map(|tokens| KernelMessage::CapabilityList(Box::new(CapabilityList::new(tokens)))),
        id().prop_map(|id| {
            KernelMessage::CapabilityRevoked(CapabilityRevoked::new(CapabilityId::new(id).unwrap()))
        }),
        Just(KernelMessage::Heartbeat),
    ]
}

proptest! {
    #[test]
    fn an_agent_message_survives_its_frame(message in agent_message()) {
        let bytes = frame::encode(&message).unwrap();
        prop_assert_eq!(decode_frame(&bytes).unwrap(), Some((message, bytes.len())));
    }

    #[test]
    fn a_kernel_message_survives_its_frame(message in kernel_message()) {
        let bytes = frame::encode(&message).unwrap();
        prop_assert_eq!(decode_frame(&bytes).unwrap(), Some((message, bytes.len())));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_frame::<AgentMessage>(&bytes);
        let _ = decode_frame::<KernelMessage>(&bytes);
        let _ = decode_frame::<AgentMessage>(&framed(&bytes));
    }

    #[test]
    fn no_damaged_frame_panics(message in agent_message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = frame::encode(&message).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode_frame::<AgentMessage>(&bytes);
        bytes.truncate(at);
        let _ = decode_frame::<AgentMessage>(&bytes);
    }

    #[test]
    fn every_beginning_of_a_frame_asks_for_more(message in agent_message()) {
        let bytes = frame::encode(&message).unwrap();
        for end in 0..bytes.len() {
            prop_assert_eq!(decode_frame::<AgentMessage>(&bytes[..end]).unwrap(), None);
        }
    }
}
