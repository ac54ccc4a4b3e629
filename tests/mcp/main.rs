//! The hosted MCP edge, proved by tests that nobody of us wrote.
//!
//! | module | what it proves |
//! |---|---|
//! | `suite` | the official conformance suite finds no fault, and every governed request has its receipt |
//! | `clients` | stock clients list, call, are denied, resume broken streams, lose their session and recover |
//! | `upstreams` | stock servers work behind the edge, alone and several at once |
//! | `cve` | the published holes of other gateways are not ours |
//! | `faults` | servers that die and edges that restart leave clear errors and honest receipts |
//!
//! The programs of others are installed once, in pinned versions (`peers`). What stands behind the edge is
//! `tests/mcp/fixture`, a server that knows nothing of Chio and keeps its own record of what reached it. Clients talk
//! to the edge through a recording relay (`tee`), and every message that it saw is judged by the official schema of
//! the protocol revision and by ours (`schema`).

// Processes are looked for in /proc.
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

mod clients;
mod cve;
mod edge;
mod faults;
#[path = "../e2e/home.rs"]
#[allow(dead_code)] // Shared with the tests of the whole program.
mod home;
mod http;
mod oauth;
#[path = "../e2e/peers.rs"]
#[allow(dead_code)]
mod peers;
mod schema;
#[path = "../specification.rs"]
mod specification;
mod suite;
mod tee;
mod upstreams;
