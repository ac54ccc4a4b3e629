//! Lays out a file: head, imports of what its items name, items with a blank line between.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use syn::Item;
use syn::visit_mut::{self, VisitMut};

use crate::model::{Kind, Model};
use crate::outputs::RUST_HEAD;

/// What generated code may name besides the model's types, in the order of the import blocks.
const KNOWN: &[(&str, &[&str])] = &[
    ("std", &["std::fmt", "std::ops::Deref", "std::str::FromStr", "std::sync::LazyLock"]),
    (
        "external",
        &[
            "chio_json::Json",
            "chio_json::MerkleHash",
            "chio_json::PublicKeyHex",
            "chio_json::Sha256Hex",
            "chio_json::SignatureHex",
            "chio_json::Signed",
            "chio_json::wire",
            "chio_json::wire::InvalidValue",
            "regress::Regex",
            "serde::Deserialize",
            "serde::Deserializer",
            "serde::Serialize",
            "serde::Serializer",
        ],
    ),
];

/// One source file of these items.
///
/// # Errors
/// Never, unless the generator made something that is not Rust.
pub(super) fn file(about: &str, model: &Model, items: &[Item]) -> Result<String> {
    let mut text = format!("{RUST_HEAD}//! {about}\n\n");
    text.push_str(&imports(model, items)?);
    let is_line = |item: &Item| matches!(item, Item::Mod(_) | Item::Use(_));
    for (index, item) in items.iter().enumerate() {
        let previous = index.checked_sub(1).and_then(|index| items.get(index));
        let same_block = previous.is_some_and(|previous| {
            is_line(previous) && std::mem::discriminant(previous) == std::mem::discriminant(item)
        });
        if previous.is_some() && !same_block {
            text.push('\n');
        }
        text.push_str(&space_out(&print(item.clone())));
    }
    Ok(format!("{}\n", text.trim_end()))
}

fn print(item: Item) -> String {
    prettyplease::unparse(&syn::File {
        shebang: None,
        frontmatter: None,
        attrs: Vec::new(),
        items: vec![item],
    })
}

fn imports(model: &Model, items: &[Item]) -> Result<String> {
    let mut used = Used(BTreeSet::new());
    let mut declared = BTreeSet::new();
    for item in items {
        used.visit_item_mut(&mut item.clone());
        match item {
            Item::Struct(found) => drop(declared.insert(found.ident.to_string())),
            Item::Enum(found) => drop(declared.insert(found.ident.to_string())),
            _ => {}
        }
    }
    let named = used.0;
    let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
    let mut blocks: Vec<Vec<String>> = Vec::new();
    for (_, paths) in KNOWN {
        blocks.push(
            paths.iter().filter(|path| named.contains(&last(path))).map(|path| (*path).to_owned()).collect(),
        );
    }
    let ours = model.types.values().filter(|found| !matches!(found.kind, Kind::Native(_)));
    let ours =
        ours.map(|found| &found.name).filter(|name| named.contains(*name) && !declared.contains(*name));
    blocks.push(ours.map(|name| format!("crate::{name}")).collect());

    let mut text = String::new();
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        for line in grouped(block) {
            let import = syn::parse_str(&line).with_context(|| format!("importing {line}"))?;
            text.push_str(&print(import));
        }
        text.push('\n');
    }
    Ok(text)
}

/// One `use` for all paths of one parent.
fn grouped(paths: &[String]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for path in paths {
        let (parent, name) = path.rsplit_once("::").unwrap_or(("", path));
        match lines.iter_mut().find(|(other, _)| other == parent) {
            Some((_, names)) => names.push(name.to_owned()),
            None => lines.push((parent.to_owned(), vec![name.to_owned()])),
        }
    }
    let line = |(parent, names): (String, Vec<String>)| match names.as_slice() {
        [only] => format!("use {parent}::{only};"),
        several => format!("use {parent}::{{{}}};", several.join(", ")),
    };
    lines.into_iter().map(line).collect()
}

/// The first names of all paths. (syn can walk a tree by shared reference too, but that is one more feature to build.)
struct Used(BTreeSet<String>);

impl VisitMut for Used {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        visit_mut::visit_path_mut(self, path);
        self.0.extend(path.segments.first().map(|first| first.ident.to_string()));
    }

    /// serde's attributes name functions in strings, and derives name traits.
    fn visit_meta_list_mut(&mut self, list: &mut syn::MetaList) {
        let tokens = list.tokens.to_string();
        if tokens.contains("\"wire::") {
            self.0.insert("wire".to_owned());
        }
        if list.path.is_ident("derive") {
            self.0.extend(tokens.split(',').map(|name| name.trim().to_owned()));
        }
    }
}

/// Sets a blank line between the members of an `impl`, as a person would; prettyplease sets none.
fn space_out(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let ends = line == "    }"
            || (line.ends_with(';') && (line.starts_with("    type ") || line.starts_with("    pub const ")));
        if ends && lines.peek().is_some_and(|next| next.starts_with("    ") && !next.starts_with("    }")) {
            out.push('\n');
        }
    }
    out
}
