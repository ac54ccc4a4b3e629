//! What is permitted, beyond what a capability says: the effective policy and the guards it configures.
//!
//! A policy comes from a file ([`EffectivePolicy::parse`]) or is the built-in safe preset
//! ([`EffectivePolicy::safe_preset`]), which is a file too, only embedded. Either way it is completed with its
//! defaults, so that what is printed, what is hashed into every receipt and what is enforced are one thing.
//!
//! The guards run in one [`Pipeline`], in a fixed order, after the capability was accepted. They are synchronous
//! and pure: they see one call and the policy, nothing else. The first that denies, fails or panics ends the call.
//!
//! ```
//! use chio_policy::{CallKind, EffectivePolicy, GuardCall, PipelineDecision};
//!
//! let policy = EffectivePolicy::safe_preset()?;
//! let arguments = serde_json::json!({"source": "notes.txt", "destination": "app/.env"});
//! let outcome = policy.pipeline().run(&GuardCall {
//!     server: "filesystem",
//!     tool: "move_file",
//!     kind: CallKind::Tool,
//!     arguments: &arguments,
//!     args_size: 49,
//!     resource_uri: None,
//!     agent: "an agent's key",
//! });
//! let PipelineDecision::Deny(denial) = outcome.decision else { unreachable!() };
//! assert_eq!((denial.guard, denial.reason.as_str()), ("forbidden-path", "the path is not permitted by policy"));
//! # Ok::<(), chio_policy::PolicyError>(())
//! ```

mod effective;
mod error;
mod forbidden_path;
mod grants;
mod guard;
mod identity;
mod paths;
mod pipeline;
mod tool_access;

pub use effective::EffectivePolicy;
pub use error::PolicyError;
pub use forbidden_path::ForbiddenPathGuard;
pub use grants::DefaultGrant;
pub use guard::{CallKind, Guard, GuardCall, GuardError, Verdict};
pub use identity::Identity;
pub use pipeline::{GuardDenial, Pipeline, PipelineDecision, PipelineOutcome};
pub use tool_access::ToolAccessGuard;
