//! What guards refuse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Located, values};

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
