//! Capabilities in headers: a shorthand for clients that cannot write `_meta`.
//!
//! `Chio-Capability`, `Chio-Ancestors` and `Chio-Dpop-Proof` carry base64url without padding of the JSON that stands
//! under a key of `_meta` otherwise. They are moved there, so that everything behind this knows one place.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_json::Json;
use chio_mcp::jsonrpc::{Members, Request};
use chio_spec::ErrorCode;

use crate::refusal::Refusal;

/// Headers, and the keys of `_meta` that they stand for.
const HEADERS: [(&str, &str); 3] = [
    ("chio-capability", "chio.dev/capability"),
    ("chio-ancestors", "chio.dev/ancestors"),
    ("chio-dpop-proof", "chio.dev/dpopProof"),
];

/// The request with what its headers present in its `_meta`. Both at once are refused: one would have to win.
pub(super) fn splice(headers: &HeaderMap, mut request: Request) -> Result<Request, Refusal> {
    if !HEADERS.iter().any(|(header, _)| headers.contains_key(*header)) {
        return Ok(request);
    }
    let invalid = |text: String| Refusal::answer(ErrorCode::InvalidParams, &request.id, text);
    let params = request.params.as_ref().map_or("{}", Json::get);
    let mut members = Members::parse(params).map_err(|error| invalid(format!("the parameters: {error}")))?;
    let meta = members.get("_meta").unwrap_or("{}").to_owned();
    let mut meta = Members::parse(&meta).map_err(|error| invalid(format!("`_meta`: {error}")))?;
    for (header, key) in HEADERS {
        let mut values = headers.get_all(header).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(invalid(format!("the header {header} is given more than once")));
        }
        if meta.get(key).is_some() {
            return Err(invalid(format!("both the header {header} and `_meta[\"{key}\"]` are given")));
        }
        let json = URL_SAFE_NO_PAD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.and_then(|text| Json::from_text(text).ok());
        let json = json.ok_or_else(|| invalid(format!("the header {header} is not base64url of JSON")))?;
        meta.set(key, json.get().to_owned());
    }
    members.set("_meta", meta.to_text());
    let params = members.to_json().map_err(|error| invalid(error.to_string()))?;
    request.params = Some(params);
    Ok(request)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use axum::http::{HeaderMap, HeaderValue};
    use axum::response::IntoResponse;
    use chio_mcp::jsonrpc::Message;

    use super::*;

    fn request(params: &str) -> Request {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call"{params}}}"#);
        match Message::parse(&text).unwrap() {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, json) in pairs {
            headers.append(*name, HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(json)).unwrap());
        }
        headers
    }

    fn spliced(headers: &HeaderMap, params: &str) -> String {
        splice(headers, request(params)).unwrap().params.unwrap().get().to_owned()
    }

    #[test]
    fn headers_become_members_of_meta_and_everything_else_keeps_its_bytes() {
        let all = headers(&[
            ("chio-capability", r#"{"id":"cap-1"}"#),
            ("chio-ancestors", "[1]"),
            ("chio-dpop-proof", "{}"),
        ]);
        let presented =
            r#""chio.dev/capability":{"id":"cap-1"},"chio.dev/ancestors":[1],"chio.dev/dpopProof":{}"#;
        assert_eq!(spliced(&all, ""), format!(r#"{{"_meta":{{{presented}}}}}"#));
        assert_eq!(
            spliced(&all, r#","params":{"n": 1.50,"_meta":{"progressToken":1}}"#),
            format!(r#"{{"n":1.50,"_meta":{{"progressToken":1,{presented}}}}}"#)
        );
        let untouched = r#"{ "n" : 1 }"#;
        assert_eq!(spliced(&HeaderMap::new(), &format!(r#","params":{untouched}"#)), untouched);
    }

    #[test]
    fn both_a_header_and_meta_are_refused() {
        let one = headers(&[("chio-capability", "{}")]);
        let params = r#","params":{"_meta":{"chio.dev/capability":{}}}"#;
        let response = splice(&one, request(params)).unwrap_err().into_response();
        assert_eq!(response.status(), 200);
        assert_eq!(response.extensions().get(), Some(&ErrorCode::InvalidParams));
    }

    #[test]
    fn a_header_that_is_repeated_or_no_base64url_of_json_is_refused() {
        let twice = headers(&[("chio-capability", "{}"), ("chio-capability", "{}")]);
        assert!(splice(&twice, request("")).is_err());
        for value in ["", "e30=", "!", "bm90IGpzb24", "_w"] {
            let mut headers = HeaderMap::new();
            headers.append("chio-dpop-proof", HeaderValue::from_str(value).unwrap());
            assert!(splice(&headers, request("")).is_err(), "{value}");
        }
        assert!(splice(&headers(&[("chio-ancestors", "[]")]), request(r#","params":{"_meta":1}"#)).is_err());
    }
}
