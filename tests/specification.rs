//! The schemas of the specification, as the judge of the tests reads them.

#![allow(dead_code)] // Each test needs another part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jsonschema::{Registry, Resource, Validator};
use serde_json::{Value, json};

/// Where the schemas pretend to stand, so that their relative references resolve.
const BASE: &str = "https://specification.invalid/";

/// All schema files, and the address of every type.
pub(crate) struct Specification {
    files: BTreeMap<String, Value>,
    types: BTreeMap<String, String>,
    registry: Registry<'static>,
}

impl Specification {
    pub(crate) fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/schemas");
        let mut paths = Vec::new();
        collect(&folder, &mut paths);
        let (mut files, mut types, mut registry) = (BTreeMap::new(), BTreeMap::new(), Registry::new());
        for path in paths {
            let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let address = format!("{BASE}{}", path.strip_prefix(&folder).unwrap().to_str().unwrap());
            if let Some(title) = schema["title"].as_str() {
                types.insert(title.to_owned(), address.clone());
            }
            for name in schema["$defs"].as_object().into_iter().flatten().map(|(name, _)| name) {
                types.insert(name.clone(), format!("{address}#/$defs/{name}"));
            }
            registry = registry.add(&address, Resource::from_contents(schema.clone())).unwrap();
            files.insert(address, schema);
        }
        Self { files, types, registry: registry.prepare().unwrap() }
    }

    pub(crate) fn validator(&self, name: &str) -> Validator {
        let schema = json!({"$ref": self.types[name]});
        jsonschema::options().with_registry(&self.registry).build(&schema).unwrap()
    }

    /// The schema of a type, with the address that its references start from.
    pub(crate) fn schema(&self, name: &str) -> (String, &Value) {
        self.at(&self.types[name])
    }

    /// The schema that a reference points to.
    pub(crate) fn follow(&self, from: &str, reference: &str) -> (String, &Value) {
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let mut parts: Vec<&str> = from.strip_prefix(BASE).unwrap().split('/').collect();
        if !path.is_empty() {
            parts.pop();
            for part in path.split('/') {
                match part {
                    ".." => drop(parts.pop()),
                    name => parts.push(name),
                }
            }
        }
        self.at(&format!("{BASE}{}#{fragment}", parts.join("/")))
    }

    /// Everything that a document can be an example of: every type, and every branch of every union.
    pub(crate) fn everything(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self.types.keys().cloned().collect();
        for (name, address) in &self.types {
            let (file, schema) = self.at(address);
            for branch in schema["oneOf"].as_array().into_iter().flatten() {
                let (_, branch) = self.resolved(&file, branch);
                all.insert(format!("{name}.{}", tag_of(branch, schema)));
            }
        }
        all
    }

    /// Adds to `seen` everything that a valid document of a type is an example of.
    pub(crate) fn examples(&self, name: &str, document: &Value, seen: &mut BTreeSet<String>) {
        let (file, schema) = self.schema(name);
        seen.insert(name.to_owned());
        self.walk(&file, schema, document, seen);
    }

    fn walk(&self, file: &str, schema: &Value, document: &Value, seen: &mut BTreeSet<String>) {
        if schema["$ref"].is_string() {
            let (file, schema) = self.resolved(file, schema);
            if let Some(name) = self.name_of(&file, schema) {
                seen.insert(name);
            }
            return self.walk(&file, schema, document, seen);
        }
        for branch in schema["oneOf"].as_array().into_iter().flatten() {
            let (branch_file, branch_schema) = self.resolved(file, branch);
            let tag = schema["x-chio-union"]["tag"].as_str().unwrap();
            if branch_schema["properties"][tag]["const"] == document[tag] {
                if let Some(name) = self.name_of(file, schema) {
                    seen.insert(format!("{name}.{}", document[tag].as_str().unwrap()));
                }
                seen.extend(self.name_of(&branch_file, branch_schema));
                self.walk(&branch_file, branch_schema, document, seen);
            }
        }
        for branch in schema["anyOf"].as_array().into_iter().flatten() {
            if !document.is_null() {
                self.walk(file, branch, document, seen);
            }
        }
        for (name, member) in document.as_object().into_iter().flatten() {
            if let Some(schema) = schema["properties"].get(name) {
                self.walk(file, schema, member, seen);
            }
        }
        for item in document.as_array().into_iter().flatten() {
            self.walk(file, &schema["items"], item, seen);
        }
    }

    fn resolved<'s>(&'s self, file: &str, schema: &'s Value) -> (String, &'s Value) {
        match schema["$ref"].as_str() {
            Some(reference) => self.follow(file, reference),
            None => (file.to_owned(), schema),
        }
    }

    /// Names are unique over the specification, so title and content tell which type a schema is.
    fn name_of(&self, file: &str, schema: &Value) -> Option<String> {
        if let Some(title) = schema["title"].as_str() {
            return Some(title.to_owned());
        }
        let definitions = self.files[file]["$defs"].as_object()?;
        definitions.iter().find(|(_, definition)| *definition == schema).map(|(name, _)| name.clone())
    }

    /// The types that are no branch of a union; those are compared as part of it.
    pub(crate) fn names_outside_unions(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.types.keys().cloned().collect();
        for address in self.types.values() {
            let (file, schema) = self.at(address);
            for branch in schema["oneOf"].as_array().into_iter().flatten() {
                let (_, body) = self.resolved(&file, branch);
                body["title"].as_str().map(|title| names.remove(title));
            }
        }
        names
    }

    fn at(&self, address: &str) -> (String, &Value) {
        let (file, pointer) = address.split_once('#').unwrap_or((address, ""));
        (file.to_owned(), self.files[file].pointer(pointer).unwrap())
    }
}

fn tag_of(branch: &Value, union: &Value) -> String {
    let tag = union["x-chio-union"]["tag"].as_str().unwrap();
    branch["properties"][tag]["const"].as_str().unwrap().to_owned()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}
