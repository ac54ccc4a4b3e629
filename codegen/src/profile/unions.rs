//! Tagged unions: closed objects that one member tells apart.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Object, Reader, keywords};
use crate::bundle::Place;
use crate::model::{Kind, Tag, Type, Union, Variant, pascal};

impl Reader<'_> {
    /// A union: `oneOf` closed objects that all hold the tag.
    pub(super) fn union(&mut self, name: &str, place: &Place, schema: &Object) -> Option<Union> {
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
    pub(super) fn branch(
        &mut self,
        union_name: &str,
        union: &Union,
        place: &Place,
        branch: &Value,
    ) -> Option<Variant> {
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

    /// The tag of the union that refers to the object at `place`, if one does.
    pub(super) fn tag_of_reference(&self, place: &Place) -> Option<String> {
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

    pub(super) fn tag(&mut self, place: &Place, key: &str, property: &Value, required: bool) -> Option<Tag> {
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
}

/// The string `const` of a required property.
fn const_of(schema: &Value, property: &str) -> Option<String> {
    let constant = schema.get("properties")?.get(property)?.get("const")?.as_str()?;
    Some(constant.to_owned())
}
