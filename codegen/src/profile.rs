//! The part of JSON Schema that the specification may use, and the only way from a schema to the [`Model`].
//!
//! The profile is an allow-list. Whatever an output would drop without a word or render unfaithfully is refused here
//! with its place and a reason: an unknown keyword, an object left open, a field that may be absent and null, an
//! integer that not every JSON implementation keeps. What is accepted here every output renders in full.

mod keywords;
mod shape;
mod strings;
mod unions;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::bundle::{Bundle, Place, Refusal};
use crate::model::{Field, Kind, Length, Model, Presence, Shape, Struct, Type, Union, pascal};

type Object = Map<String, Value>;

/// Names that a type cannot have, because generated code uses them for something else.
const TAKEN: &[&str] = &[
    "Adjacent",
    "Any",
    "Box",
    "Category",
    "Deserialize",
    "Deserializer",
    "Display",
    "Err",
    "ErrorCode",
    "FromStr",
    "IntEnum",
    "InvalidValue",
    "Json",
    "LazyLock",
    "Literal",
    "None",
    "NotRequired",
    "Ok",
    "Option",
    "Regex",
    "Result",
    "Retry",
    "Self",
    "Serialize",
    "Serializer",
    "Signed",
    "Some",
    "String",
    "Tagged",
    "TypeAlias",
    "TypedDict",
    "Vec",
];

/// Keywords of Python in lower case, none of which can name a member of a `TypedDict` class.
const PYTHON_KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Reads the model out of the bundle.
///
/// # Errors
/// Everything in the bundle that is outside the profile, in the order of files.
pub fn model(bundle: &Bundle) -> Result<Model, Vec<Refusal>> {
    let mut reader = Reader { bundle, model: Model::default(), refusals: Vec::new() };
    for (name, (place, schema)) in &bundle.types {
        reader.named_type(name, place, schema);
    }
    reader.check_branches();
    reader.check_recursion();
    reader.refusals.sort();
    if reader.refusals.is_empty() { Ok(reader.model) } else { Err(reader.refusals) }
}

struct Reader<'a> {
    bundle: &'a Bundle,
    model: Model,
    refusals: Vec<Refusal>,
}

/// What members of MCP's `_meta` begin with that are defined here.
const META_PREFIX: &str = "chio.dev/";

impl Reader<'_> {
    fn refuse(&mut self, place: &Place, reason: impl Into<String>) {
        self.refusals.push(Refusal { place: place.clone(), reason: reason.into() });
    }

    fn named_type(&mut self, name: &str, place: &Place, schema: &Value) {
        let Some(schema) = schema.as_object() else {
            return self.refuse(place, "a type is declared by a schema object");
        };
        let pascal_case = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric());
        if !pascal_case {
            self.refuse(place, format!("the type name `{name}` is not in Pascal case"));
        } else if TAKEN.contains(&name) {
            self.refuse(place, format!("the type name `{name}` is taken by the languages that we generate"));
        }
        let doc = self.description(place, schema);
        if let Some(kind) = self.kind(name, place, schema) {
            self.add(Type { name: name.to_owned(), doc, place: place.clone(), kind });
        }
    }

    fn add(&mut self, declared: Type) {
        if let Some(other) = self.model.types.get(&declared.name) {
            let reason = format!("the name {} is taken by {}", declared.name, other.place);
            return self.refuse(&declared.place, reason);
        }
        self.model.types.insert(declared.name.clone(), declared);
    }

    fn kind(&mut self, name: &str, place: &Place, schema: &Object) -> Option<Kind> {
        if schema.contains_key("x-chio-union") || schema.contains_key("oneOf") {
            return self.union(name, place, schema).map(Kind::Union);
        }
        if schema.contains_key("x-chio-rust") {
            return self.native(place, schema).map(Kind::Native);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(place, schema, None).map(Kind::Struct),
            Some("string") if schema.contains_key("enum") => self.enumeration(place, schema).map(Kind::Enum),
            Some("string") => self.text(place, schema).map(Kind::Text),
            _ => {
                let known = self.allow(place, schema, keywords::ANY_TYPE);
                if known {
                    self.refuse(
                        place,
                        "a type is an object, a union, an enumeration or a constrained string",
                    );
                }
                None
            }
        }
    }

    fn object(
        &mut self,
        place: &Place,
        schema: &Object,
        branch_of: Option<(&str, &Union)>,
    ) -> Option<Struct> {
        self.allow(place, schema, keywords::OBJECT);
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            self.refuse(place, "a branch of a union is an object: it needs \"type\": \"object\"");
            return None;
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => {}
            Some(_) => {
                let reason = "must be false: unknown members would be accepted by the schema and refused or lost by \
                              the types; say `x-chio-opaque` where any JSON is meant";
                self.refuse(&place.at("additionalProperties"), reason);
            }
            None => self.refuse(place, "an object closes itself with \"additionalProperties\": false"),
        }
        let signed = match schema.get("x-chio-signed") {
            None => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                self.refuse(&place.at("x-chio-signed"), "is true or left out");
                false
            }
        };
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = self.required(place, schema, properties);
        let tag_key = branch_of.map(|(_, union)| union.tag.clone()).or_else(|| self.tag_of_reference(place));

        let mut object = Struct { fields: Vec::new(), tag: None, signed };
        let mut idents = BTreeMap::new();
        // Sorted here and not by the map, whose order depends on a feature of serde_json.
        for (name, property) in properties.iter().collect::<BTreeMap<_, _>>() {
            let place = place.at("properties").at(name);
            self.field_name(&place, name, &mut idents);
            if Some(name) == tag_key.as_ref() {
                object.tag = self.tag(&place, name, property, required.contains(name));
            } else if let Some(field) = self.field(&place, name, property, required.contains(name)) {
                object.fields.push(field);
            }
        }
        Some(object)
    }

    fn required(&mut self, place: &Place, schema: &Object, properties: &Object) -> BTreeSet<String> {
        let names = schema.get("required").and_then(Value::as_array);
        let mut required = BTreeSet::new();
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            if !properties.contains_key(name) {
                let reason =
                    format!("`{name}` is required but is no property; nothing could ever satisfy the schema");
                self.refuse(&place.at("required"), reason);
            }
            required.insert(name.to_owned());
        }
        required
    }

    fn field_name(&mut self, place: &Place, name: &str, idents: &mut BTreeMap<String, String>) {
        // MCP's own members are in camel case, and what is added to its `_meta` stands below a name of ours.
        let bare = name.strip_prefix(META_PREFIX).unwrap_or(name);
        let plain = bare.starts_with(|c: char| c.is_ascii_lowercase())
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !(bare.contains('_') && bare.contains(|c: char| c.is_ascii_uppercase()));
        if !plain {
            self.refuse(
                place,
                format!("the field name `{name}` is neither in snake case nor in camel case, as fields of this protocol are"),
            );
        }
        if PYTHON_KEYWORDS.contains(&name) {
            self.refuse(
                place,
                format!("the field name `{name}` is a keyword of Python and cannot be declared there"),
            );
        }
        if let Some(other) = idents.insert(pascal(name), name.to_owned()) {
            self.refuse(
                place,
                format!("the field names `{other}` and `{name}` differ only in their underscores"),
            );
        }
    }

    fn field(&mut self, place: &Place, name: &str, property: &Value, required: bool) -> Option<Field> {
        let Some(schema) = property.as_object() else {
            self.refuse(
                place,
                "a field is declared by a schema object; say `x-chio-opaque` where any JSON is meant",
            );
            return None;
        };
        let doc = self.description(place, schema);
        let (shape, nullable) = self.nullable_shape(place, schema)?;
        let presence = match (required, nullable) {
            (true, false) => Presence::Required,
            (false, false) => Presence::Optional,
            (true, true) => Presence::Nullable,
            (false, true) => {
                self.refuse(
                    place,
                    "the field may be absent and may be null, two ways to say nothing: require it, or take the null away",
                );
                return None;
            }
        };
        if let (Presence::Optional, Shape::Array { length: Length::Any, .. }) = (presence, &shape) {
            self.refuse(
                place,
                "an optional array needs \"minItems\": 1: absent and empty would be the same in the types, so a \
                 present empty array could not be written back as it came",
            );
        }
        Some(Field { name: name.to_owned(), doc, shape, presence })
    }

    fn description(&mut self, place: &Place, schema: &Object) -> String {
        match schema.get("description").and_then(Value::as_str).map(str::trim) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => {
                self.refuse(
                    place,
                    "missing description: every type and field of every output is documented by it",
                );
                String::new()
            }
        }
    }
}
