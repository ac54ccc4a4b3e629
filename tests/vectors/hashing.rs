//! Hashes of values, of large arguments and of streams.

use chio_core::hash::{hash_json, sha256};
use chio_core::receipt::{StreamHasher, action, content_hash};
use chio_json::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::family::{Family, Named, named, same};

pub(crate) enum Hashing {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Case {
    Value { text: String, sha256: String },
    Parameters { text: String, limit_bytes: usize, parameters: String, parameter_hash: String },
    Stream { chunks: Vec<String>, chunk_hashes: Vec<String>, total_bytes: u64, content_hash: String },
}

impl Family for Hashing {
    const NAME: &'static str = "hashing";
    const ABOUT: &'static str = "`value`: SHA-256 of the canonical text of `text`. `parameters`: what a receipt keeps \
        of arguments that may have `limit_bytes` in canonical text, and the hash of that. `stream`: the hash of each \
        chunk's canonical text, and the SHA-256 over those hashes as hexadecimal digits, one after the other.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let values = VALUES.iter().map(|(id, about, text, sha256)| {
            named(*id, *about, Case::Value { text: (*text).into(), sha256: (*sha256).into() })
        });
        let large = format!("{{\"data\":\"{}\"}}", "x".repeat(118));
        values
            .chain([
                named("parameters-kept", "as long as the limit", parameters(&large, large.len())),
                named(
                    "parameters-digested",
                    "one byte more than the limit",
                    parameters(&large, large.len() - 1),
                ),
                named(
                    "parameters-of-a-stranger",
                    "an unauthenticated denial keeps nothing",
                    parameters("{ \"id\": 18446744073709551615 }", 0),
                ),
                named("stream-empty", "no chunk: the hash of no bytes", stream(&[])),
                named(
                    "stream-two",
                    "the second chunk is not canonical as it arrived",
                    stream(&["{\"a\":1}", "{ \"b\": 2.0 }"]),
                ),
                named("stream-order", "the order counts", stream(&["{\"b\":2}", "{\"a\":1}"])),
                named("stream-integers", "", stream(&["9007199254740993", "-9223372036854775808"])),
            ])
            .collect()
    }

    fn judge(case: &Case) -> Result<(), String> {
        match case {
            Case::Value { text, sha256 } => {
                let value = Json::from_text(text.clone()).unwrap();
                same("hash", sha256.clone(), hash_json(&value).unwrap().to_string())?;
                same("content hash", sha256.clone(), content_hash(Some(&value)).unwrap().to_string())
            }
            Case::Parameters { text, limit_bytes, parameters, parameter_hash } => {
                let action = action(&Json::from_text(text.clone()).unwrap(), *limit_bytes).unwrap();
                same("parameters", parameters.as_str(), action.parameters.get())?;
                same("hash", parameter_hash.clone(), action.parameter_hash.to_string())
            }
            Case::Stream { chunks, chunk_hashes, total_bytes, content_hash } => {
                let mut hasher = StreamHasher::new();
                for chunk in chunks {
                    hasher.push(&Json::from_text(chunk.clone()).unwrap()).unwrap();
                }
                let (whole, stream) = hasher.finish(None);
                let hashes: Vec<String> = stream.chunk_hashes.iter().map(ToString::to_string).collect();
                same("chunk hashes", chunk_hashes.clone(), hashes)?;
                same("bytes", *total_bytes, stream.total_bytes)?;
                same("content hash", content_hash.clone(), whole.to_string())
            }
        }
    }
}

fn parameters(text: &str, limit_bytes: usize) -> Case {
    let canonical = chio_json::canonical::from_text(text).unwrap();
    let parameters = if canonical.len() <= limit_bytes {
        canonical
    } else {
        let digest = json!({"bytes": canonical.len(), "sha256": sha256(canonical.as_bytes())});
        crate::make::text(&json!({"chio_digest": digest}))
    };
    let parameter_hash = sha256(parameters.as_bytes()).to_string();
    Case::Parameters { text: text.into(), limit_bytes, parameters, parameter_hash }
}

fn stream(chunks: &[&str]) -> Case {
    let canonical: Vec<String> =
        chunks.iter().map(|chunk| chio_json::canonical::from_text(chunk).unwrap()).collect();
    let hashes: Vec<String> = canonical.iter().map(|chunk| sha256(chunk.as_bytes()).to_string()).collect();
    Case::Stream {
        chunks: chunks.iter().map(|chunk| (*chunk).into()).collect(),
        total_bytes: canonical.iter().map(|chunk| chunk.len() as u64).sum(),
        content_hash: sha256(hashes.concat().as_bytes()).to_string(),
        chunk_hashes: hashes,
    }
}

/// The hashes were made by another program (`sha256sum`).
#[rustfmt::skip]
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("null", "the content hash of a call without output", "null", "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
    ("empty-object", "the hash of no arguments", "{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ("reordered", "white space and order of keys do not matter", " { \"limit\" : 10, \"path\" : \"/srv\" }", "5ccaa5582546b3b3d0134e10d7f956d80c9ce0b311f57316d44d241414330e71"),
    ("integer-2-53-plus-1", "no digit is lost", "{\"id\":9007199254740993}", "2185812179ffd2b19c8154d2d409599d231fb75ef4968df59b7f02b435c094fa"),
    ("integer-u64-max", "", "{\"id\":18446744073709551615}", "d25f135bb764d37653b7b3198c41427a9a4dbf4a18d615a92121fea7ea99bb1b"),
    ("integer-i64-min", "", "{\"id\":-9223372036854775808}", "807d1fe014a73c0a019b92e612ff2e07b8cbbdcc1cfdeef8cc8011ebd6fa669f"),
    ("unicode", "hashed as UTF-8", "{\"\\u00e9\":\"\\ud83d\\ude00\"}", "5b1d7df2c21dc54efccf82e1619e4bb36e2c98b777cccf238af48a4e11f36585"),
    ("floats", "in their shortest form", "[1.0,1e21,1e-7,-0.0]", "f27b87425ed0aa9815adb6f4c44612200d8805143cb468c2a6293c5a7c640842"),
];
