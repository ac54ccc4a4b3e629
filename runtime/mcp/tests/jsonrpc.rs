//! The envelope: which texts are which messages, and what is refused how.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chio_json::Json;
use chio_mcp::jsonrpc::{ErrorObject, Id, Malformed, Members, Message, Response};
use proptest::prelude::*;

/// What a text is, in one word.
fn kind(text: &str) -> &'static str {
    match Message::parse(text) {
        Ok(Message::Request(_)) => "request",
        Ok(Message::Notification(_)) => "notification",
        Ok(Message::Response(Response { outcome: Ok(_), .. })) => "result",
        Ok(Message::Response(Response { outcome: Err(_), .. })) => "error",
        Ok(Message::UnattributedError(_)) => "stray error",
        Err(Malformed::NotJson(_)) => "not json",
        Err(Malformed::Batch) => "batch",
        Err(Malformed::Request { id: Some(_), .. }) => "bad request with id",
        Err(Malformed::Request { id: None, .. }) => "bad request",
        Err(Malformed::Response { .. }) => "bad response",
    }
}

#[test]
fn every_message_is_exactly_one_thing() {
    for (text, expected) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request"),
        (r#"{"jsonrpc":"2.0","id":"x","method":"ping","params":{}}"#, "request"),
        (r#"{"jsonrpc":"2.0","id":"","method":"ping","params":null}"#, "request"),
        (r#"{"jsonrpc":"2.0","id":-7,"method":"ping","extra":[1]}"#, "request"),
        (r#" { "jsonrpc" : "2.0" , "id" : 123456789012345678901234567890, "method" : "ping" } "#, "request"),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "result"),
        (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "result"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#, "error"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":null,"more":1}}"#, "error"),
        (r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}"#, "stray error"),
        (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}"#, "stray error"),
        ("", "not json"),
        ("hello", "not json"),
        ("[INFO] listening", "not json"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, "not json"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, "not json"),
        ("[]", "batch"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "batch"),
        (r#" ["2.0", 1, "ping"]"#, "batch"),
        ("1", "bad request"),
        ("null", "bad request"),
        (r#""text""#, "bad request"),
        ("{}", "bad request"),
        (r#"{"jsonrpc":"2.0"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "bad response"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "bad request with id"),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "bad request with id"),
        (r#"{"id":1,"method":"ping"}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":2}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "bad request with id"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1e2,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, "bad request"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#, "bad response"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#, "bad response"),
        (r#"{"jsonrpc":"2.0","id":1,"error":null}"#, "bad response"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}"#, "bad response"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, "bad response"),
        (r#"{"jsonrpc":"2.0","id":1,"error":[1,"m"]}"#, "bad response"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn a_refusal_carries_the_id_or_none_at_all() {
    let answer = |text: &str| Message::parse(text).unwrap_err().answer();
    assert!(
        answer(r#"{"jsonrpc":"2.0","id":"a","method":1}"#)
            .starts_with(r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"#)
    );
    assert!(answer("[]").starts_with(r#"{"jsonrpc":"2.0","error":{"code":-32600,"#));
    assert!(answer("x").starts_with(r#"{"jsonrpc":"2.0","error":{"code":-32700,"#));
}

#[test]
fn payloads_and_ids_keep_their_bytes() {
    let params =
        r#"{ "z":1, "a" : 1.50, "big":123456789012345678901234567890, "e":"\u00e9", "dup":1, "dup":2 }"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{params}}}"#);
    let Ok(Message::Request(request)) = Message::parse(&text) else { panic!("not a request") };
    assert_eq!(request.params.as_ref().unwrap().get(), params);
    assert_eq!(request.id.json(), r#""\u0061""#);
    assert_eq!(Message::Request(request).to_text(), text);
    // Depth is no danger to the envelope, however absurd.
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(kind(&deep), "result");
}

#[test]
fn members_are_edited_in_place() {
    let text = r#"{ "b": 1.0, "\u0061": [ 1, 2 ], "_meta": {"x": 1} }"#;
    let mut members = Members::parse(text).unwrap();
    assert_eq!(members.get("a"), Some("[ 1, 2 ]"));
    members.set("_meta", r#"{"y":2}"#);
    members.set("new", "true");
    assert_eq!(members.remove("b").as_deref(), Some("1.0"));
    assert_eq!(members.to_text(), r#"{"a":[ 1, 2 ],"_meta":{"y":2},"new":true}"#);
    assert!(Members::parse("[]").is_err());
    assert!(Members::parse(r#"{"a":1,"\u0061":2}"#).is_err());
    assert!(Members::parse(r#"{"a":1}{}"#).is_err());
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON knows no such number", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        any::<String>().prop_map(|value| serde_json::Value::from(value).to_string()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{} : {value}", serde_json::Value::from(key.as_str())))
                    .collect();
                format!("{{{}}}", members.join(" , "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _ = Message::parse(&text);
        let _ = Members::parse(&text);
        let _ = Id::from_json(&text);
    }

    #[test]
    fn what_is_written_is_read_back(method in any::<String>(), result in json_text(), number in any::<u64>(), code in any::<i64>()) {
        let json = Json::from_text(result.clone()).unwrap();
        let response = Message::Response(Response { id: Id::number(number), outcome: Ok(json.clone()) });
        let text = response.to_text();
        prop_assert!(text.contains(&result));
        prop_assert_eq!(Message::parse(&text).unwrap(), response);
        let error = ErrorObject::new(code, method).with_data(json);
        let failure = Message::Response(Response { id: Id::number(number), outcome: Err(error) });
        prop_assert_eq!(Message::parse(&failure.to_text()).unwrap(), failure);
    }

    #[test]
    fn members_survive_taking_apart(members in proptest::collection::btree_map(any::<String>(), json_text(), 0..6)) {
        let text = format!("{{{}}}", members.iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
            .collect::<Vec<_>>().join(","));
        prop_assert_eq!(Members::parse(&text).unwrap().to_text(), text);
    }
}
