//! The `chio` program as scripts and people meet it: what it prints, where, and with which exit code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod capabilities;
mod decisions;
mod help;
mod hosted;
mod keys;
mod log;
mod program;
mod receipts;
mod serving;
mod wrapping;
