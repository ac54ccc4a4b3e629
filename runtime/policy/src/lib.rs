//! What is permitted, beyond what a capability says: the effective policy and the guards it configures.
//!
//! A policy comes from a file ([`EffectivePolicy::parse`]) or is the built-in safe preset
//! ([`EffectivePolicy::safe_preset`]), which is a file too, only embedded. Either way it is completed with its
//! defaults, so that what is printed, what is hashed into every receipt and what is enforced are one thing.
//!
//! The guards run in one [`Pipeline`], in a fixed order, after the capability was accepted. They are synchronous
//! and pure: they see one call and the policy, nothing else. The first that denies, fails or panics ends the call.

mod effective;
mod error;
mod forbidden_path;
mod grants;
mod guard;
mod paths;
mod pipeline;
mod tool_access;

pub use effective::EffectivePolicy;
pub use error::PolicyError;
pub use forbidden_path::ForbiddenPathGuard;
pub use grants::DefaultGrant;
pub use guard::{CallKind, Guard, GuardCall, GuardError, Verdict};
pub use pipeline::{GuardDenial, Pipeline, PipelineDecision, PipelineOutcome, StepReport};
pub use tool_access::ToolAccessGuard;
