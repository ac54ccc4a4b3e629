//! From options to grants.

use std::fmt::Display;

use chio_json::{Json, canonical};
use chio_spec::{Constraint, Operation, PromptGrant, ResourceGrant, ServerId, ToolGrant, ToolName};
use clap::ValueEnum;

use crate::cli::failure::{Failure, OrFail};

/// What a tool grant lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ToolOperation {
    /// Call the tool
    Invoke,
    /// Read the result of a call
    ReadResult,
    /// Pass the grant on
    Delegate,
}

impl From<ToolOperation> for Operation {
    fn from(operation: ToolOperation) -> Operation {
        match operation {
            ToolOperation::Invoke => Operation::Invoke,
            ToolOperation::ReadResult => Operation::ReadResult,
            ToolOperation::Delegate => Operation::Delegate,
        }
    }
}

/// The operations of a tool grant: those asked for, or `invoke`; and `delegate` when the grant may be passed on.
pub(super) fn tool_operations(asked: &[ToolOperation], delegate: bool) -> Vec<Operation> {
    let mut operations: Vec<Operation> = asked.iter().copied().map(Operation::from).collect();
    if operations.is_empty() {
        operations.push(Operation::Invoke);
    }
    with_delegate(operations, delegate)
}

/// A tool grant.
pub(super) fn tool(server: &str, tool: &str, operations: Vec<Operation>) -> Result<ToolGrant, Failure> {
    Ok(ToolGrant::new(operations, server_id(server)?, tool_name(tool)?))
}

/// A resource grant: to read, and to be told of changes.
pub(super) fn resource(uri: &str, delegate: bool) -> ResourceGrant {
    ResourceGrant::new(with_delegate(vec![Operation::Read, Operation::Subscribe], delegate), uri)
}

/// A prompt grant.
pub(super) fn prompt(name: &str, delegate: bool) -> PromptGrant {
    PromptGrant::new(with_delegate(vec![Operation::Get], delegate), name)
}

fn with_delegate(mut operations: Vec<Operation>, delegate: bool) -> Vec<Operation> {
    if delegate && !operations.contains(&Operation::Delegate) {
        operations.push(Operation::Delegate);
    }
    let mut unique = Vec::with_capacity(operations.len());
    for operation in operations {
        if !unique.contains(&operation) {
            unique.push(operation);
        }
    }
    unique
}

/// The id of a server.
pub(super) fn server_id(text: &str) -> Result<ServerId, Failure> {
    ServerId::new(text).doing(format_args!("reading the server id {text:?}"))
}

fn tool_name(text: &str) -> Result<ToolName, Failure> {
    ToolName::new(text).doing(format_args!("reading the tool name {text:?}"))
}

/// Reads a constraint: `TYPE=VALUE`, `TYPE` alone, or the JSON of the wire. A value that is JSON of the right kind is
/// taken as JSON, any other as text.
pub(crate) fn constraint(text: &str) -> Result<Constraint, String> {
    if text.trim_ascii_start().starts_with('{') {
        return Constraint::from_json(text).map_err(not_a_constraint);
    }
    let Some((kind, value)) = text.split_once('=') else {
        return Constraint::from_json(&object(text, None)).map_err(not_a_constraint);
    };
    let as_json =
        canonical::from_text(value).ok().map(|value| Constraint::from_json(&object(kind, Some(&value))));
    let quoted = Json::from_value(&value.into());
    match (as_json, Constraint::from_json(&object(kind, Some(quoted.get())))) {
        (Some(Ok(constraint)), _) | (_, Ok(constraint)) => Ok(constraint),
        (Some(Err(error)), _) | (None, Err(error)) => Err(not_a_constraint(error)),
    }
}

fn object(kind: &str, value: Option<&str>) -> String {
    let kind = Json::from_value(&kind.into());
    match value {
        Some(value) => format!(r#"{{"type":{},"value":{value}}}"#, kind.get()),
        None => format!(r#"{{"type":{}}}"#, kind.get()),
    }
}

fn not_a_constraint(error: impl Display) -> String {
    format!(
        "this is no constraint: {error}; write for example path_prefix=/work, max_length=1000 or the JSON of the wire"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_read_in_each_form() {
        let prefix = Constraint::PathPrefix("/work".to_owned());
        assert_eq!(constraint("path_prefix=/work"), Ok(prefix.clone()));
        assert_eq!(constraint(r#"path_prefix="/work""#), Ok(prefix.clone()));
        assert_eq!(constraint(r#"{"type":"path_prefix","value":"/work"}"#), Ok(prefix));
        assert_eq!(constraint("path_prefix=12"), Ok(Constraint::PathPrefix("12".to_owned())));
        assert_eq!(constraint("max_length=12"), Ok(Constraint::MaxLength(12)));
        assert_eq!(constraint("governed_intent_required"), Ok(Constraint::GovernedIntentRequired));
        assert_eq!(
            constraint(r#"audience_allowlist=["a","b"]"#),
            Ok(Constraint::AudienceAllowlist(vec!["a".to_owned(), "b".to_owned()]))
        );
        assert!(constraint("max_length=many").is_err());
        assert!(constraint("no_such_type=1").is_err());
    }
}
