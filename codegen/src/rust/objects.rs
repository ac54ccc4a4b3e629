//! Closed objects: typify's struct with exact serde attributes, a constructor of the required fields and a setter
//! for each optional one.

use anyhow::{Context, Result, ensure};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{ItemStruct, Type as RustType};

use super::docs;
use crate::lower;
use crate::model::{Field, Kind, Length, MAX_SAFE_INTEGER, Model, Presence, Shape, Struct, Type};

pub(super) fn emit(
    model: &Model,
    declared: &Type,
    object: &Struct,
    found: &ItemStruct,
) -> Result<TokenStream> {
    let name = &found.ident;
    let types: Vec<RustType> = found.fields.iter().map(|field| field.ty.clone()).collect();
    let idents: Vec<syn::Ident> = found
        .fields
        .iter()
        .map(|field| field.ident.clone().context("a field without a name"))
        .collect::<Result<_>>()?;
    ensure!(
        types.len() == object.fields.len(),
        "typify found {} fields of {}",
        types.len(),
        object.fields.len()
    );

    let doc = docs(&declared.doc);
    let eq = is_eq(model, &declared.name).then(|| quote!(Eq,));
    let no_required = object.fields.iter().all(|field| field.presence == Presence::Optional);
    let default = no_required.then(|| quote!(Default,));
    let fields = object.fields.iter().zip(&idents).zip(&types).map(|((field, ident), rust)| {
        let (doc, serde) = (docs(&field.doc), serde(field, &ident.to_string()));
        quote!(#doc #serde pub #ident: #rust)
    });
    let methods = methods(object, &idents, &types);
    Ok(quote! {
        #doc
        #[derive(Clone, Debug, #default PartialEq, #eq Serialize, Deserialize)]
        #[serde(remote = "Self", deny_unknown_fields)]
        #[non_exhaustive]
        pub struct #name { #(#fields,)* }

        impl #name { #(#methods)* }

        impl Serialize for #name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for #name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(wire::ObjectOnly(deserializer))
            }
        }
    })
}

/// What serde must know of a field besides its type.
fn serde(field: &Field, ident: &str) -> TokenStream {
    let mut parts: Vec<TokenStream> = Vec::new();
    if ident != field.name {
        let name = &field.name;
        parts.push(quote!(rename = #name));
    }
    let list = matches!(&field.shape, Shape::Array { length: Length::NonEmpty | Length::Any, .. });
    let (read, write) = checks(field, list);
    if field.presence == Presence::Optional {
        let skip = if list { "Vec::is_empty" } else { "Option::is_none" };
        parts.push(quote!(default));
        parts.push(quote!(skip_serializing_if = #skip));
    }
    match (&field.shape, field.presence) {
        (Shape::Integer { min: 0, max: MAX_SAFE_INTEGER }, presence) => {
            let module = match presence {
                Presence::Required => "wire::safe_integer",
                Presence::Optional => "wire::safe_integer::optional",
                Presence::Nullable => "wire::safe_integer::nullable",
            };
            parts.push(quote!(with = #module));
        }
        _ => {
            parts.extend(read.map(|read| quote!(deserialize_with = #read)));
            parts.extend(write.map(|write| quote!(serialize_with = #write)));
        }
    }
    if parts.is_empty() { TokenStream::new() } else { quote!(#[serde(#(#parts),*)]) }
}

/// The functions that read and write a field, where its type alone does not check all that the schema says.
fn checks(field: &Field, list: bool) -> (Option<String>, Option<String>) {
    let bounds = match field.shape {
        Shape::Integer { min, max } if min > 0 || !lower::fills_its_type(max) => Some((min, max)),
        _ => None,
    };
    if let Some((min, max)) = bounds {
        let function = |name: &str| Some(format!("wire::integer::{name}::<{min}, {max}, _>"));
        return match field.presence {
            Presence::Required => (function("read"), function("write")),
            Presence::Optional => (function("read_present"), function("write_option")),
            Presence::Nullable => (function("read_nullable"), function("write_option")),
        };
    }
    let non_empty = matches!(&field.shape, Shape::Array { length: Length::NonEmpty, .. });
    let read = match field.presence {
        Presence::Required if non_empty => Some("wire::non_empty"),
        Presence::Required => None,
        Presence::Optional if list => Some("wire::non_empty"),
        Presence::Optional => Some("wire::present"),
        Presence::Nullable => Some("wire::nullable"),
    };
    (read.map(str::to_owned), None)
}

fn methods(object: &Struct, idents: &[syn::Ident], types: &[RustType]) -> Vec<TokenStream> {
    let mut parameters = Vec::new();
    let mut values = Vec::new();
    let mut setters = Vec::new();
    for ((field, ident), rust) in object.fields.iter().zip(idents).zip(types) {
        if field.presence != Presence::Optional {
            let plain_text = field.presence == Presence::Required && matches!(field.shape, Shape::String);
            parameters.push(if plain_text {
                quote!(#ident: impl Into<String>)
            } else {
                quote!(#ident: #rust)
            });
            values.push(if plain_text { quote!(#ident: #ident.into()) } else { quote!(#ident) });
            continue;
        }
        let list = matches!(&field.shape, Shape::Array { length: Length::NonEmpty | Length::Any, .. });
        values.push(if list { quote!(#ident: Vec::new()) } else { quote!(#ident: None) });
        let setter = format_ident!("with_{}", ident.to_string().trim_start_matches("r#"));
        let doc = docs(&format!("Sets `{}`. {}", field.name, field.doc));
        let (parameter, value) = match (&field.shape, inner(rust)) {
            (Shape::String, _) => (quote!(impl Into<String>), quote!(Some(value.into()))),
            (_, Some(inner)) if !list => (quote!(#inner), quote!(Some(value))),
            _ => (quote!(#rust), quote!(value)),
        };
        setters.push(quote! {
            #doc
            #[must_use]
            pub fn #setter(mut self, value: #parameter) -> Self {
                self.#ident = #value;
                self
            }
        });
    }
    let doc = match (parameters.len(), setters.len()) {
        (0, _) => docs("A value with every field absent."),
        (_, 0) => docs("A value of all its fields."),
        _ => docs("A value of the required fields; the optional ones are absent until they are set."),
    };
    let many = (parameters.len() > 7).then(|| {
        let reason = Literal::string("one parameter for each required field of the schema");
        quote!(#[allow(clippy::too_many_arguments, reason = #reason)])
    });
    let new = quote! {
        #doc
        #[must_use]
        #many
        pub fn new(#(#parameters),*) -> Self {
            Self { #(#values),* }
        }
    };
    std::iter::once(new).chain(setters).collect()
}

/// The `T` of an `Option<T>`.
fn inner(rust: &RustType) -> Option<RustType> {
    let RustType::Path(path) = rust else { return None };
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (last.ident == "Option", arguments.args.first()?) {
        (true, syn::GenericArgument::Type(inner)) => Some(inner.clone()),
        _ => None,
    }
}

/// Whether equality of a type's values is total and structural; values kept as text are equal only by their text.
pub(super) fn is_eq(model: &Model, name: &str) -> bool {
    let shape_is_eq = |shape: &Shape| match shape {
        Shape::Named(name) => is_eq(model, name),
        Shape::Array { items, .. } => match &**items {
            Shape::Named(name) => is_eq(model, name),
            items => !items.keeps_text(),
        },
        other => !other.keeps_text(),
    };
    match model.types.get(name).map(|declared| &declared.kind) {
        Some(Kind::Struct(object)) => object.fields.iter().all(|field| shape_is_eq(&field.shape)),
        Some(Kind::Union(union)) => union.variants.iter().all(|variant| is_eq(model, &variant.body)),
        Some(Kind::Enum(_) | Kind::Text(_) | Kind::Native(_)) => true,
        None => false,
    }
}
