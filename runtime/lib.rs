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
pub use chio_policy as policy;
pub use chio_spec as spec;
pub use chio_store as store;
