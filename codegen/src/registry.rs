//! The error registry: read, checked against its own schema, and checked for what a schema cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Kind, Model, pascal};

/// The registry's file.
pub(crate) const FILE: &str = "spec/errors/chio-error-registry.v1.json";
/// The schema of that file.
const META: &str = "spec/meta/error-registry.schema.json";
/// The union of the native wire whose tags the registry maps to its entries.
pub(crate) const NATIVE_UNION: &str = "ToolCallError";

/// The numbers of each category. They are part of the protocol and stand here so that the registry cannot move them
/// by accident.
const RANGES: &[(&str, u16, u16)] = &[
    ("protocol", 1000, 1099),
    ("auth", 1100, 1199),
    ("capability", 2100, 2199),
    ("guard", 3100, 3199),
    ("budget", 4100, 4199),
    ("tool", 5100, 5199),
    ("internal", 6100, 6199),
];

/// Each retry strategy, whether an error with it is transient, and what it asks of the caller.
pub(crate) const STRATEGIES: &[(&str, bool, &str)] = &[
    ("do_not_retry", false, "The same request will fail again."),
    (
        "do_not_retry_until_version_change",
        false,
        "The same request will fail until another protocol version is chosen.",
    ),
    ("reinitialize", false, "A new session is needed first."),
    ("retry_after_budget_change", true, "The same request may pass once a budget was raised or refilled."),
    ("retry_after_refresh", true, "The same request may pass with fresh credentials."),
    ("retry_after_reissue", false, "A newly issued capability is needed first."),
    ("retry_with_backoff", true, "The same request may pass after a growing pause."),
];

/// All errors that any surface reports.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    #[expect(dead_code, reason = "checked by the registry's schema")]
    schema: String,
    #[expect(dead_code, reason = "for readers of the registry; no output shows a date")]
    updated_at: String,
    /// The categories, by rising numbers.
    pub categories: Vec<Category>,
    /// The errors, by rising numbers.
    pub codes: Vec<Code>,
}

/// A group of errors with a range of numbers of its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Category {
    /// Name of the category.
    pub name: String,
    /// The least number of its errors.
    pub first_code: u16,
    /// The greatest number of its errors.
    pub last_code: u16,
    /// What its errors have in common.
    pub summary: String,
}

/// One error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    /// Its number, which never changes.
    pub code: u16,
    /// Its name, which never changes.
    pub name: String,
    /// Name of its category.
    pub category: String,
    /// What happened, in one sentence.
    pub summary: String,
    /// Whether the same request may pass later.
    pub transient: bool,
    /// What the caller can do.
    pub retry: Retry,
    /// The tag of the native wire error that reports it, where one does.
    pub native_wire_name: Option<String>,
    /// Whether a native wire error with that tag means this entry when nothing more is known.
    pub native_default: bool,
    /// HTTP status of answers that report it.
    pub http_status: u16,
    /// JSON-RPC error code of answers that report it.
    pub jsonrpc_code: i32,
}

/// What a caller can do about an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Name of the strategy.
    pub strategy: String,
    /// The same for people.
    pub guidance: String,
}

impl Registry {
    /// Reads and checks the registry.
    ///
    /// # Errors
    /// A file that its schema refuses, or entries that contradict each other or the wire's errors.
    pub fn read(root: &Path, model: &Model) -> Result<Self> {
        let registry: Self =
            serde_json::from_value(read_checked(root, FILE, META)?).with_context(|| FILE.to_owned())?;
        let mut faults = registry.faults();
        faults.extend(registry.native_faults(model));
        if !faults.is_empty() {
            bail!("{FILE} contradicts itself:\n  {}", faults.join("\n  "));
        }
        Ok(registry)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let ranges =
            self.categories.iter().map(|found| (found.name.as_str(), found.first_code, found.last_code));
        if !ranges.eq(RANGES.iter().copied()) {
            faults.push(format!("the categories and their numbers are not {RANGES:?}"));
        }
        let (mut names, mut last) = (BTreeSet::new(), 0);
        for Code { code, name, category, transient, retry, .. } in &self.codes {
            if *code <= last {
                faults.push(format!("{name}: the number {code} is not above the one before it, {last}"));
            }
            last = *code;
            if !names.insert(pascal(name)) {
                faults.push(format!("{name}: the name is there twice"));
            }
            match RANGES.iter().find(|(known, ..)| known == category) {
                Some((_, first, last)) if (first..=last).contains(&code) => {}
                Some((_, first, last)) => {
                    faults.push(format!(
                        "{name}: {code} is outside of the category {category}, {first} to {last}"
                    ));
                }
                None => faults.push(format!("{name}: the category {category} is unknown")),
            }
            match STRATEGIES.iter().find(|(known, ..)| *known == retry.strategy) {
                Some((_, expected, _)) if expected == transient => {}
                Some((strategy, expected, _)) => {
                    faults.push(format!(
                        "{name}: an error with the strategy {strategy} has `transient` {expected}"
                    ));
                }
                None => faults.push(format!("{name}: the strategy {} is unknown", retry.strategy)),
            }
        }
        faults
    }

    /// Every error of the native wire means exactly one entry, and every entry names an error that there is.
    fn native_faults(&self, model: &Model) -> Vec<String> {
        let Some(Kind::Union(union)) = model.types.get(NATIVE_UNION).map(|declared| &declared.kind) else {
            return vec![format!("the schemas declare no union {NATIVE_UNION} to map the entries to")];
        };
        let mut faults = Vec::new();
        let mut defaults: BTreeMap<&str, Vec<&str>> =
            union.variants.iter().map(|variant| (variant.tag.as_str(), Vec::new())).collect();
        for code in &self.codes {
            match (&code.native_wire_name, code.native_default) {
                (None, false) => {}
                (None, true) => {
                    faults.push(format!("{}: `nativeDefault` needs a `nativeWireName`", code.name));
                }
                (Some(native), default) => match defaults.get_mut(native.as_str()) {
                    Some(rows) if default => rows.push(&code.name),
                    Some(_) => {}
                    None => faults.push(format!("{}: {NATIVE_UNION} has no `{native}`", code.name)),
                },
            }
        }
        for (native, rows) in defaults {
            if rows.len() != 1 {
                faults.push(format!(
                    "{native} needs exactly one entry with `nativeDefault` true, not {rows:?}"
                ));
            }
        }
        faults
    }

    /// The entry that a native wire error means when nothing more is known.
    #[must_use]
    pub fn native_default(&self, native: &str) -> Option<&Code> {
        self.codes.iter().find(|code| code.native_default && code.native_wire_name.as_deref() == Some(native))
    }
}

/// Reads a JSON file of the specification that has a schema of its own.
///
/// # Errors
/// A file that cannot be read, and everything in it that the schema refuses.
pub(crate) fn read_checked(root: &Path, file: &str, meta: &str) -> Result<Value> {
    let read = |file: &str| -> Result<Value> {
        let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))?;
        crate::strict::parse(&text).with_context(|| format!("{file} is not JSON"))
    };
    let (schema, value) = (read(meta)?, read(file)?);
    let validator =
        jsonschema::validator_for(&schema).with_context(|| format!("{meta} is not a JSON Schema"))?;
    let faults: Vec<String> = validator
        .iter_errors(&value)
        .map(|fault| format!("{file}#{}: {fault}", fault.instance_path()))
        .collect();
    if !faults.is_empty() {
        bail!("{file} does not satisfy {meta}:\n  {}", faults.join("\n  "));
    }
    Ok(value)
}
