//! Reading YAML strictly, and turning the reader's errors into ours.
//!
//! `yes` and `no` are not booleans, duplicate keys and merge keys are refused, and so are unknown tags: in a
//! file that decides what is permitted, a value must mean what it looks like. A key without a value is refused
//! too, by a first pass over the whole document: the reader would take it for an empty list or section, and a
//! list of forbidden patterns whose lines have all been commented out would forbid nothing.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error, RenderOptions, SnippetMode};

use crate::error::{ConfigError, Place};

/// Keys of the public formats that this version refuses: the key, what it is, and what to do instead.
const UNAVAILABLE: &[(&str, &str, Option<&str>)] = &[
    ("path_allowlist", "guard `path_allowlist`", Some("constrain the grant with `path_prefix` instead")),
    (
        "shell_command",
        "guard `shell_command`",
        Some("list the tool that runs commands under `tool_access.block`"),
    ),
    (
        "egress_allowlist",
        "guard `egress_allowlist`",
        Some("constrain the grant with `domain_exact` or `domain_glob`"),
    ),
    ("internal_network", "guard `internal_network`", None),
    ("secret_patterns", "guard `secret_patterns`", None),
    ("patch_integrity", "guard `patch_integrity`", None),
    ("sql_query", "guard `sql_query`", None),
    ("vector_db", "guard `vector_db`", None),
    ("warehouse_cost", "guard `warehouse_cost`", None),
    ("query_result", "guard `query_result`", None),
    ("content_review", "guard `content_review`", None),
    ("cloud_guardrails", "guard `cloud_guardrails`", None),
    ("threat_intel", "guard `threat_intel`", None),
    (
        "require_confirmation",
        "option `require_confirmation`",
        Some("list the tool under `block` until it can be confirmed"),
    ),
    ("allow_sampling", "option `allow_sampling`", Some("sampling is always refused; remove the line")),
    (
        "allow_sampling_tool_use",
        "option `allow_sampling_tool_use`",
        Some("sampling is always refused; remove the line"),
    ),
    (
        "allow_elicitation",
        "option `allow_elicitation`",
        Some("elicitation is always refused; remove the line"),
    ),
    ("require_web3_evidence", "option `require_web3_evidence`", None),
    (
        "allow_ephemeral_receipt_log",
        "option `allow_ephemeral_receipt_log`",
        Some("receipts are always durable; remove the line"),
    ),
    (
        "allow_ephemeral_revocation_store",
        "option `allow_ephemeral_revocation_store`",
        Some("revocations are always durable; remove the line"),
    ),
    (
        "durable_admission_mode",
        "option `durable_admission_mode`",
        Some("admission is always durable; remove the line"),
    ),
    (
        "allow_unsafe_durable_admission_off",
        "option `allow_unsafe_durable_admission_off`",
        Some("admission is always durable; remove the line"),
    ),
    (
        "checkpoint_batch_size",
        "option `checkpoint_batch_size`",
        Some("a checkpoint is signed every 100 receipts and every ten seconds with news; remove the line"),
    ),
    (
        "hushspec",
        "the `hushspec` dialect",
        Some("write the policy with `kernel`, `guards` and `capabilities`"),
    ),
    ("retention_days", "option `retention_days`", Some("receipts are kept; remove the line")),
    ("telemetry", "section `telemetry`", None),
    ("wasm_guards", "section `wasm_guards`", None),
    ("adapters", "section `adapters`", None),
    ("edges", "section `edges`", None),
];

/// Reads one document. `variables` are substituted for `${NAME}` in plain scalars when given.
pub(crate) fn read<T: DeserializeOwned>(
    text: &str,
    source_name: &str,
    variables: Option<HashMap<String, String>>,
) -> Result<T, ConfigError> {
    let mut options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    if let Some(variables) = variables {
        options = options.with_properties(variables);
    }
    serde_saphyr::from_str_with_options::<EveryKeyHasAValue>(text, options.clone())
        .and_then(|EveryKeyHasAValue| serde_saphyr::from_str_with_options(text, options))
        .map_err(|error| explain(&error, source_name))
}

/// Writes a document.
pub(crate) fn write<T: Serialize>(document: &T) -> Result<String, ConfigError> {
    serde_saphyr::to_string(document).map_err(|error| ConfigError::Unwritable { problem: error.to_string() })
}

/// Reads any document and keeps nothing of it; fails at the first null.
struct EveryKeyHasAValue;

impl<'de> Deserialize<'de> for EveryKeyHasAValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for EveryKeyHasAValue {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self, E> {
        Err(E::custom("a value is missing here; remove the key to have its default, or write a value"))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

fn explain(error: &Error, source_name: &str) -> ConfigError {
    let error = innermost(error);
    let (line, column) = match error.location() {
        Some(at) => {
            (u32::try_from(at.line()).unwrap_or(u32::MAX), u32::try_from(at.column()).unwrap_or(u32::MAX))
        }
        None => (0, 0),
    };
    let place = Place { file: source_name.to_owned(), line, column };
    let invalid =
        |problem: String, hint: Option<String>| ConfigError::Invalid { place: place.clone(), problem, hint };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            match UNAVAILABLE.iter().find(|(key, ..)| key == field) {
                Some((_, what, hint)) => ConfigError::Unavailable {
                    place,
                    what: (*what).to_owned(),
                    hint: hint.map(str::to_owned),
                },
                None => {
                    ConfigError::UnknownKey { place, key: field.clone(), hint: suggestion(field, expected) }
                }
            }
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            invalid(format!("`{variant}` is not possible here"), suggestion(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => invalid(format!("the key `{field}` is missing"), None),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            invalid(format!("found {unexpected} where {expected} is expected"), None)
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            invalid(format!("the key `{key}` is written twice"), Some("keep one of them".to_owned()))
        }
        Error::InvalidBooleanStrict { .. } => {
            invalid("a truth value is expected here".to_owned(), Some("write `true` or `false`".to_owned()))
        }
        Error::UnresolvedProperty { name, .. } => invalid(
            format!("the variable {name} is not set"),
            Some(format!("set it, or write ${{{name}:-default}}")),
        ),
        Error::InvalidScalar { ty, .. } => {
            let expected = match *ty {
                "u64" | "u32" => "a whole number that is not negative",
                other => other,
            };
            invalid(format!("{expected} is expected here"), None)
        }
        Error::Unexpected { expected, .. } => {
            let expected = match *expected {
                "sequence start" => "a list",
                "mapping start" => "a section of keys and values",
                other => other,
            };
            invalid(format!("{expected} is expected here"), None)
        }
        Error::MultipleDocuments { .. } => invalid(
            "a second YAML document starts here".to_owned(),
            Some("keep one document per file".to_owned()),
        ),
        Error::Message { msg, .. } => invalid(msg.clone(), None),
        other => ConfigError::Syntax { place, problem: plain(other) },
    }
}

/// The fault itself, without the wrappers that say through which alias it was reached.
fn innermost(mut error: &Error) -> &Error {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

/// The reader's sentence without its own " at line 3, column 5", which the place already says.
fn plain(error: &Error) -> String {
    let mut options = RenderOptions::default();
    options.snippets = SnippetMode::Off;
    let text = error.render_with_options(options);
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// "did you mean X" when one of the possible names is close, otherwise the list of them.
fn suggestion(written: &str, possible: &[&str]) -> Option<String> {
    let near = possible
        .iter()
        .map(|name| (distance(written, name), name))
        .filter(|(distance, _)| *distance <= 1 + written.chars().count() / 4)
        .min();
    match (near, possible) {
        (Some((_, name)), _) => Some(format!("did you mean `{name}`?")),
        (None, []) => None,
        (None, names) => {
            let list: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("possible here: {}", list.join(", ")))
        }
    }
}

/// How many insertions, removals, replacements and neighbour swaps (Damerau and Levenshtein) lead from one
/// word to the other. Hyphens count as underscores: `tool-access` is `tool_access`.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().replace('-', "_").chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&previous, column) + usize::from(a != b))
                .min(at(&previous, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && from.get(row - 1) == Some(b) && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(&before_previous, column - 1) + 1);
            }
            current.push(best);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or(0)
}
