//! The policy file: what the kernel limits, what guards refuse, what a caller without a token is given.
//!
//! The doc comments below are the reference an operator reads; the generator copies them. Keys and defaults
//! are those of the public native policy format; `tool_timeout`, `receipt_parameter_limit` and
//! `read_only_tools` are additions of this kernel.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Place};
use crate::{Located, values, yaml};

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

/// The guards, each switched on by its presence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// Refuses calls that name a forbidden path, in any argument of any tool or in a resource URI. Reported as
    /// `forbidden-path`.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ForbiddenPath")]
    pub forbidden_path: Option<ForbiddenPath>,
    /// Refuses calls to tools by name, and arguments that are too large. Reported as `mcp-tool`.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ToolAccess")]
    pub tool_access: Option<ToolAccess>,
}

/// Options of the forbidden-path guard.
///
/// Patterns are globs: `*` and `?` stay within one path segment, `**` crosses segments, `[ab]` and `{a,b}`
/// choose. A pattern that starts with neither `/`, `~/` nor `**/` matches at any depth; `~/` stands for the home
/// of any user. `dir/**` forbids `dir` as well as everything below it. Upper and lower case are not
/// distinguished, because many volumes do not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForbiddenPath {
    /// Whether the guard runs.
    pub enabled: bool,
    /// The forbidden patterns. When absent, the built-in list of the safe preset is used: `.env` files, keys,
    /// credential stores, `.git`, and the system's account files.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub patterns: Option<Vec<Located<String>>>,
    /// Patterns forbidden beside `patterns` or the built-in list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_patterns: Vec<Located<String>>,
    /// Patterns that are allowed although a forbidden pattern matches. They are taken exactly as written: case
    /// matters, and a pattern without `**/` matches from the start of the path only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Located<String>>,
}

impl Default for ForbiddenPath {
    fn default() -> Self {
        Self { enabled: true, patterns: None, additional_patterns: Vec::new(), exceptions: Vec::new() }
    }
}

/// Options of the tool-access guard.
///
/// `block` wins over `allow`, and `allow` over `default_action`. Names are exact, or `*` for every tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolAccess {
    /// Whether the guard runs.
    pub enabled: bool,
    /// Tools that may be called.
    #[serde(deserialize_with = "values::names", skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Located<String>>,
    /// Tools that may not be called, whatever else says so. They are not listed to the agent either.
    #[serde(deserialize_with = "values::names", skip_serializing_if = "Vec::is_empty")]
    pub block: Vec<Located<String>>,
    /// What happens to a tool that neither list names. When absent: `block` if `allow` names any tool, `allow`
    /// otherwise.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DefaultAction")]
    pub default_action: Option<Located<DefaultAction>>,
    /// The largest arguments, in bytes of canonical JSON, that any call may carry.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub max_args_size: Option<Located<u64>>,
}

impl Default for ToolAccess {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            block: Vec::new(),
            default_action: None,
            max_args_size: None,
        }
    }
}

/// What happens to a tool that no list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAction {
    /// The call goes on to the next guard.
    Allow,
    /// The call is denied, and the tool is not listed.
    Block,
}

/// What the local authority issues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// What a caller that presents no token is given.
    pub default: DefaultCapabilities,
    /// What authenticated callers are given instead. The first entry that describes the caller decides; who is
    /// described by none is given the default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Located<IdentityRule>>,
}

/// What one kind of authenticated caller is given. Every condition that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityRule {
    /// The caller's name on its surface, or a prefix followed by `*`. For a caller with an OAuth token this is
    /// `{issuer}#{subject}`, for one with a static token `static:` and a fingerprint.
    #[serde(deserialize_with = "values::present_pattern", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub principal: Option<String>,
    /// The issuer of the caller's token.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub issuer: Option<String>,
    /// The subject of the caller's token.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub subject: Option<String>,
    /// The client that the caller's token was issued to.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub client_id: Option<String>,
    /// Scopes that the token must carry, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Claims that the token must carry: the claim is the value, or a list that holds it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Tools that may be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolGrantRule>,
    /// Resources that may be read or subscribed to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceGrantRule>,
    /// Prompts that may be fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptGrantRule>,
    /// What tool servers may ask of the caller's client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_requests: Vec<ClientRequestRule>,
}

impl IdentityRule {
    /// The grants of the rule, in the form of those that everybody is given.
    #[must_use]
    pub fn grants(&self) -> DefaultCapabilities {
        DefaultCapabilities {
            tools: self.tools.clone(),
            resources: self.resources.clone(),
            prompts: self.prompts.clone(),
            client_requests: self.client_requests.clone(),
        }
    }
}

/// The grants of a caller that presents no token. One capability is issued for each distinct `ttl`.
///
/// When no tool is granted here but `guards.tool_access` has an `allow` list, the tools of that list are
/// granted, on every server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultCapabilities {
    /// Tools that may be called. Their order decides which of several equally specific grants is charged first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolGrantRule>,
    /// Resources that may be read or subscribed to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceGrantRule>,
    /// Prompts that may be fetched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptGrantRule>,
    /// What tool servers may ask of the caller's client. A grant of every tool does not cover these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_requests: Vec<ClientRequestRule>,
}

/// One kind of request that a tool server may send to the client of the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRequestRule {
    /// The server's identifier, or `*` for every server.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub server: String,
    /// What the server may ask.
    pub method: ClientRequestMethod,
    /// How long, in seconds, the capability is valid. It is renewed while the session lasts.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1))]
    pub ttl: Located<u64>,
    /// How often the server may ask with one capability.
    #[serde(default, deserialize_with = "values::present_positive", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub max_invocations: Option<u32>,
}

/// What a tool server may ask of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ClientRequestMethod {
    /// Have the client's model answer a prompt of the server.
    #[serde(rename = "sampling/createMessage")]
    Sampling,
    /// Ask the person at the client, by a form or at a URL.
    #[serde(rename = "elicitation/create")]
    Elicitation,
    /// Learn which folders the client works in.
    #[serde(rename = "roots/list")]
    Roots,
}

impl ClientRequestMethod {
    /// The MCP method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sampling => "sampling/createMessage",
            Self::Elicitation => "elicitation/create",
            Self::Roots => "roots/list",
        }
    }
}

/// One tool grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolGrantRule {
    /// The server's identifier, or `*` for every server.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub server: String,
    /// The tool's name, or `*` for every tool.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub tool: String,
    /// What may be done with the tool.
    #[serde(default = "invoke", deserialize_with = "values::non_empty")]
    #[schemars(length(min = 1))]
    pub operations: Vec<ToolOperation>,
    /// How long, in seconds, the capability is valid. It is renewed while the session lasts.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1))]
    pub ttl: Located<u64>,
    /// Conditions on the arguments. All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Located<ConstraintRule>>,
    /// How often the tool may be called with one capability.
    #[serde(default, deserialize_with = "values::present_positive", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1))]
    pub max_invocations: Option<u32>,
}

/// What a tool grant permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolOperation {
    /// Call the tool.
    Invoke,
    /// Read the result of a call.
    ReadResult,
    /// Pass the grant on.
    Delegate,
}

/// One condition on the arguments of a tool, in the form capability tokens use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintRule {
    /// The kind of condition, for example `path_prefix`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the condition compares with. Absent for kinds that take no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

/// One resource grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceGrantRule {
    /// The server's identifier, or `*` for every server. Tokens cannot state it, so it holds for callers that present
    /// none.
    #[serde(default = "every_server", deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub server: String,
    /// The resource's URI, a prefix followed by `*`, or `*` for every resource.
    #[serde(deserialize_with = "values::pattern_with_final_star")]
    #[schemars(length(min = 1))]
    pub uri: String,
    /// What may be done with the resource.
    #[serde(default = "read", deserialize_with = "values::non_empty")]
    #[schemars(length(min = 1))]
    pub operations: Vec<ResourceOperation>,
    /// How long, in seconds, the capability is valid.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1))]
    pub ttl: Located<u64>,
}

/// What a resource grant permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceOperation {
    /// Read the resource.
    Read,
    /// Be told when the resource changes.
    Subscribe,
    /// Pass the grant on.
    Delegate,
}

/// One prompt grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptGrantRule {
    /// The server's identifier, or `*` for every server. Tokens cannot state it, so it holds for callers that present
    /// none.
    #[serde(default = "every_server", deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub server: String,
    /// The prompt's name, a prefix followed by `*`, or `*` for every prompt.
    #[serde(deserialize_with = "values::pattern_with_final_star")]
    #[schemars(length(min = 1))]
    pub prompt: String,
    /// What may be done with the prompt.
    #[serde(default = "get", deserialize_with = "values::non_empty")]
    #[schemars(length(min = 1))]
    pub operations: Vec<PromptOperation>,
    /// How long, in seconds, the capability is valid.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1))]
    pub ttl: Located<u64>,
}

/// What a prompt grant permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptOperation {
    /// Fetch the prompt.
    Get,
    /// Pass the grant on.
    Delegate,
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

fn every_server() -> String {
    "*".to_owned()
}

fn invoke() -> Vec<ToolOperation> {
    vec![ToolOperation::Invoke]
}

fn read() -> Vec<ResourceOperation> {
    vec![ResourceOperation::Read]
}

fn get() -> Vec<PromptOperation> {
    vec![PromptOperation::Get]
}

fn default_ttl() -> Located<u64> {
    Located::nowhere(300)
}
