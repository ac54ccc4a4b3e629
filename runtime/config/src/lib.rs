//! The files an operator writes: the policy (`policy.yaml`) and the process configuration (`chio.yaml`).
//!
//! The types live on the lowest floor, with serde and schemars only, so that the code generator can emit
//! their JSON Schema and their reference from the doc comments below without depending on anything it
//! generates. What the values *mean* is decided one floor up, in `chio-policy`.
//!
//! Three rules hold for both files:
//!
//! - **Nothing is ignored.** An unknown key is an error, and so is a key of the public format that this
//!   version does not implement: a guard that is silently not run is worse than a program that does not start.
//! - **An empty section is an error where it would weaken the file.** A guard whose options have all been
//!   commented out is a YAML null; reading it as "no guard" would open what its author meant to close.
//! - **Every error names file, line and column**, and every rule of a guard remembers where it was written,
//!   so that a denial can point at the line that caused it.
//!
//! ```
//! use chio_config::PolicyFile;
//!
//! let error = PolicyFile::parse("guards:\n  tool_acess: {block: [rm]}\n", "policy.yaml").unwrap_err();
//! assert_eq!(error.to_string(), "policy.yaml:2:3: unknown key `tool_acess`; did you mean `tool_access`?");
//! ```

mod error;
mod located;
mod mcp_config;
mod policy_file;
mod process_config;
mod secret;
mod values;
mod yaml;

pub use error::{ConfigError, Place};
pub use located::Located;
pub use mcp_config::{
    McpAuth, McpConfig, McpJwt, McpLimits, McpOauth, McpStreams, ServerConfig, ServerOwner,
};
pub use policy_file::{
    Capabilities, ClientRequestMethod, ClientRequestRule, ConstraintRule, DefaultAction, DefaultCapabilities,
    ForbiddenPath, Guards, IdentityRule, Kernel, PolicyFile, PromptGrantRule, PromptOperation, ReadOnlyTool,
    ResourceGrantRule, ResourceOperation, ToolAccess, ToolGrantRule, ToolOperation,
};
pub use process_config::{ChioConfig, LogFormat, LogLevel, Logging};
pub use secret::Secret;
