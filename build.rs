//! Refuses to build on a `generated/` that does not belong to `spec/`, and tells the program which specification it
//! was built from. It verifies and embeds; writing is for `cargo run -p chio-codegen` alone.

use std::path::Path;

fn main() {
    for input in ["spec", "codegen/Cargo.toml", "codegen/src", "generated"] {
        println!("cargo::rerun-if-changed={input}");
    }
    // Build scripts run in the folder of their package.
    match chio_codegen::freshness(Path::new(".")) {
        Ok(digest) => println!("cargo::rustc-env=CHIO_SPEC_DIGEST={digest}"),
        Err(stale) => println!("cargo::error={stale}"),
    }
}
