//! Enumerations, constrained strings, and strings that `chio-json` decodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Object, Reader, keywords};
use crate::bundle::Place;
use crate::model::{NATIVES, Native, Text, pascal};

impl Reader<'_> {
    pub(super) fn enumeration(&mut self, place: &Place, schema: &Object) -> Option<Vec<String>> {
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

    pub(super) fn text(&mut self, place: &Place, schema: &Object) -> Option<Text> {
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
    pub(super) fn pattern(&mut self, place: &Place, pattern: &str) {
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

    pub(super) fn native(&mut self, place: &Place, schema: &Object) -> Option<Native> {
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
}
