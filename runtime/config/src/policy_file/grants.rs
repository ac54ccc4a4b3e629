//! What callers are given: everybody, and those that are known.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Located, values};

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
