//! Whether `generated/` is what the generator makes of the present `spec/`, told from digests alone.
//!
//! The build script of the root package asks this. It cannot generate: it runs after the crates it would write were
//! built, and must not write into the source tree. So it verifies, and names the command that mends what it refuses.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::{digest, tree};

/// The command that brings `generated/` up to date.
pub(crate) const MEND: &str = "cargo run -p chio-codegen";
/// The file below `generated/` that holds the digests.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// The folders of `spec/` that the generator reads; prose and vectors are not among them.
const SPEC: &[&str] = &["spec/errors", "spec/meta", "spec/schemas", "spec/versions"];

/// Why `generated/` cannot be trusted.
#[derive(Debug)]
pub struct Stale {
    what: String,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; run `{MEND}`", self.what)
    }
}

impl std::error::Error for Stale {}

/// The digest of the specification, once everything in `generated/` was found to belong to it.
///
/// # Errors
/// What is stale: `generated/` was made from another specification or by another generator, or a file in it was
/// edited, added or removed.
pub fn freshness(root: &Path) -> Result<String, Stale> {
    let stale = |what: String| Stale { what };
    let unreadable =
        |what: &str, error: &io::Error| Stale { what: format!("{what} cannot be read ({error})") };

    let manifest = std::fs::read_to_string(root.join("generated").join(MANIFEST))
        .map_err(|error| unreadable("generated/MANIFEST", &error))?;
    let (inputs, files) = parse(&manifest);
    let spec = spec_digest(root).map_err(|error| unreadable("spec/", &error))?;
    if inputs.get("spec") != Some(&spec.as_str()) {
        return Err(stale("generated/ was made from another spec/".into()));
    }
    let generator = generator_digest(root).map_err(|error| unreadable("codegen/", &error))?;
    if inputs.get("codegen") != Some(&generator.as_str()) {
        return Err(stale("generated/ was made by another codegen/".into()));
    }
    let mut found = tree::files(&root.join("generated")).map_err(|error| unreadable("generated/", &error))?;
    found.retain(|file| file != MANIFEST);
    for file in &found {
        let content = std::fs::read(root.join("generated").join(file))
            .map_err(|error| unreadable(&format!("generated/{file}"), &error))?;
        match files.get(file.as_str()) {
            None => return Err(stale(format!("generated/{file} was not made by the generator"))),
            Some(expected) if *expected != digest::of(&content) => {
                return Err(stale(format!("generated/{file} was edited by hand")));
            }
            Some(_) => {}
        }
    }
    match files.keys().find(|file| found.binary_search_by(|found| found.as_str().cmp(file)).is_err()) {
        Some(missing) => Err(stale(format!("generated/{missing} is missing"))),
        None => Ok(spec),
    }
}

/// The digest of the part of `spec/` that the generator reads.
pub(crate) fn spec_digest(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in SPEC {
        files.extend(tree::files(&root.join(folder))?.into_iter().map(|file| format!("{folder}/{file}")));
    }
    digest::of_files(root, &files)
}

/// The digest of the generator's own sources.
pub(crate) fn generator_digest(root: &Path) -> io::Result<String> {
    let mut files = vec!["codegen/Cargo.toml".to_owned()];
    files.extend(
        tree::files(&root.join("codegen/src"))?.into_iter().map(|file| format!("codegen/src/{file}")),
    );
    digest::of_files(root, &files)
}

/// The two kinds of lines: `spec DIGEST`, `codegen DIGEST`, and `file DIGEST PATH`.
fn parse(manifest: &str) -> (BTreeMap<&str, &str>, BTreeMap<&str, &str>) {
    let (mut inputs, mut files) = (BTreeMap::new(), BTreeMap::new());
    for line in manifest.lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("file"), Some(digest), Some(path)) => drop(files.insert(path, digest)),
            (Some(input @ ("spec" | "codegen")), Some(digest), None) => drop(inputs.insert(input, digest)),
            _ => {}
        }
    }
    (inputs, files)
}
