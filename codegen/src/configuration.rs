//! The schema and the reference of the files that an operator writes, from the types of `chio-config`.
//!
//! Editors complete and check `chio.yaml` and `policy.yaml` with the schemas; the reference shows the same to people.
//! Both come from the doc comments of the types, which `chio-config` reads the files with.

use std::fmt::Write;

use anyhow::{Context, Result};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::outputs::{MARKDOWN_HEAD, Outputs};

/// The files: what they are called, what they are for, where their schema goes.
const FILES: [(&str, &str, &str); 2] = [
    ("chio.yaml", "How a process runs: its state, its log, its receipts.", "config.schema.json"),
    ("policy.yaml", "What agents may do: guards, limits and default grants.", "policy.schema.json"),
];

/// Writes the schemas and the reference.
///
/// # Errors
/// A schema that schemars cannot express, which its types rule out.
pub(crate) fn emit(outputs: &mut Outputs) -> Result<()> {
    let generator = || SchemaSettings::draft2020_12().into_generator();
    let schemas = [
        generator().into_root_schema_for::<chio_config::ChioConfig>(),
        generator().into_root_schema_for::<chio_config::PolicyFile>(),
    ];
    let mut reference = format!(
        "{MARKDOWN_HEAD}# Configuration reference\n\nThe files that an operator writes. A member that is not listed is an \
         error. The same as JSON Schema: `generated/config.schema.json` and `generated/policy.schema.json`.\n"
    );
    for (schema, (file, about, path)) in schemas.into_iter().zip(FILES) {
        let schema = schema.to_value();
        document(file, about, &schema, &mut reference)?;
        outputs.add(path, format!("{schema:#}\n"));
    }
    outputs.add("docs/configuration.md", reference);
    Ok(())
}

fn document(file: &str, about: &str, schema: &Value, text: &mut String) -> Result<()> {
    let schema = schema.as_object().context("a schema is an object")?;
    writeln!(text, "\n## `{file}`\n\n{about}\n\n{}", paragraphs(schema))?;
    members(schema, text)?;
    for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        let definition = definition.as_object().context("a definition is an object")?;
        writeln!(text, "\n### {name}\n\n{}", paragraphs(definition))?;
        if definition.contains_key("properties") {
            members(definition, text)?;
        } else {
            values(definition, text)?;
        }
    }
    Ok(())
}

fn members(schema: &Map<String, Value>, text: &mut String) -> Result<()> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    text.push_str("\n| Member | Type | Default | Meaning |\n|---|---|---|---|\n");
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let default = match property.get("default") {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Some(value) if !is_composite(value) => format!("`{value}`"),
            Some(_) => "see there".to_owned(),
            None => "–".to_owned(),
        };
        let doc = property.get("description").and_then(Value::as_str).unwrap_or_default();
        writeln!(text, "| `{name}` | {} | {} | {} |", type_words(property), cell(&default), cell(doc))?;
    }
    Ok(())
}

fn is_composite(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

/// The values of an enumeration, which schemars lists with or without a description of each.
fn values(schema: &Map<String, Value>, text: &mut String) -> Result<()> {
    text.push('\n');
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        writeln!(text, "- `{value}`")?;
    }
    for branch in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let doc = branch.get("description").and_then(Value::as_str).unwrap_or_default();
        match branch.get("const") {
            Some(value) => writeln!(text, "- `{value}`: {}", cell(doc))?,
            None => writeln!(text, "- {}: {}", type_words(branch), cell(doc))?,
        }
    }
    Ok(())
}

fn type_words(schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(branches) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        let null = |branch: &&Value| branch.get("type").is_none_or(|found| found != "null");
        return branches.iter().filter(null).map(type_words).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    let name = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        other => other.and_then(Value::as_str),
    };
    match (name, schema.get("items"), schema.get("additionalProperties")) {
        (Some("array"), Some(items), _) => format!("array of {}", type_words(items)),
        (Some("object"), _, Some(values @ Value::Object(_))) => format!("map of {}", type_words(values)),
        (Some(name), ..) => name.to_owned(),
        (None, ..) => "any value".to_owned(),
    }
}

fn paragraphs(schema: &Map<String, Value>) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// Text that may stand in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
