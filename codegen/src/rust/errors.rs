//! `ErrorCode`: the registry as one enum with every mapping, so that no surface keeps a table of its own.

use anyhow::{Context, Result};
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::{docs, imports};
use crate::model::{Kind, Model, pascal};
use crate::registry::{Code, NATIVE_UNION, Registry, STRATEGIES};

pub(super) fn emit(model: &Model, registry: &Registry) -> Result<String> {
    let idents: Vec<_> = registry.codes.iter().map(|code| format_ident!("{}", pascal(&code.name))).collect();
    let names: Vec<&str> = registry.codes.iter().map(|code| code.name.as_str()).collect();
    let numbers: Vec<Literal> =
        registry.codes.iter().map(|code| Literal::u16_unsuffixed(code.code)).collect();
    let summaries = registry.codes.iter().map(|code| docs(&code.summary));
    let entries = registry.codes.iter().map(entry);
    let (categories, retries) = (categories(registry), retries());
    let native = native(model, registry)?;
    let file = syn::parse2::<syn::File>(quote! {
        /// Every error that a surface reports, by its stable number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum ErrorCode { #(#summaries #idents = #numbers,)* }

        impl ErrorCode {
            /// Every error, by rising numbers.
            pub const ALL: &'static [Self] = &[#(Self::#idents),*];

            /// The number of the registry entry.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The name of the registry entry.
            #[must_use]
            pub const fn name(self) -> &'static str {
                self.entry().name
            }

            /// The group that the error belongs to.
            #[must_use]
            pub const fn category(self) -> Category {
                self.entry().category
            }

            /// Whether the same request may pass later.
            #[must_use]
            pub const fn transient(self) -> bool {
                self.entry().transient
            }

            /// What the caller can do, for programs.
            #[must_use]
            pub const fn retry(self) -> Retry {
                self.entry().retry
            }

            /// What the caller can do, for people.
            #[must_use]
            pub const fn guidance(self) -> &'static str {
                self.entry().guidance
            }

            /// What happened, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                self.entry().summary
            }

            /// HTTP status of answers that report the error.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                self.entry().http_status
            }

            /// JSON-RPC error code of answers that report the error.
            #[must_use]
            pub const fn jsonrpc_code(self) -> i32 {
                self.entry().jsonrpc_code
            }

            /// The `code` of the native wire error that reports it; `None` where the native wire has none.
            #[must_use]
            pub const fn native_name(self) -> Option<&'static str> {
                self.entry().native_name
            }

            /// The error with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    #(#numbers => Some(Self::#idents),)*
                    _ => None,
                }
            }

            const fn entry(self) -> &'static Entry {
                match self { #(Self::#idents => &#entries,)* }
            }
        }

        impl fmt::Display for ErrorCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for ErrorCode {
            type Err = InvalidValue;

            fn from_str(name: &str) -> Result<Self, InvalidValue> {
                match name {
                    #(#names => Ok(Self::#idents),)*
                    _ => Err(InvalidValue::new("ErrorCode", "must be the name of a registry entry")),
                }
            }
        }

        #native
        #categories
        #retries

        /// One row of the registry.
        struct Entry {
            name: &'static str,
            category: Category,
            summary: &'static str,
            transient: bool,
            retry: Retry,
            guidance: &'static str,
            native_name: Option<&'static str>,
            http_status: u16,
            jsonrpc_code: i32,
        }
    })?;
    imports::file(
        "The error registry: every error with its number, its meaning and its form on each surface.",
        model,
        &file.items,
    )
}

fn entry(code: &Code) -> TokenStream {
    let Code { name, summary, transient, http_status, jsonrpc_code, .. } = code;
    let category = format_ident!("{}", pascal(&code.category));
    let retry = format_ident!("{}", pascal(&code.retry.strategy));
    let guidance = &code.retry.guidance;
    let native = match &code.native_wire_name {
        Some(native) => quote!(Some(#native)),
        None => quote!(None),
    };
    let (status, rpc) = (Literal::u16_unsuffixed(*http_status), Literal::i32_unsuffixed(*jsonrpc_code));
    quote! {
        Entry {
            name: #name,
            category: Category::#category,
            summary: #summary,
            transient: #transient,
            retry: Retry::#retry,
            guidance: #guidance,
            native_name: #native,
            http_status: #status,
            jsonrpc_code: #rpc,
        }
    }
}

fn native(model: &Model, registry: &Registry) -> Result<TokenStream> {
    let Some(Kind::Union(union)) = model.types.get(NATIVE_UNION).map(|declared| &declared.kind) else {
        anyhow::bail!("{NATIVE_UNION} is no union");
    };
    let name = format_ident!("{NATIVE_UNION}");
    let arms = union.variants.iter().map(|variant| {
        let code =
            registry.native_default(&variant.tag).with_context(|| format!("{} has no entry", variant.tag))?;
        let (from, to) = (format_ident!("{}", pascal(&variant.tag)), format_ident!("{}", pascal(&code.name)));
        let body = model.body(variant).context("a branch is no object")?;
        let rest = (!body.fields.is_empty()).then(|| quote!((_)));
        Ok(quote!(#name::#from #rest => Self::#to))
    });
    let arms: Vec<TokenStream> = arms.collect::<Result<_>>()?;
    Ok(quote! {
        /// The entry that a native wire error means when nothing more is known than its `code`.
        impl From<&#name> for ErrorCode {
            fn from(error: &#name) -> Self {
                match error { #(#arms,)* }
            }
        }
    })
}

fn categories(registry: &Registry) -> TokenStream {
    let idents: Vec<_> =
        registry.categories.iter().map(|found| format_ident!("{}", pascal(&found.name))).collect();
    let names = registry.categories.iter().map(|found| &found.name);
    let summaries = registry.categories.iter().map(|found| docs(&found.summary));
    quote! {
        /// A group of errors with a range of numbers of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Category { #(#summaries #idents,)* }

        impl Category {
            /// The category's name in the registry.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { #(Self::#idents => #names,)* }
            }
        }

        impl fmt::Display for Category {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    }
}

fn retries() -> TokenStream {
    let idents: Vec<_> = STRATEGIES.iter().map(|(name, ..)| format_ident!("{}", pascal(name))).collect();
    let names = STRATEGIES.iter().map(|(name, ..)| name);
    let meanings = STRATEGIES.iter().map(|(.., meaning)| docs(meaning));
    quote! {
        /// What a caller can do about an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Retry { #(#meanings #idents,)* }

        impl Retry {
            /// The strategy's name in the registry.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { #(Self::#idents => #names,)* }
            }
        }

        impl fmt::Display for Retry {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    }
}
