//! Tagged unions: an exhaustive enum that is decoded from text, tag first, and writes the tag at its sorted place.
//!
//! typify would leave the tag of referenced branches unchecked, and serde's derived tagged enums would buffer every
//! value, reject raw text inside and accept unknown fields in variants without fields.

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{docs, objects};
use crate::lower;
use crate::model::{Length, Model, Shape, Type, Union, Variant, pascal};

pub(super) fn emit(model: &Model, declared: &Type, union: &Union) -> Result<TokenStream> {
    let name = format_ident!("{}", declared.name);
    let doc = docs(&declared.doc);
    let eq = objects::is_eq(model, &declared.name).then(|| quote!(, Eq));
    let arms =
        union.variants.iter().map(|variant| Arm::new(model, union, variant)).collect::<Result<Vec<_>>>()?;
    let variants = arms.iter().map(Arm::declaration);
    let reads = arms.iter().map(Arm::read);
    let writes = arms.iter().map(|arm| arm.write(union));
    let tags = arms.iter().map(|arm| &arm.tag);
    let tag = &union.tag;
    let tags_doc = docs(&format!("The values of `{tag}`, in the order of the variants."));
    let scan = match &union.content {
        None => quote!(wire::Tagged::scan(#tag, text)?),
        Some(content) => quote!(wire::Adjacent::scan(#tag, #content, text)?),
    };
    Ok(quote! {
        #doc
        #[derive(Clone, Debug, PartialEq #eq)]
        pub enum #name { #(#variants,)* }

        impl #name {
            #tags_doc
            pub const TAGS: &'static [&'static str] = &[#(#tags),*];

            /// Reads the tag first, then decodes the variant that it names straight from the text.
            ///
            /// # Errors
            /// A text that is not one JSON object, an unknown tag, and any field that the variant does not allow.
            pub fn from_json(text: &str) -> serde_json::Result<Self> {
                let object = #scan;
                match object.tag() {
                    #(#reads,)*
                    _ => Err(object.unknown(Self::TAGS)),
                }
            }
        }

        impl Serialize for #name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { #(#writes,)* }
            }
        }

        impl<'de> Deserialize<'de> for #name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                wire::from_text(deserializer, Self::from_json)
            }
        }
    })
}

/// One variant with everything that is written of it.
struct Arm {
    ident: syn::Ident,
    doc: String,
    tag: String,
    carries: Carries,
}

/// What a variant holds.
enum Carries {
    Nothing,
    /// A type, and how to get from what is decoded to what is held and back.
    Value {
        rust: TokenStream,
        boxed: bool,
        bounds: Option<(u64, u64)>,
    },
}

impl Arm {
    fn new(model: &Model, union: &Union, variant: &Variant) -> Result<Self> {
        let body = model.body(variant).with_context(|| format!("{} is no object", variant.body))?;
        let declared =
            model.types.get(&variant.body).with_context(|| format!("{} is unknown", variant.body))?;
        let carries = match (&union.content, body.fields.first()) {
            (_, None) => Carries::Nothing,
            (None, Some(_)) => {
                let rust = format_ident!("{}", variant.body);
                let boxed = body.fields.iter().any(|field| field.shape.keeps_text());
                Carries::Value { rust: quote!(#rust), boxed, bounds: None }
            }
            (Some(_), Some(content)) => {
                let bounds = match content.shape {
                    Shape::Integer { min, max } if min > 0 || !lower::fills_its_type(max) => Some((min, max)),
                    _ => None,
                };
                Carries::Value { rust: rust(model, &content.shape), boxed: false, bounds }
            }
        };
        Ok(Self {
            ident: format_ident!("{}", pascal(&variant.tag)),
            doc: declared.doc.clone(),
            tag: variant.tag.clone(),
            carries,
        })
    }

    fn declaration(&self) -> TokenStream {
        let (ident, doc) = (&self.ident, docs(&self.doc));
        match &self.carries {
            Carries::Nothing => quote!(#doc #ident),
            Carries::Value { rust, boxed: false, .. } => quote!(#doc #ident(#rust)),
            Carries::Value { rust, boxed: true, .. } => quote!(#doc #ident(Box<#rust>)),
        }
    }

    fn read(&self) -> TokenStream {
        let (ident, tag) = (&self.ident, &self.tag);
        match &self.carries {
            Carries::Nothing => quote!(#tag => object.decode_empty().map(|()| Self::#ident)),
            Carries::Value { bounds: Some((min, max)), .. } => {
                let (min, max) = (literal(*min), literal(*max));
                quote!(#tag => object.decode::<wire::integer::Bounded<#min, #max>>().map(|value| Self::#ident(value.0)))
            }
            Carries::Value { boxed: true, .. } => {
                quote!(#tag => object.decode().map(|body| Self::#ident(Box::new(body))))
            }
            Carries::Value { .. } => quote!(#tag => object.decode().map(Self::#ident)),
        }
    }

    fn write(&self, union: &Union) -> TokenStream {
        let (ident, tag, key) = (&self.ident, &self.tag, &union.tag);
        match (&self.carries, &union.content) {
            (Carries::Nothing, _) => quote!(Self::#ident => wire::write_empty(serializer, #key, #tag)),
            (Carries::Value { boxed: true, .. }, None) => {
                quote!(Self::#ident(body) => wire::write_tagged(serializer, #key, #tag, &**body))
            }
            (Carries::Value { .. }, None) => {
                quote!(Self::#ident(body) => wire::write_tagged(serializer, #key, #tag, body))
            }
            (Carries::Value { bounds: Some((min, max)), .. }, Some(content)) => {
                let (min, max) = (literal(*min), literal(*max));
                quote! {
                    Self::#ident(value) => {
                        let value = wire::integer::Bounded::<#min, #max>(*value);
                        wire::write_adjacent(serializer, (#key, #tag), (#content, &value))
                    }
                }
            }
            (Carries::Value { .. }, Some(content)) => {
                quote!(Self::#ident(value) => wire::write_adjacent(serializer, (#key, #tag), (#content, value)))
            }
        }
    }
}

/// The Rust type of a content; fields of objects have theirs from typify.
fn rust(model: &Model, shape: &Shape) -> TokenStream {
    match shape {
        Shape::Named(name) => {
            let name = match model.types.get(name).map(|declared| &declared.kind) {
                Some(crate::model::Kind::Native(native)) => &native.rust,
                _ => name,
            };
            let name = format_ident!("{name}");
            quote!(#name)
        }
        Shape::Signed(name) => {
            let name = format_ident!("{name}");
            quote!(Signed<#name>)
        }
        Shape::Opaque => quote!(Json),
        Shape::Boolean => quote!(bool),
        Shape::Integer { max, .. } => {
            let name = format_ident!("{}", lower::integer(*max).0);
            quote!(#name)
        }
        Shape::String => quote!(String),
        Shape::Array { items, length: Length::Exactly(length) } => {
            let (items, length) = (rust(model, items), proc_macro2::Literal::u64_unsuffixed(*length));
            quote!([#items; #length])
        }
        Shape::Array { items, length: Length::Any | Length::NonEmpty } => {
            let items = rust(model, items);
            quote!(Vec<#items>)
        }
    }
}

fn literal(value: u64) -> proc_macro2::Literal {
    proc_macro2::Literal::u64_unsuffixed(value)
}
