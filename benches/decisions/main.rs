//! What a decision costs, each figure beside its limit of the same run.
//!
//! Absolute times say more about the machine than about the program, so every group measures a limit (a raw signature,
//! a raw synced write, a raw round trip) together with the thing itself, and the table at the end shows ratios only.
//! `cargo bench --bench decisions` runs all of it in a few minutes; a filter runs a part.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on has nothing to hand an error to"
)]

mod ceiling;
mod decide;
mod durable;
mod fixture;
mod frames;
mod primitives;
mod table;

use std::path::PathBuf;

use criterion::Criterion;

fn main() {
    let results = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default().output_directory(&results).configure_from_args();
    primitives::measure(&mut criterion);
    decide::measure(&mut criterion);
    durable::measure(&mut criterion);
    frames::measure(&mut criterion);
    criterion.final_summary();
    table::print(&results);
}
