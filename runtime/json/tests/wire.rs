//! The support code of the generated types, on types written as the generator writes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::str::FromStr;

use chio_json::wire::{self, Adjacent, InvalidValue, ObjectOnly, Tagged};
use chio_json::{Json, canonical};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

/// A union whose tag lies among the fields of its variants.
#[derive(Clone, Debug, PartialEq)]
enum Message {
    Call(Call),
    Heartbeat,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    id: String,
    params: Json,
    #[serde(default, deserialize_with = "wire::present", skip_serializing_if = "Option::is_none")]
    wait: Option<bool>,
}

impl Message {
    fn from_json(text: &str) -> serde_json::Result<Self> {
        let object = Tagged::scan("type", text)?;
        match object.tag() {
            "call" => object.decode().map(Self::Call),
            "heartbeat" => object.decode_empty().map(|()| Self::Heartbeat),
            _ => Err(object.unknown(&["call", "heartbeat"])),
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Call(call) => wire::write_tagged(serializer, "type", "call", call),
            Self::Heartbeat => wire::write_empty(serializer, "type", "heartbeat"),
        }
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::from_text(deserializer, Self::from_json)
    }
}

/// A union whose content has a key of its own.
#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Denied(String),
    Expired,
}

impl Fault {
    fn from_json(text: &str) -> serde_json::Result<Self> {
        let object = Adjacent::scan("code", "detail", text)?;
        match object.tag() {
            "denied" => object.decode().map(Self::Denied),
            "expired" => object.decode_empty().map(|()| Self::Expired),
            _ => Err(object.unknown(&["denied", "expired"])),
        }
    }
}

#[test]
fn a_tagged_object_survives() {
    let text = r#"{"id":"1","params":{ "b":1, "a" : 1.0},"type":"call","wait":true}"#;
    let message = Message::from_json(text).unwrap();
    let Message::Call(call) = &message else { panic!("{message:?}") };
    assert_eq!(call.params.get(), r#"{ "b":1, "a" : 1.0}"#);
    // The tag stands at its sorted place, before `wait`; the opaque part is not touched.
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    assert_eq!(Message::from_json(r#"{"type":"call","params":null,"id":""}"#).unwrap(), {
        Message::Call(Call { id: String::new(), params: Json::null(), wait: None })
    });
    assert_eq!(Message::from_json(r#" { "type" : "heartbeat" } "#).unwrap(), Message::Heartbeat);
    assert_eq!(Message::from_json(r#"{"t\u0079pe":"heart\u0062eat"}"#).unwrap(), Message::Heartbeat);
    assert_eq!(canonical::to_string(&Message::Heartbeat).unwrap(), r#"{"type":"heartbeat"}"#);
}

#[test]
fn a_tagged_object_nests() {
    let messages = json!([{"type": "heartbeat"}, {"type": "call", "id": "1", "params": [1]}]);
    let text = messages.to_string();
    let from_text: Vec<Message> = serde_json::from_str(&text).unwrap();
    let from_bytes: Vec<Message> = serde_json::from_slice(text.as_bytes()).unwrap();
    let from_value: Vec<Message> = serde_json::from_value(messages).unwrap();
    assert_eq!(from_text, from_value);
    assert_eq!(from_text, from_bytes);
}

#[test]
fn a_malformed_tagged_object_is_refused() {
    for (text, reason) in [
        ("", "EOF"),
        ("[]", "an object with a string `type`"),
        (r#"["call","1",null]"#, "an object with a string `type`"),
        ("{}", "missing field `type`"),
        (r#"{"type":1}"#, "expected a string"),
        (r#"{"type":null}"#, "expected a string"),
        (r#"{"type":"other"}"#, "unknown variant `other`, expected `call` or `heartbeat`"),
        (r#"{"type":"heartbeat","type":"heartbeat"}"#, "duplicate field `type`"),
        (r#"{"type":"heartbeat","t\u0079pe":"call"}"#, "duplicate field `type`"),
        (r#"{"type":"heartbeat","id":"1"}"#, "unknown field `id`"),
        (r#"{"id":"1","type":"heartbeat"}"#, "unknown field `id`"),
        (r#"{"type":"heartbeat"}{}"#, "trailing characters"),
        (r#"{"type":"heartbeat""#, "EOF"),
        (r#"{"type":"heartbeat",}"#, "trailing comma"),
        (r#"{"type":"call","id":"1"}"#, "missing field `params`"),
        (
            r#"{"type":"call","id":1,"params":1}"#,
            "invalid type: integer `1`, expected a string at line 1 column 21",
        ),
        (r#"{"type":"call","id":"1","id":"2","params":1}"#, "duplicate field `id`"),
        (r#"{"type":"call","id":"1","params":1,"type":"call"}"#, "duplicate field `type`"),
        (r#"{"type":"call","id":"1","params":1,"wait":null}"#, "expected a boolean"),
        (r#"{"type":"call","id":"1","params":1,"Wait":true}"#, "unknown field `Wait`"),
    ] {
        let refused = Message::from_json(text).unwrap_err().to_string();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn only_a_struct_can_carry_a_tag() {
    let write = |body: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>| {
        body(&mut Vec::new()).unwrap_err().to_string()
    };
    for refused in [
        write(&|out| wire::write_tagged(&mut serde_json::Serializer::new(out), "type", "a", &1)),
        write(&|out| wire::write_tagged(&mut serde_json::Serializer::new(out), "type", "a", &Some(1))),
        write(&|out| wire::write_tagged(&mut serde_json::Serializer::new(out), "type", "a", &[1])),
        write(&|out| wire::write_tagged(&mut serde_json::Serializer::new(out), "type", "a", &json!({}))),
    ] {
        assert_eq!(refused, "the body of a tagged union is not a struct");
    }
}

#[test]
fn an_adjacent_object_is_read_and_written() {
    assert_eq!(Fault::from_json(r#"{"code":"denied","detail":"no"}"#).unwrap(), Fault::Denied("no".into()));
    assert_eq!(Fault::from_json(r#"{"detail":"no","code":"denied"}"#).unwrap(), Fault::Denied("no".into()));
    assert_eq!(Fault::from_json(r#"{"code":"expired"}"#).unwrap(), Fault::Expired);
    for (text, reason) in [
        ("{}", "missing field `code`"),
        (r#"["denied","no"]"#, "an object with a string `code`"),
        (r#"{"code":"denied"}"#, "missing field `detail`"),
        (r#"{"code":"denied","detail":null}"#, "expected a string"),
        (r#"{"code":"expired","detail":null}"#, "`expired` carries nothing"),
        (r#"{"code":"expired","other":1}"#, "unknown field `other`"),
        (r#"{"code":"expired","code":"expired"}"#, "duplicate field `code`"),
        (r#"{"code":"denied","detail":"a","detail":"b"}"#, "duplicate field `detail`"),
        (r#"{"code":"unknown"}"#, "unknown variant `unknown`"),
        (r#"{"code":"expired"} 1"#, "trailing characters"),
    ] {
        let refused = Fault::from_json(text).unwrap_err().to_string();
        assert!(refused.contains(reason), "{text}: {refused}");
    }

    let write = |tag_key: &'static str, content_key: &'static str| {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut out);
        wire::write_adjacent(&mut serializer, (tag_key, "denied"), (content_key, "no")).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(write("code", "detail"), r#"{"code":"denied","detail":"no"}"#);
    assert_eq!(write("type", "body"), r#"{"body":"no","type":"denied"}"#);
}

#[test]
fn fields_say_what_their_schemas_say() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Fields {
        #[serde(default, deserialize_with = "wire::non_empty", skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
        #[serde(deserialize_with = "wire::nullable")]
        nullable: Option<String>,
        #[serde(with = "wire::safe_integer")]
        safe: u64,
        #[serde(
            deserialize_with = "wire::integer::read::<1, 5, _>",
            serialize_with = "wire::integer::write::<1, 5, _>"
        )]
        small: u64,
        #[serde(default, with = "wire::safe_integer::optional", skip_serializing_if = "Option::is_none")]
        optional: Option<u64>,
        #[serde(with = "wire::safe_integer::nullable")]
        either: Option<u64>,
    }

    let read = |patch: serde_json::Value| {
        let mut object = json!({"nullable": null, "safe": 0, "small": 1, "either": null});
        for (key, value) in patch.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value::<Fields>(object)
    };
    let fields =
        read(json!({"safe": 9_007_199_254_740_991_u64, "small": 5, "list": [1], "optional": 0, "either": 2}))
            .unwrap();
    assert_eq!((fields.safe, fields.small, fields.list.as_slice()), (9_007_199_254_740_991, 5, &[1][..]));
    assert_eq!((fields.optional, fields.either, fields.nullable), (Some(0), Some(2), None));
    assert_eq!(
        serde_json::to_string(&read(json!({})).unwrap()).unwrap(),
        r#"{"nullable":null,"safe":0,"small":1,"either":null}"#
    );

    for (patch, reason) in [
        (json!({"list": []}), "invalid length 0, expected an array of at least one item"),
        (json!({"list": null}), "invalid type: null"),
        (json!({"nullable": 1}), "expected a string"),
        (json!({"safe": 9_007_199_254_740_992_u64}), "expected an integer from 0 to 9007199254740991"),
        (json!({"safe": -1}), "invalid value: integer `-1`"),
        (json!({"safe": 1.0}), "invalid type: floating point `1.0`, expected u64"),
        (json!({"safe": "1"}), "invalid type: string"),
        (json!({"small": 0}), "expected an integer from 1 to 5"),
        (json!({"small": 6}), "expected an integer from 1 to 5"),
        (json!({"optional": null}), "invalid type: null"),
        (json!({"either": 9_007_199_254_740_992_u64}), "expected an integer from 0 to 9007199254740991"),
    ] {
        let refused = read(patch.clone()).unwrap_err().to_string();
        assert!(refused.contains(reason), "{patch}: {refused}");
    }
    assert!(
        serde_json::from_str::<Fields>(r#"{"safe":0,"small":1,"either":null}"#).is_err(),
        "`nullable` is required"
    );
    assert!(
        serde_json::from_str::<Fields>(r#"{"safe":0,"small":1,"nullable":null}"#).is_err(),
        "`either` is required"
    );

    let mut fields = read(json!({})).unwrap();
    fields.small = 6;
    assert!(
        serde_json::to_string(&fields).unwrap_err().to_string().contains("6 is not an integer from 1 to 5")
    );
    fields.small = 5;
    fields.optional = Some(u64::MAX);
    assert!(serde_json::to_string(&fields).is_err());
}

#[test]
fn a_struct_is_read_from_an_object_only() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        x: u8,
    }

    let read = |text: &str| Point::deserialize(ObjectOnly(&mut serde_json::Deserializer::from_str(text)));
    assert_eq!(read(r#"{"x":1}"#).unwrap(), Point { x: 1 });
    assert!(serde_json::from_str::<Point>("[1]").is_ok());
    assert!(read("[1]").is_err());
}

#[test]
fn a_constrained_string_is_checked() {
    #[derive(Debug, PartialEq)]
    struct Name(String);

    impl FromStr for Name {
        type Err = InvalidValue;

        fn from_str(text: &str) -> Result<Self, InvalidValue> {
            if text.is_empty() {
                return Err(InvalidValue::new("Name", "has at least one character"));
            }
            Ok(Self(text.to_owned()))
        }
    }

    let read = |text: &str| wire::from_str::<_, Name>(&mut serde_json::Deserializer::from_str(text));
    assert_eq!(read(r#""a\u0062""#).unwrap(), Name("ab".into()));
    assert!(read("1").unwrap_err().to_string().contains("expected a string"));
    assert!(
        read("\"\"").unwrap_err().to_string().contains("not a valid Name: it has at least one character")
    );
}
