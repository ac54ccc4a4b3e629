//! Reads every schema below `spec/schemas` and gives each type its one name.
//!
//! A file declares the type that its `title` names, and one more for each key of its `$defs`; a file without a
//! shape of its own only holds `$defs`. Names are unique over the whole specification, because every output puts all
//! types into one namespace, and references are resolved here, so that no later step deals in paths.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Where a schema stands: its file, relative to the repository, and a JSON pointer (RFC 6901) into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path of the file with `/` between its parts, for example `spec/schemas/common/primitives.schema.json`.
    pub file: String,
    /// Pointer into the file; empty for the whole of it.
    pub pointer: String,
}

impl Place {
    /// The place of a member or item of the schema that stands here.
    #[must_use]
    pub fn at(&self, step: impl fmt::Display) -> Self {
        let step = step.to_string().replace('~', "~0").replace('/', "~1");
        Self { file: self.file.clone(), pointer: format!("{}/{step}", self.pointer) }
    }

    /// The folder that holds the file, which becomes the module of its types.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.file.rsplit('/').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.file, self.pointer)
    }
}

/// Why a schema is refused: where, and in words that tell what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The schema, or the keyword of it, that is refused.
    pub place: Place,
    /// What is wrong with it and what to write instead.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// All schemas of the specification, each under the name of its type.
pub struct Bundle {
    /// The schema that declares each type, by name.
    pub types: BTreeMap<String, (Place, Value)>,
    /// The name of the type that each declaring place declares.
    names: BTreeMap<Place, String>,
}

impl Bundle {
    /// Bundles schema files, given by their paths from the repository's root. What is refused does not stop it, so
    /// that one run shows everything.
    ///
    /// # Errors
    /// A file that is not JSON, or in which an object names a member twice.
    pub fn read(files: &BTreeMap<String, String>) -> Result<(Self, Vec<Refusal>)> {
        let mut bundle = Self { types: BTreeMap::new(), names: BTreeMap::new() };
        let mut refusals = Vec::new();
        for (file, text) in files {
            let place = Place { file: file.clone(), pointer: String::new() };
            let schema = crate::strict::parse(text).with_context(|| format!("{file} is not JSON"))?;
            if !file.ends_with(".schema.json") {
                refusals.push(Refusal { place, reason: "only files named *.schema.json belong here".into() });
                continue;
            }
            if let Err(error) = jsonschema::meta::validate(&schema) {
                let place = Place { file: file.clone(), pointer: error.instance_path().to_string() };
                refusals
                    .push(Refusal { place, reason: format!("not a JSON Schema of draft 2020-12: {error}") });
                continue;
            }
            bundle.add_file(place, schema, &mut refusals);
        }
        Ok((bundle, refusals))
    }

    fn add_file(&mut self, place: Place, mut schema: Value, refusals: &mut Vec<Refusal>) {
        const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
        let Some(root) = schema.as_object_mut() else {
            refusals.push(Refusal { place, reason: "a schema file holds an object".into() });
            return;
        };
        if root.remove("$schema").is_none_or(|draft| draft != DRAFT) {
            refusals.push(Refusal { place: place.at("$schema"), reason: format!("must be \"{DRAFT}\"") });
        }
        if let Some(Value::Object(definitions)) = root.remove("$defs") {
            for (name, definition) in definitions {
                self.add_type(name.clone(), place.at("$defs").at(&name), definition, refusals);
            }
        }
        if is_type(root) {
            match root.remove("title") {
                Some(Value::String(title)) => self.add_type(title, place, schema, refusals),
                _ => refusals.push(Refusal { place, reason: "missing title: it names the type".into() }),
            }
        }
    }

    fn add_type(&mut self, name: String, place: Place, schema: Value, refusals: &mut Vec<Refusal>) {
        if let Some((other, _)) = self.types.get(&name) {
            let reason =
                format!("the name {name} is taken by {other}; names are unique over the specification");
            refusals.push(Refusal { place, reason });
            return;
        }
        self.names.insert(place.clone(), name.clone());
        self.types.insert(name, (place, schema));
    }

    /// The name of the type that a reference found at `from` points to.
    #[must_use]
    pub fn resolve(&self, from: &Place, reference: &str) -> Option<&str> {
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if path.is_empty() { from.file.clone() } else { relative(&from.file, path)? };
        let declares = Place { file, pointer: fragment.to_owned() };
        self.names.get(&declares).map(String::as_str)
    }
}

/// A file that only holds `$defs` declares no type of its own; a description of the file may stand beside them.
fn is_type(schema: &Map<String, Value>) -> bool {
    schema.keys().any(|keyword| !matches!(keyword.as_str(), "description"))
}

/// Resolves `path` against the folder of `file`; `None` when it leaves the repository.
fn relative(file: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}
