//! `chio.yaml`: the hosted MCP edge and the servers behind it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Secret, values};

/// One MCP server: a command that speaks MCP on its standard input and output, or the URL of one that speaks
/// streamable HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Name of the server in grants and receipts.
    #[serde(deserialize_with = "values::name_or_star")]
    #[schemars(length(min = 1, max = 512))]
    pub id: String,
    /// The command and its arguments. No shell reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables that are set for the command beside those of this process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Secret>,
    /// Folder that the command runs in. When absent, the one of this process.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cwd: Option<String>,
    /// URL of the server's MCP endpoint: `https`, or `http`.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub url: Option<String>,
    /// HTTP headers that every request to the URL carries, for example a token of our own. A caller's credentials are
    /// never passed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Who owns a running server.
    #[serde(default)]
    pub owner: ServerOwner,
}

/// Who owns a running server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerOwner {
    /// Each session of a client has its own, which may use the client's sampling, elicitation and roots as far as
    /// the policy grants them.
    #[default]
    Session,
    /// All sessions share one. It cannot reach any client, and what it tells without saying whom it concerns is
    /// dropped.
    Shared,
}

/// The hosted MCP edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpConfig {
    /// Address to listen on. When absent, `127.0.0.1:8931`.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub listen: Option<String>,
    /// The URL at which clients reach the edge, without `/mcp`, when that is not the address it listens on.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub public_url: Option<String>,
    /// Hosts, with their port where they have one, that requests may name beside those of `listen` and `public_url`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call the edge, for example `https://app.example.com`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// Answer a client that asks for another protocol version with the one spoken here, as the MCP standard does,
    /// instead of refusing it.
    pub counter_offer: bool,
    /// Token of the admin endpoints. Without it there are none but the health check.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 16))]
    pub admin_token: Option<Secret>,
    /// Who may call.
    pub auth: McpAuth,
    /// What the edge keeps and accepts at most.
    pub limits: McpLimits,
    /// How answers are delivered.
    pub streams: McpStreams,
}

/// Who may call. At most one of the three is written; without any, the edge serves loopback only and everybody there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpAuth {
    /// One static bearer token for all callers.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 16))]
    pub token: Option<Secret>,
    /// Tokens of an external authorization server.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "McpJwt")]
    pub jwt: Option<McpJwt>,
    /// The built-in authorization server, for local use.
    #[serde(deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "McpOauth")]
    pub oauth: Option<McpOauth>,
}

/// Tokens (JWT) of an external authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpJwt {
    /// The issuer, exactly as tokens state it.
    pub issuer: String,
    /// The audience that tokens must name. When absent, the URL of the MCP endpoint.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub audience: Option<String>,
    /// URL of the issuer's keys: `https`, or `http` on loopback.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub jwks_url: Option<String>,
    /// File with the issuer's keys, instead of a URL.
    #[serde(default, deserialize_with = "values::present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub jwks_file: Option<String>,
}

/// The built-in authorization server, for local use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpOauth {
    /// Approve every authorization request without asking. For tests and unattended use; refused unless the edge
    /// listens on loopback only.
    pub auto_approve: bool,
}

/// What the edge keeps and accepts at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpLimits {
    /// Sessions at a time. At the limit the one that is idle longest ends early.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub sessions: u64,
    /// Processes of tool servers at a time, over all sessions.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub processes: u64,
    /// Connections at a time.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub connections: u64,
    /// Requests in work at a time, of one session.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub requests_in_flight: u64,
    /// Bytes that wait for one session's client to read them. When they are full, answers wait, notifications are
    /// dropped, and nothing undelivered is lost.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub buffered_bytes: u64,
    /// Bytes that wait for the clients of all sessions together. Above that, new requests are refused.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub undelivered_bytes: u64,
    /// Delivered events that one session keeps for clients that resume a stream.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub replay_events: u64,
    /// Bytes of a request's body.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub body_bytes: u64,
    /// Seconds after which a session without a stream, a call and a request ends.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub idle_seconds: u64,
    /// Sessions that one address may open in a minute.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub sessions_per_minute: u64,
    /// Requests with missing or wrong credentials that one address may send in a minute.
    #[serde(deserialize_with = "values::positive")]
    #[schemars(range(min = 1))]
    pub failures_per_minute: u64,
    /// Requests that one address may send in a minute. 0 means that only the other limits hold.
    pub requests_per_minute: u64,
}

impl Default for McpLimits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            processes: 128,
            connections: 10_000,
            requests_in_flight: 256,
            buffered_bytes: 32 * 1024 * 1024,
            undelivered_bytes: 1024 * 1024 * 1024,
            replay_events: 64,
            body_bytes: 4 * 1024 * 1024,
            idle_seconds: 900,
            sessions_per_minute: 1200,
            failures_per_minute: 120,
            requests_per_minute: 0,
        }
    }
}

/// How answers are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpStreams {
    /// Milliseconds that an answer may take to be sent as plain JSON. What takes longer, or has something to tell
    /// before, becomes an event stream.
    pub answer_within_ms: u64,
    /// Milliseconds of silence after which the edge ends the event stream of a request, so that its client asks for
    /// the rest later. 0 means never.
    pub close_silent_after_ms: u64,
}

impl Default for McpStreams {
    fn default() -> Self {
        Self { answer_within_ms: 50, close_silent_after_ms: 0 }
    }
}
