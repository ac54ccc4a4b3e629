//! The crate `chio-spec`: wire types, error registry, negotiation constants.
//!
//! Its manifest is `runtime/spec/Cargo.toml`, outside of `generated/`: cargo loads no workspace in which a member's
//! manifest is missing, and the generator must run when `generated/` is gone.

mod errors;
mod imports;
mod objects;
mod polish;
mod strings;
mod unions;
mod versions;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Item;

use crate::lower;
use crate::model::{Kind, Model, NATIVES, Type};
use crate::negotiation::Negotiation;
use crate::outputs::Outputs;
use crate::registry::Registry;

/// Writes the sources of the crate.
///
/// # Errors
/// A fault of the generator: what it made is not Rust.
pub fn emit(
    model: &Model,
    registry: &Registry,
    negotiation: &Negotiation,
    outputs: &mut Outputs,
) -> Result<()> {
    let mut modules: BTreeMap<&str, Vec<Item>> = BTreeMap::new();
    let mut declarations = lower::declarations(model)?;
    for declared in model.types.values() {
        let items = items(model, declared, declarations.remove(&declared.name))
            .with_context(|| format!("rendering {} of {}", declared.name, declared.place))?;
        modules.entry(declared.place.folder()).or_default().extend(items);
    }
    modules.retain(|_, items| !items.is_empty());
    for (module, items) in &modules {
        let about = format!("Types of `{}`.", folder_of(model, module));
        let text = imports::file(&about, model, items)?;
        outputs.add(format!("rust/src/types/{module}.rs"), text);
    }

    let names: Vec<_> = modules.keys().map(|module| format_ident!("{module}")).collect();
    let mods: Vec<Item> = syn::parse2::<syn::File>(quote! { #(mod #names;)* #(pub use #names::*;)* })?.items;
    outputs.add(
        "rust/src/types.rs",
        imports::file("The types of the wire, one module for each folder of schemas.", model, &mods)?,
    );
    outputs.add("rust/src/errors.rs", errors::emit(model, registry)?);
    outputs.add("rust/src/versions.rs", versions::emit(negotiation)?);
    outputs.add("rust/src/lib.rs", lib(model));
    Ok(())
}

/// The Rust of one schema's types as one file, for the golden pairs of the generator's tests.
///
/// # Errors
/// As [`emit`].
pub fn single_file(model: &Model) -> Result<String> {
    let mut all = Vec::new();
    let mut declarations = lower::declarations(model)?;
    for declared in model.types.values() {
        all.extend(items(model, declared, declarations.remove(&declared.name))?);
    }
    imports::file("Types of one schema.", model, &all)
}

/// The items of one type: its declaration and what stands beside it.
fn items(model: &Model, declared: &Type, declaration: Option<Item>) -> Result<Vec<Item>> {
    let tokens = match (&declared.kind, declaration) {
        (Kind::Struct(object), Some(Item::Struct(found))) => objects::emit(model, declared, object, &found)?,
        (Kind::Union(union), None) => unions::emit(model, declared, union)?,
        (Kind::Enum(values), Some(Item::Enum(found))) => strings::enumeration(declared, values, &found)?,
        (Kind::Text(text), Some(Item::Struct(found))) => strings::text(declared, text, &found)?,
        (Kind::Native(_) | Kind::Struct(_), None) => return Ok(Vec::new()),
        (_, Some(_)) => anyhow::bail!("typify declared it as something else than the schema does"),
        (_, None) => anyhow::bail!("typify declared nothing for it"),
    };
    let mut file: syn::File = syn::parse2(tokens).context("the generated items are not Rust")?;
    polish::polish(&mut file);
    Ok(file.items)
}

/// The folder of a module, as it is named in the head of its file.
fn folder_of<'a>(model: &'a Model, module: &str) -> &'a str {
    let mut files = model.types.values().map(|declared| declared.place.file.as_str());
    let file = files.find(|file| file.rsplit('/').nth(1) == Some(module)).unwrap_or_default();
    file.rsplit_once('/').map_or(file, |(folder, _)| folder)
}

/// A documentation comment of any length.
fn docs(text: &str) -> TokenStream {
    const WIDTH: usize = 100;
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + word.chars().count() >= WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push(line);
    }
    quote!(#(#[doc = #lines])*)
}

/// The crate's root. It is text because rustfmt must find nothing to change in it; the modules that prettyplease
/// laid out are skipped by rustfmt.
fn lib(model: &Model) -> String {
    let natives = NATIVES.iter().map(|(name, _)| *name);
    let natives = natives.filter(|name| {
        model
            .types
            .values()
            .any(|declared| matches!(&declared.kind, Kind::Native(native) if native.rust == *name))
    });
    let mut json: Vec<&str> = natives.chain(["Json", "Signed"]).collect();
    json.sort_unstable();
    format!(
        "{head}//! Wire types, error registry and negotiation constants of the Chio protocol.\n\
         //!\n\
         //! Everything here is generated from `spec/`; `generated/docs/protocol.md` describes the same types as tables.\n\
         //! Types write their fields in canonical order, so what `serde_json::to_string` makes of them is canonical\n\
         //! unless an opaque value inside was not. They are read by `serde_json` only, because opaque values and\n\
         //! signed objects keep the text they arrived in.\n\
         \n\
         #[rustfmt::skip]\n\
         mod errors;\n\
         #[rustfmt::skip]\n\
         mod types;\n\
         #[rustfmt::skip]\n\
         pub mod versions;\n\
         \n\
         pub use chio_json::wire::InvalidValue;\n\
         pub use chio_json::{{{json}}};\n\
         pub use errors::{{Category, ErrorCode, Retry}};\n\
         pub use types::*;\n",
        head = crate::outputs::RUST_HEAD,
        json = json.join(", "),
    )
}
