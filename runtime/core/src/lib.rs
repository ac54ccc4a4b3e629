//! What Chio decides and proves, as pure functions.
//!
//! Nothing here reads a file, a clock or a source of randomness, and nothing waits: callers pass the time in
//! Unix seconds, seeds and identifiers. So the same code runs in the kernel, in a command line tool that
//! verifies offline and, compiled to WebAssembly, in a browser; and every test can say exactly what time it
//! is.
//!
//! * [`hash`] and [`keys`]: SHA-256 of canonical JSON, strict Ed25519.
//! * [`capability`]: issue, verify, admit and attenuate tokens; match grants; evaluate constraints.
//! * [`dpop`]: proof of possession of the subject's key, for one call.
//! * [`receipt`]: build, sign and verify the record of a decision.
//! * [`merkle`] and [`checkpoint`]: the receipt log as an RFC 6962 tree, its proofs, and signed statements
//!   about it.
//! * [`manifest`]: what a tool server says about itself, signed.
//!
//! Two rules hold throughout. What a kernel acts on is typed and fails with an error that maps to one entry
//! of the error registry. What merely gets verified is read as foreign JSON and answered with booleans and
//! reasons, because a report about a malformed object is still a report.

pub mod capability;
pub mod checkpoint;
pub mod dpop;
pub mod hash;
pub mod keys;
pub mod manifest;
pub mod merkle;
pub mod receipt;

mod error;
mod foreign;
mod seal;

pub use error::CoreError;
