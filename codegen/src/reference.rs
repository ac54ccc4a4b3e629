//! The protocol reference: the same model as tables for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;

use crate::model::{
    Field, Kind, Length, MAX_SAFE_INTEGER, Model, Presence, Shape, Struct, Text, Type, Union,
};
use crate::negotiation::Negotiation;
use crate::outputs::{MARKDOWN_HEAD, Outputs};
use crate::registry::{Registry, STRATEGIES};

/// Writes the reference.
///
/// # Errors
/// Never; the signature is that of every emitter.
pub(crate) fn emit(
    model: &Model,
    registry: &Registry,
    negotiation: &Negotiation,
    outputs: &mut Outputs,
) -> Result<()> {
    let mut text = format!(
        "{MARKDOWN_HEAD}# Protocol reference\n\nEvery type of the wire, every error and every negotiated constant, as `spec/` declares \
         them. Objects are closed: a member that is not listed is refused. What is signed or hashed is canonical JSON \
         (RFC 8785), whose members stand in the order of the tables.\n"
    );
    let mut folders: BTreeMap<&str, Vec<&Type>> = BTreeMap::new();
    for declared in model.types.values() {
        folders.entry(declared.place.folder()).or_default().push(declared);
    }
    text.push_str("\n## Contents\n\n");
    for (folder, types) in &folders {
        let links: Vec<String> = types.iter().map(|declared| link(&declared.name)).collect();
        writeln!(text, "- **{folder}**: {}", links.join(", "))?;
    }
    text.push_str("- [Errors](#errors)\n- [Negotiation](#negotiation)\n");
    for (folder, types) in &folders {
        writeln!(text, "\n## Types of `{folder}`")?;
        for declared in types {
            self::declared(model, declared, &mut text)?;
        }
    }
    errors(registry, &mut text)?;
    self::negotiation(negotiation, &mut text)?;
    outputs.add("docs/protocol.md", text);
    Ok(())
}

fn declared(model: &Model, declared: &Type, text: &mut String) -> Result<()> {
    writeln!(text, "\n### {}\n\n{}\n", declared.name, declared.doc)?;
    match &declared.kind {
        Kind::Struct(object) => self::object(object, text),
        Kind::Union(union) => self::union(model, union, text),
        Kind::Enum(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            writeln!(text, "A string, one of: {}.", values.join(", "))?;
            Ok(())
        }
        Kind::Text(rule) => {
            writeln!(text, "A string{}.", rule_words(rule))?;
            Ok(())
        }
        Kind::Native(native) => {
            let pattern = crate::model::NATIVES.iter().find(|(name, _)| *name == native.rust);
            writeln!(text, "A string that matches `{}`.", pattern.map_or("", |(_, pattern)| pattern))?;
            Ok(())
        }
    }
}

fn object(object: &Struct, text: &mut String) -> Result<()> {
    if object.signed {
        text.push_str("Signed: whoever passes it on passes on the text as it was received.\n\n");
    }
    let mut rows: Vec<(&str, String, &str, &str)> = object
        .fields
        .iter()
        .map(|field| (field.name.as_str(), words(&field.shape), presence(field), field.doc.as_str()))
        .collect();
    if let Some(tag) = &object.tag {
        writeln!(text, "A branch of {}.\n", link(&tag.union))?;
        rows.push((&tag.key, format!("`\"{}\"`", tag.value), "required", &tag.doc));
        rows.sort();
    }
    if rows.is_empty() {
        text.push_str("It has no members.\n");
        return Ok(());
    }
    text.push_str("| Member | Type | Presence | Meaning |\n|---|---|---|---|\n");
    for (name, shape, presence, doc) in rows {
        writeln!(text, "| `{name}` | {shape} | {presence} | {} |", cell(doc))?;
    }
    Ok(())
}

fn union(model: &Model, union: &Union, text: &mut String) -> Result<()> {
    let rest = union.content.as_ref().map(|content| format!("; `{content}` holds what the branch carries"));
    writeln!(text, "One of these objects, told apart by `{}`{}.\n", union.tag, rest.unwrap_or_default())?;
    writeln!(text, "| `{}` | Object | Meaning |\n|---|---|---|", union.tag)?;
    for variant in &union.variants {
        let doc = model.types.get(&variant.body).map_or("", |declared| declared.doc.as_str());
        writeln!(text, "| `{}` | {} | {} |", variant.tag, link(&variant.body), cell(doc))?;
    }
    Ok(())
}

fn presence(field: &Field) -> &'static str {
    match field.presence {
        Presence::Required => "required",
        Presence::Optional => "optional",
        Presence::Nullable => "required, may be null",
    }
}

fn words(shape: &Shape) -> String {
    match shape {
        Shape::Named(name) | Shape::Signed(name) => link(name),
        Shape::Opaque => "any JSON".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Integer { min: 0, max: MAX_SAFE_INTEGER } => "integer, 0 to 2^53 − 1".to_owned(),
        Shape::Integer { min, max } => format!("integer, {min} to {max}"),
        Shape::String => "string".to_owned(),
        Shape::Array { items, length: Length::Any } => format!("array of {}", words(items)),
        Shape::Array { items, length: Length::NonEmpty } => format!("array of at least one {}", words(items)),
        Shape::Array { items, length: Length::Exactly(length) } => {
            format!("array of {length} {}", words(items))
        }
    }
}

fn rule_words(rule: &Text) -> String {
    let length = match (rule.min_length, rule.max_length) {
        (None, None) => String::new(),
        (Some(min), None) => format!(" of at least {min} characters"),
        (None, Some(max)) => format!(" of at most {max} characters"),
        (Some(min), Some(max)) => format!(" of {min} to {max} characters"),
    };
    rule.pattern
        .as_ref()
        .map_or(length.clone(), |pattern| format!("{length} that matches `{}`", cell(pattern)))
}

fn errors(registry: &Registry, text: &mut String) -> Result<()> {
    text.push_str("\n## Errors\n\n| Category | Numbers | Meaning |\n|---|---|---|\n");
    for category in &registry.categories {
        let (first, last) = (category.first_code, category.last_code);
        writeln!(text, "| {} | {first} to {last} | {} |", category.name, cell(&category.summary))?;
    }
    text.push_str(
        "\nThe native `code` is the one that reports the error on the native wire; **bold** where that code means this \
         entry when nothing more is known.\n\n\
         | Number | Name | Native `code` | HTTP | JSON-RPC | Transient | Retry | Meaning | What to do |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for code in &registry.codes {
        let native = match (&code.native_wire_name, code.native_default) {
            (None, _) => "–".to_owned(),
            (Some(native), false) => format!("`{native}`"),
            (Some(native), true) => format!("**`{native}`**"),
        };
        writeln!(
            text,
            "| {} | `{}` | {native} | {} | {} | {} | `{}` | {} | {} |",
            code.code,
            code.name,
            code.http_status,
            code.jsonrpc_code,
            if code.transient { "yes" } else { "no" },
            code.retry.strategy,
            cell(&code.summary),
            cell(&code.retry.guidance)
        )?;
    }
    text.push_str("\n| Retry | Meaning |\n|---|---|\n");
    for (strategy, _, meaning) in STRATEGIES {
        writeln!(text, "| `{strategy}` | {meaning} |")?;
    }
    Ok(())
}

fn negotiation(negotiation: &Negotiation, text: &mut String) -> Result<()> {
    let surfaces = &negotiation.surfaces;
    let (native, mcp, trust) = (&surfaces.native_chio, &surfaces.hosted_mcp, &surfaces.trust_control);
    let code = |value: &str| format!("`{value}`");
    let rejection = |found: &crate::negotiation::Rejection| {
        let action = found.transport_action.as_ref().map(|action| format!(", `{action}`"));
        let rpc = found.jsonrpc_code.map(|code| format!(", JSON-RPC {code}"));
        format!("error {}{}{}", found.chio_error_code, action.unwrap_or_default(), rpc.unwrap_or_default())
    };
    let versions: Vec<String> = mcp.supported_protocol_versions.iter().map(|found| code(found)).collect();
    text.push_str("\n## Negotiation\n\n| Surface | What | Value |\n|---|---|---|\n");
    for (surface, what, value) in [
        ("native", "wire version", code(&native.wire_version)),
        ("native", "most bytes of a frame's payload", native.max_frame_bytes.to_string()),
        ("native", "how the version is agreed on", code(&native.exchange_format)),
        ("native", "which versions go together", code(&native.compatibility)),
        ("native", "otherwise", rejection(&native.connection_rejection)),
        ("hosted MCP", "supported versions", versions.join(", ")),
        ("hosted MCP", "where the client names its version", code(&mcp.initialize_request_field)),
        ("hosted MCP", "where the server answers", code(&mcp.initialize_response_field)),
        ("hosted MCP", "header after initialization", code(&mcp.session_header)),
        ("hosted MCP", "how a version is chosen", code(&mcp.selection_policy)),
        ("hosted MCP", "otherwise", rejection(&mcp.connection_rejection)),
        ("trust control", "how versions are told apart", code(&trust.versioning)),
        ("trust control", "path prefix", code(&trust.base_path_prefix)),
        ("trust control", "which versions go together", code(&trust.compatibility)),
    ] {
        writeln!(text, "| {surface} | {what} | {value} |")?;
    }
    Ok(())
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

/// Text that may stand in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
