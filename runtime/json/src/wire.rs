//! Support code of the generated wire types: decoding a tagged object from its text, writing the tag at its
//! sorted place, and the checks that serde's derive leaves out. It changes together with the generator and is
//! no interface for anybody else.
//!
//! Unions are decoded in two steps, from the text: the tag first (values are only skipped), then the variant
//! it names, from the same bytes. serde's derived tagged enums buffer every value in between, which costs half
//! as much again on large frames and makes [`RawValue`](serde_json::value::RawValue) fields fail at run time.
//! The price: a union can be read by `serde_json` only, and not from inside a derived tagged, untagged or
//! flattened type.

pub mod integer;
pub mod safe_integer;

mod adjacent;
mod field;
mod tagged;
mod text;

pub use adjacent::{Adjacent, write_adjacent};
pub use field::{ObjectOnly, non_empty, nullable, present};
pub use tagged::{Tagged, write_empty, write_tagged};
pub use text::{InvalidValue, from_str, from_text};
