//! The JSON-RPC 2.0 envelope as MCP uses it.
//!
//! Only the envelope is parsed: `params`, `result` and `error.data` stay the text they arrived in, so
//! what is merely relayed keeps its bytes and costs one scan. Classification is strict, for a message
//! that two peers read differently is a hole: exactly one of request, notification and response, no
//! batch, no `null` id, no member twice. Members that JSON-RPC does not define are ignored.

mod id;
mod members;

use serde::Deserialize;
use serde_json::value::RawValue;

use chio_json::Json;

pub use id::{Id, InvalidId};
pub use members::{Members, quote};

/// JSON-RPC: the text is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: the message is JSON but no valid request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: the method does not exist here.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: the method's parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: a fault of the answering side.
pub const INTERNAL_ERROR: i64 = -32603;

/// One well-formed JSON-RPC message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers a request of ours.
    Response(Response),
    /// An error that answers no particular request (its id is absent or `null`).
    UnattributedError(ErrorObject),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What the answer will be told apart by.
    pub id: Id,
    /// The MCP method, for example `tools/call`.
    pub method: String,
    /// An object, or absent.
    pub params: Option<Json>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The MCP method, for example `notifications/progress`.
    pub method: String,
    /// An object, or absent.
    pub params: Option<Json>,
}

/// A response: a result or an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The id of the request it answers.
    pub id: Id,
    /// What the peer returned.
    pub outcome: Result<Json, ErrorObject>,
}

/// The `error` member of a response.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} (JSON-RPC {code})")]
pub struct ErrorObject {
    /// The JSON-RPC error code.
    pub code: i64,
    /// One sentence for people.
    pub message: String,
    /// Anything for machines.
    pub data: Option<Json>,
}

impl ErrorObject {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Adds data for machines.
    #[must_use]
    pub fn with_data(mut self, data: Json) -> Self {
        self.data = Some(data);
        self
    }

    fn to_text(&self) -> String {
        let message = quote(&self.message);
        match &self.data {
            Some(data) => {
                format!(r#"{{"code":{},"message":{message},"data":{}}}"#, self.code, data.get())
            }
            None => format!(r#"{{"code":{},"message":{message}}}"#, self.code),
        }
    }
}

/// Why a text is no JSON-RPC message, and whom it concerned as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON at all.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// A JSON-RPC batch, which MCP removed with revision 2025-06-18.
    #[error("the message is a batch; send one message at a time")]
    Batch,
    /// JSON, but no JSON-RPC request or notification.
    #[error("the message is not a valid JSON-RPC request: {reason}")]
    Request {
        /// The id, where one could be read.
        id: Option<Id>,
        /// Which rule it breaks.
        reason: String,
    },
    /// A response that says neither what happened nor what went wrong, or both.
    #[error("the message is not a valid JSON-RPC response: {reason}")]
    Response {
        /// The request it claims to answer.
        id: Id,
        /// Which rule it breaks.
        reason: String,
    },
}

impl Malformed {
    /// The error response that answers the message: without an `id` where none could be read, for
    /// MCP's schema knows no `null` id.
    #[must_use]
    pub fn answer(&self) -> String {
        let (code, id) = match self {
            Self::NotJson(_) => (PARSE_ERROR, None),
            Self::Batch => (INVALID_REQUEST, None),
            Self::Request { id, .. } => (INVALID_REQUEST, id.as_ref()),
            // The id that it names is of the other direction.
            Self::Response { .. } => (INVALID_REQUEST, None),
        };
        error_text(id, &ErrorObject::new(code, self.to_string()))
    }

    fn request(id: Option<&Id>, reason: impl Into<String>) -> Self {
        Self::Request { id: id.cloned(), reason: reason.into() }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    // Payloads are copied out of the line in the one pass that reads it.
    #[serde(default, deserialize_with = "present")]
    params: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Json>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells a member that is `null` from one that is absent, which serde's `Option` does not.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

impl Message {
    /// Classifies one JSON text.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly one JSON-RPC 2.0 request, notification or response.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        // serde would take an array for the members in their order.
        if text.trim_start().starts_with('[') {
            let json = serde_json::from_str::<&RawValue>(text);
            return Err(json.map_or_else(|error| Malformed::NotJson(error.to_string()), |_| Malformed::Batch));
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        // `null` counts as an id here only where an error answers nothing in particular.
        let id = match envelope.id.map(RawValue::get) {
            None => None,
            Some("null") if envelope.method.is_none() && envelope.error.is_some() => None,
            Some(text) => {
                Some(Id::from_json(text).map_err(|error| Malformed::request(None, error.to_string()))?)
            }
        };
        if envelope.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
            return Err(Malformed::request(id.as_ref(), "the member `jsonrpc` must be \"2.0\""));
        }
        match (envelope.method, envelope.result, envelope.error) {
            (Some(method), None, None) => call(id, method, envelope.params),
            (Some(_), ..) => {
                Err(Malformed::request(id.as_ref(), "a request carries neither `result` nor `error`"))
            }
            (None, Some(result), None) => match id {
                Some(id) => Ok(Self::Response(Response { id, outcome: Ok(result) })),
                None => Err(Malformed::request(None, "a result must carry the id of its request")),
            },
            (None, None, Some(error)) => failure(id, error),
            (None, Some(_), Some(_)) => Err(match id {
                Some(id) => {
                    Malformed::Response { id, reason: "both `result` and `error` are present".to_owned() }
                }
                None => Malformed::request(None, "both `result` and `error` are present"),
            }),
            (None, None, None) => Err(match id {
                Some(id) => Malformed::Response {
                    id,
                    reason: "none of `method`, `result` and `error` is present".to_owned(),
                },
                None => Malformed::request(None, "none of `method`, `result` and `error` is present"),
            }),
        }
    }

    /// The message as one JSON text.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Request(request) => {
                request_text(&request.id, &request.method, request.params.as_ref().map(Json::get))
            }
            Self::Notification(notification) => {
                notification_text(&notification.method, notification.params.as_ref().map(Json::get))
            }
            Self::Response(Response { id, outcome: Ok(result) }) => result_text(id, result.get()),
            Self::Response(Response { id, outcome: Err(error) }) => error_text(Some(id), error),
            Self::UnattributedError(error) => error_text(None, error),
        }
    }
}

/// The text of a request; `params` is JSON text.
#[must_use]
pub fn request_text(id: &Id, method: &str, params: Option<&str>) -> String {
    let method = quote(method);
    match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method}}}"#),
    }
}

/// The text of a notification; `params` is JSON text.
#[must_use]
pub fn notification_text(method: &str, params: Option<&str>) -> String {
    let method = quote(method);
    match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#),
    }
}

/// The text of a response with a result; `result` is JSON text.
#[must_use]
pub fn result_text(id: &Id, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The text of a response with an error; the `id` is left out where there is none.
#[must_use]
pub fn error_text(id: Option<&Id>, error: &ErrorObject) -> String {
    let error = error.to_text();
    match id {
        Some(id) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","error":{error}}}"#),
    }
}

fn refuse(error: &serde_json::Error) -> Malformed {
    if error.is_data() {
        Malformed::request(None, error.to_string())
    } else {
        Malformed::NotJson(error.to_string())
    }
}

fn call(id: Option<Id>, method: &RawValue, params: Option<Json>) -> Result<Message, Malformed> {
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return Err(Malformed::request(id.as_ref(), "`method` must be a string"));
    };
    let params = match params {
        // Some clients write `null` where they mean nothing; both say the same.
        Some(params) if params.get() == "null" => None,
        Some(params) if params.get().starts_with('{') => Some(params),
        None => None,
        Some(_) => return Err(Malformed::request(id.as_ref(), "`params` must be an object")),
    };
    Ok(match id {
        Some(id) => Message::Request(Request { id, method, params }),
        None => Message::Notification(Notification { method, params }),
    })
}

fn failure(id: Option<Id>, error: &RawValue) -> Result<Message, Malformed> {
    #[derive(Deserialize)]
    struct Wire {
        code: i64,
        message: String,
        #[serde(default, deserialize_with = "present")]
        data: Option<Json>,
    }

    // As above: an array would do.
    let text = if error.get().starts_with('{') { error.get() } else { "null" };
    match (serde_json::from_str::<Wire>(text), id) {
        (Ok(Wire { code, message, data }), Some(id)) => {
            Ok(Message::Response(Response { id, outcome: Err(ErrorObject { code, message, data }) }))
        }
        (Ok(Wire { code, message, data }), None) => {
            Ok(Message::UnattributedError(ErrorObject { code, message, data }))
        }
        (Err(error), Some(id)) => {
            Err(Malformed::Response { id, reason: format!("`error` is not an error object: {error}") })
        }
        (Err(error), None) => {
            Err(Malformed::request(None, format!("`error` is not an error object: {error}")))
        }
    }
}
