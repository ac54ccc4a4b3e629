//! MCP sessions and wrapped MCP servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`jsonrpc`] | the envelope; payloads stay text |
//! | [`channel`], [`stdio`], [`http`] | the seam between sessions and transports, the stdio framing, and HTTP as a client |
//! | [`session`] | one session model for both directions of MCP |
//! | [`process`] | wrapped servers as child processes whose whole tree ends with us |
//! | [`upstream`], [`refusals`] | a wrapped server, spoken to as its client, and what it asks in vain |
//! | [`servers`] | all the servers behind an edge: lazy start, restart, whose they are |
//! | [`connection`] | a server as the kernel sees it |
//! | [`edge`] | the server that a client talks to: every call decided, every call receipted |
//!
//! MCP revision 2025-11-25.

pub mod channel;
pub mod connection;
pub mod edge;
pub mod error;
pub mod http;
pub mod jsonrpc;
pub mod process;
pub mod refusals;
pub mod servers;
pub mod session;
pub mod stdio;
pub mod upstream;

mod registry;

pub use error::{CloseReason, McpError};
