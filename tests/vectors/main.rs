//! Our golden vectors: `spec/vectors/` is made here, compared byte for byte and judged by the library.
//!
//! Objects are built from JSON values and signed by hand instead of through the builders of `chio-core`, and the
//! expected verdicts are written down beside each case, so that a change of the library shows as a disagreement and
//! never as a new golden file. `CHIO_BLESS=1` rewrites the files; the difference belongs into the review.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// Edits of a case are closures of one expression, and cases are handed over whole.
#![allow(clippy::semicolon_if_nothing_returned, clippy::needless_pass_by_value)]

mod canonical;
mod capabilities;
mod constraints;
mod delegations;
mod dpop;
mod family;
mod frames;
mod hashing;
mod keys;
mod log;
mod make;
mod manifests;
mod program;
mod receipts;
mod signatures;

use std::process::Command;

/// Calls a generic function once for each family of vectors.
macro_rules! for_each_family {
    ($($call:ident)::+) => {
        [
            $($call)::+::<canonical::Canonical>(),
            $($call)::+::<hashing::Hashing>(),
            $($call)::+::<keys::Keys>(),
            $($call)::+::<signatures::Signatures>(),
            $($call)::+::<capabilities::Capabilities>(),
            $($call)::+::<delegations::Delegations>(),
            $($call)::+::<constraints::Constraints>(),
            $($call)::+::<dpop::Dpop>(),
            $($call)::+::<receipts::Receipts>(),
            $($call)::+::<log::Log>(),
            $($call)::+::<manifests::Manifests>(),
            $($call)::+::<frames::Frames>(),
        ]
    };
}

#[test]
fn the_files_are_exactly_what_is_made_here() {
    for_each_family!(family::compare);
}

#[test]
fn the_library_judges_every_vector_as_the_file_says() {
    let counts = for_each_family!(family::judge);
    println!("{} vectors in {} files", counts.iter().sum::<usize>(), counts.len());
    assert!(counts.iter().all(|count| *count > 0));
}

/// A second implementation, in another language and without a dependency, agrees with what the files say.
#[test]
fn an_independent_verifier_agrees() {
    let root = family::folder();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/verify.py");
    let run = Command::new("python3").arg("-B").arg(script).arg(&root).output().expect("python3 runs");
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
