//! Which keywords may stand where, and why the others are refused.

use serde_json::Value;

use super::{Object, Reader};
use crate::bundle::Place;

/// Keywords of a closed object.
pub(super) const OBJECT: &[&str] =
    &["title", "description", "type", "properties", "required", "additionalProperties", "x-chio-signed"];
/// Keywords of a union.
pub(super) const UNION: &[&str] = &["title", "description", "oneOf", "x-chio-union"];
/// Keywords of an enumeration.
pub(super) const ENUM: &[&str] = &["title", "description", "type", "enum"];
/// Keywords of a constrained string.
pub(super) const TEXT: &[&str] = &["title", "description", "type", "minLength", "maxLength", "pattern"];
/// Keywords of a string that `chio-json` decodes.
pub(super) const NATIVE: &[&str] = &["title", "description", "type", "pattern", "x-chio-rust"];
/// Every keyword that may stand in some type.
pub(super) const ANY_TYPE: &[&str] = &[
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "oneOf",
    "enum",
    "minLength",
    "maxLength",
    "pattern",
    "x-chio-opaque",
    "x-chio-rust",
    "x-chio-signed",
    "x-chio-union",
];

impl Reader<'_> {
    /// Refuses every keyword of `schema` that is not in `allowed`; says whether there was none.
    pub(super) fn allow(&mut self, place: &Place, schema: &Object, allowed: &[&str]) -> bool {
        let strangers: Vec<&String> =
            schema.keys().filter(|keyword| !allowed.contains(&keyword.as_str())).collect();
        for keyword in &strangers {
            self.refuse(&place.at(keyword), reason(keyword, schema.get(*keyword)));
        }
        strangers.is_empty()
    }
}

/// Why a keyword is not accepted where it stands.
fn reason(keyword: &str, value: Option<&Value>) -> String {
    let why = match keyword {
        "if" | "then" | "else" => "a condition between fields cannot be seen in a type; make it a union",
        "allOf" => "schemas are not combined; write the fields out",
        "anyOf" => "only a field that may be null says anyOf, of one schema and {\"type\": \"null\"}",
        "oneOf" => "a union is a named type of its own with `x-chio-union`; refer to it by $ref",
        "not" => "no type can exclude values",
        "const" => {
            "a constant is only used as the tag of a union; elsewhere name an enumeration with one value"
        }
        "default" => "a default would be written back although it was not there, and break signatures",
        "enum" => "an enumeration has a name of its own: put it under $defs and refer to it",
        "pattern" | "minLength" | "maxLength" => {
            "a constrained string has a name of its own: put it under $defs and refer to it"
        }
        "format" => match value.and_then(Value::as_str) {
            Some("uuid" | "date-time" | "date" | "time" | "duration" | "ipv4" | "ipv6") => {
                "types for this format rewrite the text they read, which breaks signatures; use Unix seconds or a pattern"
            }
            _ => "formats are hints that validators may ignore; use a pattern",
        },
        "patternProperties"
        | "propertyNames"
        | "unevaluatedProperties"
        | "dependentRequired"
        | "dependentSchemas"
        | "minProperties"
        | "maxProperties" => "an object lists its members in `properties` and closes itself",
        "prefixItems" | "contains" | "minContains" | "maxContains" | "unevaluatedItems" => {
            "an array has items of one shape"
        }
        "uniqueItems" => "no type keeps items apart; check it where the array is used",
        "multipleOf" | "exclusiveMinimum" | "exclusiveMaximum" => {
            "integers are bounded by `minimum` and `maximum`"
        }
        "properties" | "required" | "additionalProperties" => {
            "an object has a name of its own: put it under $defs and refer to it"
        }
        "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$vocabulary" => {
            "schemas refer to each other by path, `file.schema.json#/$defs/Name`"
        }
        known if ANY_TYPE.contains(&known) => "it does not go with what stands beside it",
        _ => "the generator does not know this keyword and would drop it silently",
    };
    format!("`{keyword}` is not accepted here: {why}")
}
