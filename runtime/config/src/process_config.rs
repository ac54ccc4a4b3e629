//! `chio.yaml`: how the `chio` process itself behaves, as opposed to what it permits.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Place};
use crate::mcp_config::{McpConfig, ServerConfig};
use crate::{Located, yaml};

/// The configuration of the `chio` process, read from `$CHIO_HOME/chio.yaml` when that file exists.
///
/// Unquoted values may contain `${NAME}` and `${NAME:-default}`, which are replaced by environment variables. A
/// variable that is not set and has no default is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChioConfig {
    /// What is logged to standard error.
    pub logging: Logging,
    /// Public keys, as 64 lower-case hexadecimal digits, of authorities beside the local one whose
    /// capabilities are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9a-f]{64}$")))]
    pub trusted_issuers: Vec<Located<String>>,
    /// The MCP servers behind `chio mcp serve-http`, when no command and no URL is given there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Located<ServerConfig>>,
    /// The hosted MCP edge, `chio mcp serve-http`.
    pub mcp: McpConfig,
}

/// What is logged to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// The least severe messages that are shown.
    pub level: LogLevel,
    /// The form of a message.
    pub format: LogFormat,
}

/// The severity of a log message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something needs attention, for example a denial that an operator should look at.
    Warn,
    /// The normal course of events.
    #[default]
    Info,
    /// Each step of a decision.
    Debug,
    /// Everything, including the messages exchanged.
    Trace,
}

/// The form of a log message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl ChioConfig {
    /// Reads the configuration from YAML text. `source_name` is the name that errors show; `variables` are the
    /// values of `${NAME}`, normally the process environment.
    ///
    /// # Errors
    ///
    /// The first thing wrong with the text, with its line and column: broken YAML, an unknown key, a value of
    /// the wrong kind, an unset variable, or an issuer that is not a key. Values of variables are never shown.
    pub fn parse(
        text: &str,
        source_name: &str,
        variables: HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let config: Self = yaml::read(text, source_name, Some(variables))?;
        config.check_servers(source_name)?;
        for issuer in &config.trusted_issuers {
            if issuer.len() != 64 || !issuer.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(ConfigError::Invalid {
                    place: Place::of(source_name, issuer),
                    problem: "a trusted issuer is not a public key".to_owned(),
                    hint: Some("a key is written as 64 lower-case hexadecimal digits".to_owned()),
                });
            }
        }
        Ok(config)
    }

    fn check_servers(&self, source_name: &str) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for server in &self.servers {
            let fault = match (&server.value.command.is_empty(), &server.value.url) {
                (true, None) => Some("names neither a `command` nor a `url`"),
                (false, Some(_)) => Some("names both a `command` and a `url`"),
                (true, Some(_)) if !server.value.env.is_empty() || server.value.cwd.is_some() => {
                    Some("has `env` or `cwd`, which mean nothing for a `url`")
                }
                (false, None) if !server.value.headers.is_empty() => {
                    Some("has `headers`, which mean nothing for a `command`")
                }
                _ if server.value.id == "*" => Some("cannot be named `*`, which stands for every server"),
                _ if !seen.insert(server.value.id.as_str()) => Some("has the name of another one"),
                _ => None,
            };
            if let Some(fault) = fault {
                return Err(ConfigError::Invalid {
                    place: Place::of(source_name, server),
                    problem: format!("the server {:?} {fault}", server.value.id),
                    hint: None,
                });
            }
        }
        Ok(())
    }
}
