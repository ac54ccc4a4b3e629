//! What whoever starts the benchmark can choose.

use std::time::Duration;

/// The choices; see the head of the program.
pub(crate) struct Options {
    /// Whether other gateways are measured beside the edge.
    pub(crate) peers: bool,
    /// How long one measurement sends requests.
    pub(crate) duration: Duration,
    /// How often everything is measured.
    pub(crate) rounds: usize,
}

/// Most requests of one measurement, so that fast paths do not fill the disk with receipts.
pub(crate) const MOST_REQUESTS: u64 = 80_000;

/// Requests in flight at a time, each on a connection of its own.
pub(crate) const CONCURRENCY: &[usize] = &[1, 16];

impl Options {
    pub(crate) fn from_environment() -> Options {
        let peers = match variable("CHIO_BENCH_PEERS").as_deref() {
            None | Some("all") => true,
            Some("none") => false,
            Some(other) => panic!("CHIO_BENCH_PEERS is `all` or `none`, not {other:?}"),
        };
        Options {
            peers,
            duration: Duration::from_secs(number("CHIO_BENCH_SECONDS", 4)),
            rounds: usize::try_from(number("CHIO_BENCH_ROUNDS", 3)).expect("a number of rounds"),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    let Some(text) = variable(name) else { return default };
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .unwrap_or_else(|| panic!("{name} is a number above 0, not {text:?}"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
