//! The Python package `chio_spec`: a parsed JSON object *is* the type.
//!
//! Objects are `TypedDict`s, unions are aliases, enumerations are literals: type checkers see everything, nothing is
//! converted at run time, and a receipt that came over the wire is indexed as it is.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;

use crate::model::{Field, Kind, Length, Model, Presence, Shape, Struct, Type};
use crate::negotiation::Negotiation;
use crate::outputs::{Outputs, PYTHON_HEAD};
use crate::registry::{NATIVE_UNION, Registry, STRATEGIES};

/// Writes the package.
///
/// # Errors
/// Never; the signature is that of every emitter.
pub(crate) fn emit(
    model: &Model,
    registry: &Registry,
    negotiation: &Negotiation,
    outputs: &mut Outputs,
) -> Result<()> {
    let errors = errors(registry)?;
    let versions = versions(negotiation)?;
    outputs.add("python/chio_spec/__init__.py", init(model));
    outputs.add("python/chio_spec/errors.py", errors);
    outputs.add("python/chio_spec/py.typed", String::new());
    outputs.add("python/chio_spec/types.py", types(model)?);
    outputs.add("python/chio_spec/versions.py", versions);
    Ok(())
}

fn init(model: &Model) -> String {
    let mut exports: BTreeSet<&str> = model.types.keys().map(String::as_str).collect();
    exports.insert("Json");
    let mut text = format!(
        "{PYTHON_HEAD}\"\"\"Wire types, error registry and negotiation constants of the Chio protocol.\"\"\"\n\n\
         from . import versions\nfrom .errors import NATIVE_DEFAULTS, REGISTRY, ErrorCode, ErrorEntry, RetryStrategy\n\
         from .types import (\n"
    );
    exports.iter().for_each(|name| text.push_str(&format!("    {name},\n")));
    text.push_str(")\n\n__all__ = [\n");
    exports.extend(["NATIVE_DEFAULTS", "REGISTRY", "ErrorCode", "ErrorEntry", "RetryStrategy", "versions"]);
    exports.iter().for_each(|name| text.push_str(&format!("    \"{name}\",\n")));
    text.push_str("]\n");
    text
}

fn types(model: &Model) -> Result<String> {
    let mut text = format!(
        "{PYTHON_HEAD}\"\"\"The types of the wire, as they are in parsed JSON.\"\"\"\n\n\
         from typing import Literal, NotRequired, TypeAlias, TypedDict, Union\n\n\
         #: Any JSON value.\n\
         Json: TypeAlias = Union[dict[str, \"Json\"], list[\"Json\"], str, int, float, bool, None]\n"
    );
    for declared in ordered(model) {
        match &declared.kind {
            Kind::Struct(object) => class(declared, object, &mut text)?,
            Kind::Union(union) => {
                let branches: Vec<&str> =
                    union.variants.iter().map(|variant| variant.body.as_str()).collect();
                comment("", &declared.doc, &mut text)?;
                writeln!(text, "{}: TypeAlias = Union[", declared.name)?;
                branches.iter().try_for_each(|branch| writeln!(text, "    {branch},"))?;
                writeln!(text, "]")?;
            }
            Kind::Enum(values) => {
                comment("", &declared.doc, &mut text)?;
                writeln!(text, "{}: TypeAlias = Literal[", declared.name)?;
                values.iter().try_for_each(|value| writeln!(text, "    {},", string(value)))?;
                writeln!(text, "]")?;
            }
            Kind::Text(_) | Kind::Native(_) => {
                comment("", &declared.doc, &mut text)?;
                writeln!(text, "{}: TypeAlias = str", declared.name)?;
            }
        }
    }
    // Classes and aliases both ask for distance; two blank lines are enough.
    while text.contains("\n\n\n\n") {
        text = text.replace("\n\n\n\n", "\n\n\n");
    }
    Ok(format!("{}\n", text.trim_end()))
}

/// The types so that each stands below those it refers to: aliases are evaluated when the module is imported.
fn ordered(model: &Model) -> Vec<&Type> {
    fn visit<'a>(model: &'a Model, name: &'a str, seen: &mut BTreeSet<&'a str>, order: &mut Vec<&'a Type>) {
        let Some(declared) = model.types.get(name).filter(|_| seen.insert(name)) else { return };
        match &declared.kind {
            Kind::Struct(object) => {
                object
                    .fields
                    .iter()
                    .filter_map(|field| named(&field.shape))
                    .for_each(|name| visit(model, name, seen, order));
            }
            Kind::Union(union) => {
                union.variants.iter().for_each(|variant| visit(model, &variant.body, seen, order));
            }
            Kind::Enum(_) | Kind::Text(_) | Kind::Native(_) => {}
        }
        order.push(declared);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    model.types.keys().for_each(|name| visit(model, name, &mut seen, &mut order));
    order
}

fn named(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::Named(name) | Shape::Signed(name) => Some(name),
        Shape::Array { items, .. } => named(items),
        Shape::Opaque | Shape::Boolean | Shape::Integer { .. } | Shape::String => None,
    }
}

fn class(declared: &Type, object: &Struct, text: &mut String) -> Result<()> {
    let mut members: Vec<(&str, String, &str)> = object
        .fields
        .iter()
        .map(|field| (field.name.as_str(), annotation(field), field.doc.as_str()))
        .collect();
    if let Some(tag) = &object.tag {
        members.push((&tag.key, format!("Literal[{}]", string(&tag.value)), &tag.doc));
        members.sort();
    }
    // A member whose name is no identifier can be declared in the call form only.
    if members.iter().any(|(name, ..)| name.contains('/')) {
        comment("", &declared.doc, text)?;
        writeln!(text, "{0} = TypedDict(\n    \"{0}\",\n    {{", declared.name)?;
        for (name, annotation, doc) in members {
            comment("        ", doc, text)?;
            writeln!(text, "        {}: {annotation},", string(name))?;
        }
        text.push_str("    },\n)\n");
        return Ok(());
    }
    let doc = declared.doc.replace('\\', "\\\\").replace('"', "\\\"");
    writeln!(text, "\n\nclass {}(TypedDict):\n    \"\"\"{doc}\"\"\"\n", declared.name)?;
    for (name, annotation, doc) in members {
        comment("    ", doc, text)?;
        writeln!(text, "    {name}: {annotation}")?;
    }
    text.push('\n');
    Ok(())
}

fn annotation(field: &Field) -> String {
    let value = value(&field.shape);
    match field.presence {
        Presence::Required => value,
        Presence::Optional => format!("NotRequired[{value}]"),
        Presence::Nullable => format!("{value} | None"),
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Named(name) | Shape::Signed(name) => name.clone(),
        Shape::Opaque => "Json".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Integer { .. } => "int".to_owned(),
        Shape::String => "str".to_owned(),
        Shape::Array { items, length: Length::Any | Length::NonEmpty | Length::Exactly(_) } => {
            format!("list[{}]", value(items))
        }
    }
}

fn errors(registry: &Registry) -> Result<String> {
    let mut text = format!(
        "{PYTHON_HEAD}\"\"\"The error registry: every error with its number, its meaning and its form on each surface.\"\"\"\n\n\
         from dataclasses import dataclass\n\
         from enum import IntEnum\n\
         from typing import Final, Literal, TypeAlias\n\n"
    );
    writeln!(text, "#: What a caller can do about an error.\nRetryStrategy: TypeAlias = Literal[")?;
    for (strategy, _, meaning) in STRATEGIES {
        writeln!(text, "    # {meaning}\n    {},", string(strategy))?;
    }
    text.push_str("]\n\n\nclass ErrorCode(IntEnum):\n    \"\"\"Every error that a surface reports, by its stable number.\"\"\"\n\n");
    for code in &registry.codes {
        writeln!(text, "    #: {}\n    {} = {}", code.summary, code.name.to_uppercase(), code.code)?;
    }
    text.push_str(
        "\n\n@dataclass(frozen=True, slots=True)\nclass ErrorEntry:\n    \"\"\"What the registry says of one error.\"\"\"\n\n\
         \x20   code: ErrorCode\n    name: str\n    category: str\n    summary: str\n    transient: bool\n    retry: RetryStrategy\n\
         \x20   guidance: str\n    native_name: str | None\n    http_status: int\n    jsonrpc_code: int\n\n\n\
         #: The registry entry of each error.\nREGISTRY: Final[dict[ErrorCode, ErrorEntry]] = {\n    entry.code: entry\n    for entry in (\n",
    );
    for code in &registry.codes {
        let native =
            code.native_wire_name.as_ref().map_or_else(|| "None".to_owned(), |native| string(native));
        writeln!(text, "        ErrorEntry(")?;
        for (field, value) in [
            ("code", format!("ErrorCode.{}", code.name.to_uppercase())),
            ("name", string(&code.name)),
            ("category", string(&code.category)),
            ("summary", string(&code.summary)),
            ("transient", if code.transient { "True" } else { "False" }.to_owned()),
            ("retry", string(&code.retry.strategy)),
            ("guidance", string(&code.retry.guidance)),
            ("native_name", native),
            ("http_status", code.http_status.to_string()),
            ("jsonrpc_code", code.jsonrpc_code.to_string()),
        ] {
            writeln!(text, "            {field}={value},")?;
        }
        writeln!(text, "        ),")?;
    }
    writeln!(text, "    )\n}}\n")?;
    writeln!(text, "#: The error that each `code` of a `{NATIVE_UNION}` means when nothing more is known.")?;
    writeln!(text, "NATIVE_DEFAULTS: Final[dict[str, ErrorCode]] = {{")?;
    for code in registry.codes.iter().filter(|code| code.native_default) {
        let native = code.native_wire_name.as_deref().unwrap_or_default();
        writeln!(text, "    {}: ErrorCode.{},", string(native), code.name.to_uppercase())?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn versions(negotiation: &Negotiation) -> Result<String> {
    let surfaces = &negotiation.surfaces;
    let mut text = format!(
        "{PYTHON_HEAD}\"\"\"Which versions of which protocol this release speaks.\"\"\"\n\nfrom typing import Final\n\n"
    );
    let versions: Vec<String> =
        surfaces.hosted_mcp.supported_protocol_versions.iter().map(|found| string(found)).collect();
    for (doc, name, rust_type, value) in [
        (
            "The version of the native wire; only an exact match goes together.",
            "WIRE_VERSION",
            "str",
            string(&surfaces.native_chio.wire_version),
        ),
        (
            "The most bytes that the payload of a native frame may have.",
            "MAX_FRAME_BYTES",
            "int",
            surfaces.native_chio.max_frame_bytes.to_string(),
        ),
        (
            "The versions of the Model Context Protocol that the hosted edge speaks.",
            "MCP_PROTOCOL_VERSIONS",
            "tuple[str, ...]",
            format!("({},)", versions.join(", ")),
        ),
        (
            "The HTTP header that repeats the agreed MCP version after initialization.",
            "MCP_PROTOCOL_VERSION_HEADER",
            "str",
            string(&surfaces.hosted_mcp.session_header),
        ),
        (
            "The path below which all operations of the trust-control service stand.",
            "TRUST_CONTROL_PATH_PREFIX",
            "str",
            string(&surfaces.trust_control.base_path_prefix),
        ),
    ] {
        writeln!(text, "#: {doc}\n{name}: Final[{rust_type}] = {value}")?;
    }
    Ok(text)
}

/// A comment that documentation tools attach to what follows.
fn comment(indent: &str, doc: &str, text: &mut String) -> Result<()> {
    if indent.is_empty() {
        text.push('\n');
    }
    doc.lines().try_for_each(|line| writeln!(text, "{indent}#: {line}"))?;
    Ok(())
}

/// A Python string literal. JSON's are a subset of Python's.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
