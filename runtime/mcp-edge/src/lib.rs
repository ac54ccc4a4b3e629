//! The hosted MCP edge: MCP over streamable HTTP, in front of the kernel.
//!
//! | module | what it is |
//! |---|---|
//! | [`serve`](fn@serve), [`EdgeConfig`] | the listener and what an operator can set |
//! | [`Host`] | what the process around the edge does for it: opening sessions behind it |
//! | [`auth`] | who calls |
//! | `router` | the checks of a request in their order, and the answers |
//! | `sessions` | which sessions there are, and how they end |
//! | `streams` | what one session's client was told and has yet to be told |
//! | `admin`, `metrics` | what an operator can ask |
//!
//! The edge decides nothing about calls. It carries messages between HTTP and a
//! [`Channel`](chio_mcp::channel::Channel) for each session, on whose other side a session of `chio-mcp` brings every
//! call before the kernel.
//!
//! MCP revision 2025-11-25.

pub mod auth;

mod admin;
mod config;
mod host;
mod metrics;
mod oauth;
mod refusal;
mod router;
mod serve;
mod sessions;
mod streams;

pub use config::{EdgeConfig, Limits};
pub use host::{Host, Serving};
pub use serve::serve;
