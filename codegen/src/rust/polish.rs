//! Shortens paths to what the file imports or the prelude holds.

use syn::visit_mut::{self, VisitMut};
use syn::{File, Path};

/// Rewrites typify's `::std::string::String` and the like to plain names.
pub(super) fn polish(file: &mut File) {
    Shorten.visit_file_mut(file);
}

struct Shorten;

/// In scope in every module without an import.
const PRELUDE: &[&str] = &[
    "std::boxed::Box",
    "std::option::Option",
    "std::result::Result",
    "std::string::String",
    "std::vec::Vec",
];

impl VisitMut for Shorten {
    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        let text =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::");
        if PRELUDE.contains(&text.as_str())
            && let Some(last) = path.segments.last().cloned()
        {
            path.leading_colon = None;
            path.segments = std::iter::once(last).collect();
        }
    }
}
