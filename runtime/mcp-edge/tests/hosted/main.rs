//! The edge over real sockets: every check in its order, streams and their replay, sessions and their ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    unreachable_pub
)]

mod admin;
mod checks;
mod house;
mod lifecycle;
mod replay;
mod tokens;
