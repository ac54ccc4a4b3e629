//! The part of JSON Schema that the specification may use, and the only way from a schema to the [`Model`].
//!
//! The profile is an allow-list. Whatever an output would drop without a word or render unfaithfully is refused here
//! with its place and a reason: an unknown keyword, an object left open, a field that may be absent and null, an
//! integer that not every JSON implementation keeps. What is accepted here every output renders in full.

mod keywords;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::bundle::{Bundle, Place, Refusal};
use crate::model::{
    Field, Kind, Model, NATIVES, Native, Presence, Shape, Struct, Tag, Text, Type, Union, Variant, pascal,
};

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

    /// A union: `oneOf` closed objects that all hold the tag.
    fn union(&mut self, name: &str, place: &Place, schema: &Object) -> Option<Union> {
        self.allow(place, schema, keywords::UNION);
        let Some(marker) = schema.get("x-chio-union").and_then(Value::as_object) else {
            self.refuse(
                place,
                "`oneOf` needs `x-chio-union` with the name of the tag, for example {\"tag\": \"type\"}; without a \
                 tag, readers would have to guess",
            );
            return None;
        };
        let member = |key: &str| marker.get(key).and_then(Value::as_str).map(str::to_owned);
        let (tag, content) = (member("tag"), member("content"));
        let expected = 1 + usize::from(content.is_some());
        let (Some(tag), true) = (tag, marker.len() == expected) else {
            self.refuse(
                &place.at("x-chio-union"),
                "must be {\"tag\": NAME} or {\"tag\": NAME, \"content\": NAME}",
            );
            return None;
        };
        if content.as_ref() == Some(&tag) {
            self.refuse(&place.at("x-chio-union"), "the tag and the content are different members");
            return None;
        }
        let branches = schema.get("oneOf").and_then(Value::as_array);
        let Some(branches) = branches.filter(|branches| !branches.is_empty()) else {
            self.refuse(place, "`x-chio-union` needs `oneOf` with at least one branch");
            return None;
        };

        let mut union = Union { tag, content, variants: Vec::new() };
        let mut seen = BTreeSet::new();
        for (index, branch) in branches.iter().enumerate() {
            let place = place.at("oneOf").at(index);
            let Some(variant) = self.branch(name, &union, &place, branch) else { continue };
            if !seen.insert(pascal(&variant.tag)) {
                self.refuse(&place, format!("two branches have the tag `{}`", variant.tag));
            }
            union.variants.push(variant);
        }
        Some(union)
    }

    /// A branch: a reference to a file's closed object, or the object itself.
    fn branch(&mut self, union_name: &str, union: &Union, place: &Place, branch: &Value) -> Option<Variant> {
        let branch = branch.as_object().or_else(|| {
            self.refuse(place, "a branch of a union is a schema object");
            None
        })?;
        if let Some(reference) = branch.get("$ref") {
            self.allow(place, branch, &["$ref"]);
            let body = self.reference(place, reference)?;
            let (_, target) = self.bundle.types.get(&body)?;
            let Some(tag) = const_of(target, &union.tag) else {
                let reason =
                    format!("{body} lacks the tag: a required `{}` with a string `const`", union.tag);
                self.refuse(place, reason);
                return None;
            };
            return Some(Variant { tag, body });
        }

        let Some(tag) = const_of(&Value::Object(branch.clone()), &union.tag) else {
            let reason =
                format!("the branch lacks the tag: a required `{}` with a string `const`", union.tag);
            self.refuse(place, reason);
            return None;
        };
        let title = branch.get("title").and_then(Value::as_str).map(str::to_owned);
        let body = title.unwrap_or_else(|| format!("{union_name}{}", pascal(&tag)));
        if self.bundle.types.contains_key(&body) {
            self.refuse(place, format!("the name {body} is taken by a type of the same name"));
            return None;
        }
        let doc = self.description(place, branch);
        let object = self.object(place, branch, Some((union_name, union)))?;
        self.add(Type { name: body.clone(), doc, place: place.clone(), kind: Kind::Struct(object) });
        Some(Variant { tag, body })
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

    /// The tag of the union that refers to the object at `place`, if one does.
    fn tag_of_reference(&self, place: &Place) -> Option<String> {
        self.bundle.types.values().find_map(|(from, schema)| {
            let tag = schema.pointer("/x-chio-union/tag")?.as_str()?;
            let branches = schema.get("oneOf")?.as_array()?;
            let refers = branches.iter().filter_map(|branch| branch.get("$ref")?.as_str()).any(|reference| {
                let name = self.bundle.resolve(from, reference);
                name.and_then(|name| self.bundle.types.get(name)).is_some_and(|(target, _)| target == place)
            });
            refers.then(|| tag.to_owned())
        })
    }

    fn tag(&mut self, place: &Place, key: &str, property: &Value, required: bool) -> Option<Tag> {
        let schema = property.as_object()?;
        self.allow(place, schema, &["const", "description"]);
        let doc = self.description(place, schema);
        if !required {
            self.refuse(place, "the tag of a union must be required");
        }
        let value = schema.get("const").and_then(Value::as_str)?.to_owned();
        // The union is filled in once all types are known.
        Some(Tag { key: key.to_owned(), value, doc, union: String::new() })
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
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !plain {
            self.refuse(
                place,
                format!("the field name `{name}` is not in snake case, as fields of this protocol are"),
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
        if let (Presence::Optional, Shape::Array { length: crate::model::Length::Any, .. }) =
            (presence, &shape)
        {
            self.refuse(
                place,
                "an optional array needs \"minItems\": 1: absent and empty would be the same in the types, so a \
                 present empty array could not be written back as it came",
            );
        }
        Some(Field { name: name.to_owned(), doc, shape, presence })
    }

    fn enumeration(&mut self, place: &Place, schema: &Object) -> Option<Vec<String>> {
        self.allow(place, schema, keywords::ENUM);
        let values = schema.get("enum")?.as_array()?;
        let texts: Vec<String> = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if texts.len() != values.len() {
            self.refuse(
                &place.at("enum"),
                "lists strings only; for a value that may be null say anyOf of the enumeration and null where it is used",
            );
            return None;
        }
        let idents: BTreeSet<String> = texts.iter().map(|text| pascal(text)).collect();
        let starts_with_letter =
            idents.iter().all(|ident| ident.starts_with(|c: char| c.is_ascii_alphabetic()));
        if idents.len() != texts.len() || !starts_with_letter {
            self.refuse(&place.at("enum"), "the values do not make different names in Pascal case");
            return None;
        }
        Some(texts)
    }

    fn text(&mut self, place: &Place, schema: &Object) -> Option<Text> {
        self.allow(place, schema, keywords::TEXT);
        let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
        let pattern = schema.get("pattern").and_then(Value::as_str).map(str::to_owned);
        let text = Text { min_length: limit("minLength"), max_length: limit("maxLength"), pattern };
        if text.min_length.is_none() && text.max_length.is_none() && text.pattern.is_none() {
            self.refuse(
                place,
                "a named string without a rule says nothing: write \"type\": \"string\" where it is used",
            );
            return None;
        }
        if text.min_length > text.max_length && text.max_length.is_some() {
            self.refuse(place, "`minLength` is above `maxLength`; nothing could ever satisfy the schema");
        }
        if let Some(pattern) = &text.pattern {
            self.pattern(&place.at("pattern"), pattern);
        }
        Some(text)
    }

    /// Patterns are anchored and plain ASCII, so that every engine reads them alike.
    fn pattern(&mut self, place: &Place, pattern: &str) {
        if !pattern.starts_with('^') || !pattern.ends_with('$') || !pattern.is_ascii() {
            self.refuse(place, "a pattern is plain ASCII and anchored with ^ and $");
        } else if pattern.contains('\\') || pattern.contains("(?") {
            self.refuse(
                place,
                "a pattern uses neither escapes nor (?…) groups, which engines read differently",
            );
        } else if let Err(error) = regress::Regex::new(pattern) {
            self.refuse(place, format!("the pattern does not compile: {error}"));
        }
    }

    fn native(&mut self, place: &Place, schema: &Object) -> Option<Native> {
        self.allow(place, schema, keywords::NATIVE);
        let rust = schema.get("x-chio-rust").and_then(Value::as_str).unwrap_or_default();
        let Some((_, pattern)) = NATIVES.iter().find(|(name, _)| *name == rust) else {
            let names: Vec<&str> = NATIVES.iter().map(|(name, _)| *name).collect();
            self.refuse(&place.at("x-chio-rust"), format!("is one of {}", names.join(", ")));
            return None;
        };
        let declared =
            (schema.get("type").and_then(Value::as_str), schema.get("pattern").and_then(Value::as_str));
        if declared != (Some("string"), Some(pattern)) {
            let reason = format!("{rust} reads exactly \"type\": \"string\" with \"pattern\": \"{pattern}\"");
            self.refuse(place, reason);
            return None;
        }
        Some(Native { rust: rust.to_owned() })
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

    /// Joins each branch with its union, and sees to it that nobody else uses it: outside of the union the tag would
    /// have to be a field.
    fn check_branches(&mut self) {
        let mut unions: Vec<(String, Place, Vec<String>, Option<String>)> = Vec::new();
        for declared in self.model.types.values() {
            if let Kind::Union(union) = &declared.kind {
                let bodies = union.variants.iter().map(|variant| variant.body.clone()).collect();
                unions.push((declared.name.clone(), declared.place.clone(), bodies, union.content.clone()));
            }
        }
        let mut branches: BTreeMap<String, String> = BTreeMap::new();
        for (union, union_place, bodies, content) in unions {
            for body in bodies {
                if let Some(other) = branches.insert(body.clone(), union.clone()) {
                    self.refuse(&union_place, format!("{body} is a branch of {other} already"));
                }
                let Some(declared) = self.model.types.get_mut(&body) else { continue };
                let place = declared.place.clone();
                let Kind::Struct(object) = &mut declared.kind else { continue };
                let stray = object.fields.iter().find(|field| {
                    content
                        .as_ref()
                        .is_some_and(|content| *content != field.name || field.presence != Presence::Required)
                });
                let stray = stray.map(|field| field.name.clone());
                if let Some(tag) = &mut object.tag {
                    tag.union.clone_from(&union);
                }
                if object.signed {
                    self.refuse(
                        &place,
                        "a branch of a union cannot be signed: refer to a signed object inside it",
                    );
                }
                if let (Some(content), Some(stray)) = (&content, stray) {
                    let reason = format!(
                        "a branch of {union} holds its tag and at most a required `{content}`, not `{stray}`"
                    );
                    self.refuse(&place, reason);
                }
            }
        }
        let mut used_outside = Vec::new();
        for declared in self.model.types.values() {
            for field in fields(declared) {
                if let Some(name) = named(&field.shape)
                    && let Some(union) = branches.get(name)
                {
                    let place = declared.place.at("properties").at(&field.name);
                    used_outside
                        .push((place, format!("{name} is a branch of {union}; refer to {union} instead")));
                }
            }
        }
        for (place, reason) in used_outside {
            self.refuse(&place, reason);
        }
    }

    /// A type that contains itself has no finite layout in Rust without boxes that the schema does not show.
    fn check_recursion(&mut self) {
        let mut recursive = Vec::new();
        for declared in self.model.types.values() {
            let mut open: Vec<&str> = Vec::new();
            let mut seen = BTreeSet::new();
            open.extend(mentions(declared));
            while let Some(name) = open.pop() {
                if name == declared.name {
                    recursive.push(declared.place.clone());
                    break;
                }
                if seen.insert(name) {
                    open.extend(self.model.types.get(name).into_iter().flat_map(mentions));
                }
            }
        }
        for place in recursive {
            self.refuse(&place, "the type contains itself");
        }
    }
}

/// The types whose values a value of this type holds in decoded form.
fn mentions(declared: &Type) -> Vec<&str> {
    match &declared.kind {
        Kind::Struct(object) => object.fields.iter().filter_map(|field| named(&field.shape)).collect(),
        Kind::Union(union) => union.variants.iter().map(|variant| variant.body.as_str()).collect(),
        Kind::Enum(_) | Kind::Text(_) | Kind::Native(_) => Vec::new(),
    }
}

fn fields(declared: &Type) -> &[Field] {
    match &declared.kind {
        Kind::Struct(object) => &object.fields,
        Kind::Union(_) | Kind::Enum(_) | Kind::Text(_) | Kind::Native(_) => &[],
    }
}

fn named(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::Named(name) => Some(name),
        Shape::Array { items, .. } => named(items),
        Shape::Signed(_) | Shape::Opaque | Shape::Boolean | Shape::Integer { .. } | Shape::String => None,
    }
}

/// The string `const` of a required property.
fn const_of(schema: &Value, property: &str) -> Option<String> {
    let constant = schema.get("properties")?.get(property)?.get("const")?.as_str()?;
    Some(constant.to_owned())
}
