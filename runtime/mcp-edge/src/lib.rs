//! The hosted MCP edge: MCP over streamable HTTP, in front of the kernel.

pub mod auth;
mod oauth;
