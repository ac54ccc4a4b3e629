//! The whole program against peers that nobody of us wrote, and against its own death.
//!
//! Every test starts the built binary with a home folder of its own, so that all of them can run at once. Stock MCP
//! servers, the stock MCP client and the published verifier are installed once ([`peers`]); where a machine cannot
//! install them the tests that need them say so and pass, except in CI, where that is a failure.

// Processes are looked for in /proc, and limits are set on running ones.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    unreachable_pub
)]

mod agent;
mod budgets;
mod cancelled;
mod crash;
mod delegation;
mod demo;
mod denials;
mod driver;
mod home;
mod memory;
mod peers;
mod pipes;
mod processes;
mod readme;
mod restored;
mod server;
mod streams;
mod wrap;
