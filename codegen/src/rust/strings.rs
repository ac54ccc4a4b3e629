//! Constrained strings as newtypes, and enumerations.

use anyhow::{Context, Result, ensure};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{ItemEnum, ItemStruct};

use super::docs;
use crate::model::{Text, Type, pascal};

pub(super) fn text(declared: &Type, text: &Text, found: &ItemStruct) -> Result<TokenStream> {
    let name = &found.ident;
    let field = found.fields.iter().next().context("typify made a newtype without a field")?;
    let rust = &field.ty;
    let doc = docs(&declared.doc);
    let (rule, fault) = rule(text);
    let error_doc =
        docs(&format!("A text that {}.", fault.replace("must be ", "is not ").replace("must ", "does not ")));
    let type_name = &declared.name;
    let pattern = text.pattern.as_ref().map(|pattern| {
        quote! {
            // A pattern that does not compile would match nothing; the generator has compiled it before.
            static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(#pattern).ok());
        }
    });
    Ok(quote! {
        #doc
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct #name(#rust);

        impl #name {
            /// Checks a text and keeps it.
            ///
            /// # Errors
            #error_doc
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                #pattern
                let text = text.into();
                if #rule {
                    Ok(Self(text))
                } else {
                    Err(InvalidValue::new(#type_name, #fault))
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for #name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for #name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for #name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for #name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl From<#name> for String {
            fn from(value: #name) -> String {
                value.0
            }
        }

        impl Serialize for #name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for #name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                wire::from_str(deserializer)
            }
        }
    })
}

/// The check of a text, and the same in words that follow "it".
fn rule(text: &Text) -> (TokenStream, String) {
    let mut checks = Vec::new();
    let mut words = Vec::new();
    match (text.min_length, text.max_length) {
        (None, None) => {}
        (Some(1), None) => {
            checks.push(quote!(!text.is_empty()));
            words.push("must not be empty".to_owned());
        }
        (Some(min), None) => {
            let count = Literal::u64_unsuffixed(min);
            checks.push(quote!(text.chars().count() >= #count));
            words.push(format!("must have at least {min} characters"));
        }
        (None, Some(max)) => {
            let count = Literal::u64_unsuffixed(max);
            checks.push(quote!(text.chars().count() <= #count));
            words.push(format!("must have at most {max} characters"));
        }
        (Some(min), Some(max)) => {
            let (least, most) = (Literal::u64_unsuffixed(min), Literal::u64_unsuffixed(max));
            checks.push(quote!((#least..=#most).contains(&text.chars().count())));
            words.push(format!("must have from {min} to {max} characters"));
        }
    }
    if let Some(pattern) = &text.pattern {
        checks.push(quote!(PATTERN.as_ref().is_some_and(|pattern| pattern.find(&text).is_some())));
        words.push(format!("must match {pattern}"));
    }
    (quote!(#(#checks)&&*), words.join(" and "))
}

pub(super) fn enumeration(declared: &Type, values: &[String], found: &ItemEnum) -> Result<TokenStream> {
    let name = &found.ident;
    let doc = docs(&declared.doc);
    let idents: Vec<_> = values.iter().map(|value| format_ident!("{}", pascal(value))).collect();
    ensure!(
        found.variants.iter().map(|variant| &variant.ident).eq(&idents),
        "typify named the values differently"
    );
    let value_docs = values.iter().map(|value| docs(&format!("`{value}` on the wire.")));
    let type_name = &declared.name;
    let fault = match values {
        [only] => format!("must be `{only}`"),
        _ => format!(
            "must be one of {}",
            values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    Ok(quote! {
        #doc
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum #name { #(#value_docs #idents,)* }

        impl #name {
            /// Every value, in the order of the schema.
            pub const ALL: &'static [Self] = &[#(Self::#idents),*];

            /// The value as it is written on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { #(Self::#idents => #values,)* }
            }
        }

        impl fmt::Display for #name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for #name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                match text {
                    #(#values => Ok(Self::#idents),)*
                    _ => Err(InvalidValue::new(#type_name, #fault)),
                }
            }
        }

        impl Serialize for #name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for #name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                wire::from_str(deserializer)
            }
        }
    })
}
