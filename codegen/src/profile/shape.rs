//! What a field, an array's item or a union's content may be.

use serde_json::{Value, json};

use super::{Object, Reader};
use crate::bundle::Place;
use crate::model::{Length, MAX_SAFE_INTEGER, Shape};

impl Reader<'_> {
    /// The shape of a field, and whether it may be null besides.
    pub(super) fn nullable_shape(&mut self, place: &Place, schema: &Object) -> Option<(Shape, bool)> {
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            self.allow(place, schema, &["anyOf", "description"]);
            let null = json!({"type": "null"});
            return match branches.as_slice() {
                [inner, last] if *last == null => {
                    let place = place.at("anyOf").at(0);
                    let inner = inner.as_object().or_else(|| {
                        self.refuse(&place, "is a schema object");
                        None
                    })?;
                    self.shape(&place, inner).map(|shape| (shape, true))
                }
                _ => {
                    self.refuse(
                        &place.at("anyOf"),
                        "is one schema and, second, {\"type\": \"null\"}; make other choices a union",
                    );
                    None
                }
            };
        }
        if let Some(types) = schema.get("type").and_then(Value::as_array) {
            return match types.as_slice() {
                [Value::String(only), Value::String(null)] if null == "null" && only != "null" => {
                    let mut schema = schema.clone();
                    schema.insert("type".into(), only.as_str().into());
                    self.shape(place, &schema).map(|shape| (shape, true))
                }
                _ => {
                    self.refuse(&place.at("type"), "is one type, or one type and, second, \"null\"");
                    None
                }
            };
        }
        self.shape(place, schema).map(|shape| (shape, false))
    }

    fn shape(&mut self, place: &Place, schema: &Object) -> Option<Shape> {
        if let Some(reference) = schema.get("$ref") {
            self.allow(place, schema, &["$ref", "description"]);
            let name = self.reference(place, reference)?;
            let signed =
                self.bundle.types.get(&name).is_some_and(|(_, target)| target.get("x-chio-signed").is_some());
            return Some(if signed { Shape::Signed(name) } else { Shape::Named(name) });
        }
        if let Some(marker) = schema.get("x-chio-opaque") {
            self.allow(place, schema, &["x-chio-opaque", "description"]);
            if *marker != json!(true) {
                self.refuse(&place.at("x-chio-opaque"), "is true or left out");
            }
            return Some(Shape::Opaque);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("boolean") => self.allow(place, schema, &["type", "description"]).then_some(Shape::Boolean),
            Some("string") => self.allow(place, schema, &["type", "description"]).then_some(Shape::String),
            Some("integer") => self.integer(place, schema),
            Some("array") => self.array(place, schema),
            Some("number") => {
                self.refuse(
                    place,
                    "floating-point numbers have no exact text; use an integer in a smaller unit",
                );
                None
            }
            Some("object") => {
                self.refuse(place, "an object has a name of its own: put it under $defs and refer to it");
                None
            }
            Some("null") => {
                self.refuse(place, "a value that is always null says nothing");
                None
            }
            _ => {
                if self.allow(place, schema, &["description", "type"]) {
                    self.refuse(
                        place,
                        "says nothing about its values: give it a type, or `x-chio-opaque` for any JSON",
                    );
                }
                None
            }
        }
    }

    /// The name of the type that a `$ref` points to.
    pub(super) fn reference(&mut self, place: &Place, reference: &Value) -> Option<String> {
        let reference = reference.as_str().unwrap_or_default();
        let name = self.bundle.resolve(place, reference).map(str::to_owned);
        if name.is_none() {
            self.refuse(&place.at("$ref"), format!("dangling reference: `{reference}` declares no type"));
        }
        name
    }

    fn integer(&mut self, place: &Place, schema: &Object) -> Option<Shape> {
        let known = self.allow(place, schema, &["type", "minimum", "maximum", "description"]);
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
        match (bound("minimum"), bound("maximum")) {
            (Some(min), Some(max)) if min <= max && max <= MAX_SAFE_INTEGER => {
                known.then_some(Shape::Integer { min, max })
            }
            _ => {
                self.refuse(
                    place,
                    "an integer needs a `minimum` of at least 0 and a `maximum` of at most 9007199254740991 (2^53 − 1), \
                     beyond which JSON implementations round",
                );
                None
            }
        }
    }

    fn array(&mut self, place: &Place, schema: &Object) -> Option<Shape> {
        let known = self.allow(place, schema, &["type", "items", "minItems", "maxItems", "description"]);
        let limit = |keyword: &str| schema.get(keyword).map(|value| value.as_u64().unwrap_or(u64::MAX));
        let length = match (limit("minItems"), limit("maxItems")) {
            (None, None) => Length::Any,
            (Some(1), None) => Length::NonEmpty,
            (Some(min), Some(max)) if min == max && (1..=32).contains(&min) => Length::Exactly(min),
            _ => {
                self.refuse(
                    place,
                    "an array has \"minItems\": 1, or equal `minItems` and `maxItems` up to 32, or neither",
                );
                return None;
            }
        };
        let items_place = place.at("items");
        let Some(items) = schema.get("items").and_then(Value::as_object) else {
            self.refuse(&items_place, "an array says what its items are");
            return None;
        };
        let items = self.shape(&items_place, items)?;
        match items {
            Shape::Array { .. } => {
                self.refuse(
                    &items_place,
                    "an array of arrays has no names to speak of; name an object around the inner one",
                );
                None
            }
            Shape::Integer { .. } => {
                self.refuse(&items_place, "bounds of integers inside an array are not checked by the types; name an object around them");
                None
            }
            items => known.then(|| Shape::Array { items: Box::new(items), length }),
        }
    }
}
