//! Capabilities: signed, attenuable authority over tools, resources and prompts.
//!
//! Three questions are kept apart, because they have different answers and different lifetimes:
//!
//! * [`verify_chain`] asks what the bytes prove by themselves: signatures, links, order in time. It reads
//!   foreign JSON and answers with booleans and reasons. A chain that it accepts may still be one that no
//!   kernel should admit.
//! * [`VerifiedToken`] asks the same of one token and keeps the answer, which never changes: it can be cached
//!   under the digest of the exact bytes.
//! * [`admit`] asks whether the authority really flows from a trusted issuer, through known ancestors that
//!   may delegate, without widening. Time and revocation are not in it: the kernel asks those on every call.

pub mod constraint;

mod admit;
mod attenuate;
mod chain;
mod grants;
mod issue;
mod pattern;
mod subset;
mod token;
mod window;

pub use admit::{AdmissionFault, DEFAULT_MAX_DEPTH, StepFault, admit};
pub use attenuate::{Attenuate, AttenuateFault, attenuate};
pub use chain::{ChainReport, verify_chain};
pub use grants::{match_prompt, match_resource, match_tool_grants};
pub use issue::{CapabilityTemplate, issue};
pub use subset::{GrantRef, SubsetFault, SubsetRule, covering_grants, delegable_subset, subset};
pub use token::{TokenFault, VerifiedToken};
pub use window::{TimeStatus, time_status};
