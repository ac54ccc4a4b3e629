//! What can be seen only when every type is known: whose branch an object is, and whether a type contains itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::bundle::Place;
use crate::model::{Field, Kind, Presence, Shape, Type};

impl Reader<'_> {
    /// Joins each branch with its union, and sees to it that nobody else uses it: outside of the union the tag would
    /// have to be a field.
    pub(super) fn check_branches(&mut self) {
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
    pub(super) fn check_recursion(&mut self) {
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
