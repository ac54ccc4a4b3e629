//! What governing a call costs: `tools/call` through `chio mcp serve-http`, and through other gateways, beside the same
//! call sent straight to the server.
//!
//! Requests per second say more about the machine than about the program. So all paths are measured in turns, in one
//! run, with the same load and the same upstream, and what counts is the ratio to the direct path of the same round. The
//! edge runs as its users run it: the real program, a kernel with durable signed receipts on a disk, the preset policy
//! with its guards, a bearer token. Every answer is checked, and after every run the receipts are counted: a gateway
//! that is fast because it answers wrongly, or forgets to write down what it did, has not been measured but caught.
//!
//! `cargo bench --bench edge` takes about seven minutes, and longer when it first installs the other gateways. Options,
//! as environment variables:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `CHIO_BENCH_PEERS` | `all` measures the other gateways too, `none` only the edge and the direct path | `all` |
//! | `CHIO_BENCH_SECONDS` | seconds of one measurement | 4 |
//! | `CHIO_BENCH_ROUNDS` | rounds, whose medians are shown | 3 |
//!
//! `wrk` (a package of most distributions) makes the load where it is installed, else a client in this program does,
//! which takes more of the processor from the gateways.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on has nothing to hand an error to"
)]

#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod receipts;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod session;
#[cfg(target_os = "linux")]
mod table;

fn main() {
    // Tests of all targets run this program too, without the argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    #[cfg(target_os = "linux")]
    run::run();
    #[cfg(not(target_os = "linux"))]
    eprintln!("SKIPPED: the edge is measured on Linux only, because memory is read from /proc");
}
