//! Chio stands between agents and tools. Every call is decided by a signed capability and a policy, and every decision
//! leaves a signed receipt that anybody can verify offline.
//!
//! This crate is the front of the house: it re-exports the crates below it under short names, so that an embedding
//! program depends on one package and one version. The `chio` program is built from the same package.
//!
//! | module | what it holds |
//! |---|---|
//! | [`json`] | canonical JSON, opaque values, signed objects that keep their original text |
//! | [`spec`] | the generated wire types, the error registry, the negotiation constants |
//! | [`core`] | capabilities, receipts, proofs and manifests as pure functions |
//! | [`config`] | the policy file and the process configuration |
//! | [`policy`] | the effective policy and its guards |
//! | [`store`] | the durable receipt log, budgets, revocations and nonces |
//! | [`kernel`] | the decision: one pipeline, one receipt for every outcome |
//! | [`native`] | Chio's own transport, server and client |
//! | [`mcp`] | MCP sessions, wrapped servers, and the edge that governs them |
//! | [`kernel`] | the decision between agent and tool |
//! | [`native`] | the framed native transport |
//! | [`mcp`] | MCP sessions and wrapped MCP servers |
//!
//! # Example
//!
//! Whoever has a receipt can check it with nothing else at hand:
//!
//! ```
//! use chio::core::receipt::{SignerTrust, trust, verify};
//!
//! let report = verify(r#"{"id":"rcpt-1"}"#);
//! assert!(!report.valid());
//! assert_eq!(trust(&report, &[]), SignerTrust::Invalid);
//! ```

pub use chio_config as config;
pub use chio_core as core;
pub use chio_json as json;
pub use chio_kernel as kernel;
pub use chio_mcp as mcp;
pub use chio_native as native;
pub use chio_policy as policy;
pub use chio_spec as spec;
pub use chio_store as store;
