//! Hands the leaf types to typify: closed objects, enumerations and constrained strings.
//!
//! typify decides what a declaration looks like in Rust: its fields, their names and types. It is shown only schemas
//! made from the [`Model`], in the few forms that it renders faithfully; unions, opaque values and signed objects
//! are replaced by names, and what serde's derive cannot check is added afterwards by [`crate::rust`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use schemars08::schema::Schema;
use serde_json::{Value, json};

use crate::model::{Kind, Length, Model, Presence, Shape, Struct};

/// The declarations of all leaf types, by name.
///
/// # Errors
/// A model that typify refuses, or that it renders as something else than one declaration for each type.
pub(crate) fn declarations(model: &Model) -> Result<BTreeMap<String, syn::Item>> {
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    let mut replaced: BTreeMap<String, String> = BTreeMap::from([(OPAQUE.to_owned(), "Json".to_owned())]);
    for (name, declared) in &model.types {
        let schema = match &declared.kind {
            Kind::Struct(object) if model.is_standalone(object) => {
                if object.signed {
                    replaced.insert(signed(name), format!("Signed<{name}>"));
                }
                self::object(object)
            }
            Kind::Struct(_) => continue,
            Kind::Enum(values) => json!({"type": "string", "enum": values}),
            Kind::Text(_) => json!({"type": "string", "minLength": 1}),
            Kind::Native(native) => {
                replaced.insert(name.clone(), native.rust.clone());
                json!({})
            }
            Kind::Union(_) => {
                replaced.insert(name.clone(), name.clone());
                json!({})
            }
        };
        definitions.insert(name.clone(), schema);
    }

    let mut settings = typify::TypeSpaceSettings::default();
    for (name, rust) in &replaced {
        // typify ignores the replacement of a name that it never meets.
        definitions.entry(name.clone()).or_insert_with(|| json!({}));
        settings.with_replacement(name, rust, std::iter::empty());
    }
    let expected: Vec<String> =
        definitions.keys().filter(|name| !replaced.contains_key(*name)).cloned().collect();
    let definitions = definitions
        .into_iter()
        .map(|(name, schema)| Ok((name, serde_json::from_value(schema)?)))
        .collect::<Result<Vec<(String, Schema)>>>()?;
    let mut space = typify::TypeSpace::new(&settings);
    space
        .add_ref_types(definitions)
        .map_err(|error| anyhow!("typify refused the lowered schemas: {error}"))?;
    let file: syn::File = syn::parse2(space.to_stream()).context("typify's output is not Rust")?;

    let mut declarations = BTreeMap::new();
    for item in file.items {
        let name = match &item {
            syn::Item::Struct(found) => found.ident.to_string(),
            syn::Item::Enum(found) => found.ident.to_string(),
            _ => continue,
        };
        declarations.insert(name, item);
    }
    if !declarations.keys().eq(&expected) {
        let found: Vec<&String> = declarations.keys().collect();
        bail!("typify declared {found:?} instead of {expected:?}");
    }
    Ok(declarations)
}

/// The definition that stands for any JSON value.
const OPAQUE: &str = "OpaqueJson";

/// The definition that stands for a signed object where it is referred to.
fn signed(name: &str) -> String {
    format!("Signed{name}Text")
}

fn object(object: &Struct) -> Value {
    let properties: BTreeMap<&str, Value> = object
        .fields
        .iter()
        .map(|field| (field.name.as_str(), nullable(&field.shape, field.presence)))
        .collect();
    let required: Vec<&str> = object
        .fields
        .iter()
        .filter(|field| field.presence != Presence::Optional)
        .map(|field| field.name.as_str())
        .collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn nullable(shape: &Shape, presence: Presence) -> Value {
    match presence {
        Presence::Nullable => json!({"oneOf": [self::shape(shape), {"type": "null"}]}),
        Presence::Required | Presence::Optional => self::shape(shape),
    }
}

fn shape(shape: &Shape) -> Value {
    let definition = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    match shape {
        Shape::Named(name) => definition(name),
        Shape::Signed(name) => definition(&signed(name)),
        Shape::Opaque => definition(OPAQUE),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Integer { max, .. } => json!({"type": "integer", "format": integer(*max).1}),
        Shape::String => json!({"type": "string"}),
        Shape::Array { items, length: Length::Exactly(length) } => {
            json!({"type": "array", "items": self::shape(items), "minItems": length, "maxItems": length})
        }
        Shape::Array { items, length: Length::Any | Length::NonEmpty } => {
            json!({"type": "array", "items": self::shape(items)})
        }
    }
}

/// The Rust type of an integer with this greatest value, and typify's name of it.
pub(crate) fn integer(max: u64) -> (&'static str, &'static str) {
    match max {
        U16_MAX => ("u16", "uint16"),
        U32_MAX => ("u32", "uint32"),
        _ => ("u64", "uint64"),
    }
}

/// Whether the Rust type of an integer has no greater value than its schema, so that nothing is left to check. The
/// narrow types are used for no other bounds: a schema that widens one should not change the type of a field twice.
pub(crate) fn fills_its_type(max: u64) -> bool {
    matches!(max, U16_MAX | U32_MAX)
}

const U16_MAX: u64 = 65_535;
const U32_MAX: u64 = 4_294_967_295;
