//! The policy file: what the kernel limits, what guards refuse, what a caller without a token is given.
//!
//! The doc comments below are the reference an operator reads; the generator copies them. Keys and defaults
//! are those of the public native policy format; `tool_timeout`, `receipt_parameter_limit` and
//! `read_only_tools` are additions of this kernel.

mod grants;
mod guards;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Place};
use crate::{values, yaml};

pub use grants::{
    Capabilities, ClientRequestMethod, ClientRequestRule, ConstraintRule, DefaultCapabilities, IdentityRule,
    PromptGrantRule, PromptOperation, ResourceGrantRule, ResourceOperation, ToolGrantRule, ToolOperation,
};
pub use guards::{DefaultAction, ForbiddenPath, Guards, ToolAccess};

/// A Chio policy: kernel limits, guards, and the capabilities given to callers that present none.
///
/// Every section is optional. A policy without `capabilities.default` and without `guards.tool_access`
/// gives callers without a token nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFile {
    /// Limits that hold for every call, whoever makes it.
    pub kernel: Kernel,
    /// The guards that inspect each call after its capability was accepted. A guard that is not listed is not
    /// run. They run in the order of this reference, whatever their order in the file.
    pub guards: Guards,
    /// What the local authority issues.
    pub capabilities: Capabilities,
}

/// Limits that hold for every call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// The longest validity, in seconds, of any capability the local authority issues. A `ttl` below
    /// `capabilities` that exceeds it is an error.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub max_capability_ttl: u64,
    /// How many times a capability may be delegated. 0 forbids delegation.
    pub delegation_depth_limit: u32,
    /// How long, in seconds, a tool may take to answer. A call that exceeds it is recorded as `incomplete`.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub tool_timeout: u64,
    /// How long, in seconds, a tool that is called as an MCP task may take.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub task_timeout: u64,
    /// The largest parameters, in bytes of canonical JSON, that a receipt keeps in clear. Larger ones are
    /// recorded by their SHA-256 and size. 0 keeps none.
    pub receipt_parameter_limit: u64,
    /// Tools that you vouch change nothing. No intent is written before they are called, so a crash leaves no
    /// trace of a call that was under way. What a server says about its own tools is not believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_only_tools: Vec<ReadOnlyTool>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            max_capability_ttl: 3600,
            delegation_depth_limit: 5,
            tool_timeout: 120,
            task_timeout: 3600,
            receipt_parameter_limit: 32 * 1024,
            read_only_tools: Vec::new(),
        }
    }
}

/// A tool that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadOnlyTool {
    /// The server's identifier, or `*` for every server.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub server: String,
    /// The tool's name, or `*` for every tool of that server.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub tool: String,
}

impl PolicyFile {
    /// Reads a policy from YAML text. `source_name` is the name that errors show, usually the file's path.
    ///
    /// # Errors
    ///
    /// The first thing wrong with the text, with its line and column: broken YAML, an unknown or unavailable
    /// key, a value of the wrong kind, or a `ttl` longer than `kernel.max_capability_ttl`.
    pub fn parse(text: &str, source_name: &str) -> Result<Self, ConfigError> {
        let policy: Self = yaml::read(text, source_name, None)?;
        policy.check_identities(source_name)?;
        policy.check_ttls(source_name)?;
        Ok(policy)
    }

    /// The policy as YAML, which [`parse`](Self::parse) reads as the same policy. Comments are lost.
    ///
    /// # Errors
    ///
    /// A value that YAML cannot hold, which no policy that was parsed contains.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        yaml::write(self)
    }

    /// A rule that describes everybody would silently replace the default.
    fn check_identities(&self, source_name: &str) -> Result<(), ConfigError> {
        let describes_nobody = |rule: &IdentityRule| {
            rule.principal.is_none()
                && rule.issuer.is_none()
                && rule.subject.is_none()
                && rule.client_id.is_none()
                && rule.scopes.is_empty()
                && rule.claims.is_empty()
        };
        match self.capabilities.identities.iter().find(|rule| describes_nobody(&rule.value)) {
            None => Ok(()),
            Some(rule) => Err(ConfigError::Invalid {
                place: Place::of(source_name, rule),
                problem: "an identity without a condition would describe every caller".to_owned(),
                hint: Some("name a principal, issuer, subject, client_id, scope or claim; what everybody is given stands below capabilities.default".to_owned()),
            }),
        }
    }

    fn check_ttls(&self, source_name: &str) -> Result<(), ConfigError> {
        let max = self.kernel.max_capability_ttl;
        let identities = self.capabilities.identities.iter().map(|rule| rule.value.grants());
        let ttls = identities.chain([self.capabilities.default.clone()]).flat_map(|granted| {
            let tools = granted.tools.into_iter().map(|grant| grant.ttl);
            tools
                .chain(granted.resources.into_iter().map(|grant| grant.ttl))
                .chain(granted.prompts.into_iter().map(|grant| grant.ttl))
                .chain(granted.client_requests.into_iter().map(|grant| grant.ttl))
        });
        for ttl in ttls {
            if ttl.value == 0 || ttl.value > max {
                return Err(ConfigError::Invalid {
                    place: Place::of(source_name, &ttl),
                    problem: format!("a ttl of {} s is outside 1 to {max} s", ttl.value),
                    hint: Some(format!(
                        "{max} is kernel.max_capability_ttl; shorten the ttl or raise that limit"
                    )),
                });
            }
        }
        Ok(())
    }
}
