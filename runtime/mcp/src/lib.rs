//! MCP sessions and wrapped MCP servers.
//!
//! One session model for both directions ([`session`]), framed over stdio here ([`stdio`]) and over HTTP
//! by the hosted edge; wrapped servers as child processes whose whole tree ends with us
//! ([`process`]), spoken to as an MCP client ([`upstream`]) and governed as tool server
//! connections; and the server side that a client talks to, where every call goes through the kernel.
//!
//! MCP revision 2025-11-25.

pub mod channel;
pub mod connection;
pub mod edge;
pub mod error;
pub mod jsonrpc;
pub mod process;
pub mod session;
pub mod stdio;
pub mod upstream;

pub use error::{CloseReason, McpError};
