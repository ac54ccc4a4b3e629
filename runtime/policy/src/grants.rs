//! What a caller without a token is given: scopes from the policy's default capabilities.

use std::collections::BTreeMap;
use std::fmt::Display;

use chio_config::{
    ClientRequestRule, ConstraintRule, DefaultCapabilities, Located, Place, PromptOperation,
    ResourceOperation, ToolGrantRule, ToolOperation,
};
use chio_spec::{
    ChioScope, Constraint, Operation, PromptGrant, ResourceGrant, ServerId, ToolGrant, ToolName,
};

use crate::PolicyError;

/// A scope to be issued, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultGrant {
    /// Validity of the capability in seconds.
    pub ttl: u64,
    /// The only server on which the resource and prompt grants hold; `None` for every server. A token cannot say so, so
    /// each such server has a capability of its own. Tool grants name their server themselves.
    pub server: Option<String>,
    /// What it allows.
    pub scope: ChioScope,
}

#[derive(Default)]
struct Parts {
    tools: Vec<ToolGrant>,
    resources: Vec<ResourceGrant>,
    prompts: Vec<PromptGrant>,
}

/// One scope for each distinct ttl, shortest first, and for each server that resource or prompt rules name. Within a scope grants keep the order of the policy.
pub(crate) fn default_grants<'a>(
    default: &'a DefaultCapabilities,
    source: &str,
) -> Result<Vec<DefaultGrant>, PolicyError> {
    let mut parts: BTreeMap<(u64, Option<&str>), Parts> = BTreeMap::new();
    let only = |server: &'a str| (server != "*").then_some(server);
    for rule in &default.tools {
        parts.entry((rule.ttl.value, None)).or_default().tools.push(tool_grant(rule, source)?);
    }
    for rule in &default.resources {
        let operations = rule.operations.iter().map(|operation| match operation {
            ResourceOperation::Read => Operation::Read,
            ResourceOperation::Subscribe => Operation::Subscribe,
            ResourceOperation::Delegate => Operation::Delegate,
        });
        let grant = ResourceGrant::new(operations.collect(), rule.uri.clone());
        parts.entry((rule.ttl.value, only(&rule.server))).or_default().resources.push(grant);
    }
    for rule in &default.prompts {
        let operations = rule.operations.iter().map(|operation| match operation {
            PromptOperation::Get => Operation::Get,
            PromptOperation::Delegate => Operation::Delegate,
        });
        let grant = PromptGrant::new(operations.collect(), rule.prompt.clone());
        parts.entry((rule.ttl.value, only(&rule.server))).or_default().prompts.push(grant);
    }
    for rule in &default.client_requests {
        parts.entry((rule.ttl.value, None)).or_default().tools.push(client_request_grant(rule, source)?);
    }
    let grant = |((ttl, server), parts): ((u64, Option<&str>), Parts)| DefaultGrant {
        ttl,
        server: server.map(str::to_owned),
        scope: ChioScope::new()
            .with_grants(parts.tools)
            .with_resource_grants(parts.resources)
            .with_prompt_grants(parts.prompts),
    };
    Ok(parts.into_iter().map(grant).collect())
}

/// A tool grant under the method's own name, which no grant of every tool stands in for.
fn client_request_grant(rule: &ClientRequestRule, source: &str) -> Result<ToolGrant, PolicyError> {
    let server = name(ServerId::new(rule.server.as_str()), "server", &rule.server, source)?;
    let method = rule.method.as_str();
    let tool = name(ToolName::new(method), "method", method, source)?;
    let grant = ToolGrant::new(vec![Operation::Invoke], server, tool);
    Ok(match rule.max_invocations {
        Some(max) => grant.with_max_invocations(max),
        None => grant,
    })
}

fn name<T, E: Display>(read: Result<T, E>, what: &str, text: &str, source: &str) -> Result<T, PolicyError> {
    read.map_err(|error| PolicyError::Grant {
        place: Place { file: source.to_owned(), line: 0, column: 0 },
        problem: format!("the {what} {text:?} cannot be granted: {error}"),
    })
}

fn tool_grant(rule: &ToolGrantRule, source: &str) -> Result<ToolGrant, PolicyError> {
    let operations = rule.operations.iter().map(|operation| match operation {
        ToolOperation::Invoke => Operation::Invoke,
        ToolOperation::ReadResult => Operation::ReadResult,
        ToolOperation::Delegate => Operation::Delegate,
    });
    let server = name(ServerId::new(rule.server.as_str()), "server", &rule.server, source)?;
    let tool = name(ToolName::new(rule.tool.as_str()), "tool", &rule.tool, source)?;
    let constraints = rule.constraints.iter().map(|constraint| read_constraint(constraint, source));
    let mut grant = ToolGrant::new(operations.collect(), server, tool)
        .with_constraints(constraints.collect::<Result<Vec<_>, _>>()?);
    if let Some(max) = rule.max_invocations {
        grant = grant.with_max_invocations(max);
    }
    Ok(grant)
}

/// The policy writes constraints as tokens do, so the generated type reads them.
fn read_constraint(rule: &Located<ConstraintRule>, source: &str) -> Result<Constraint, PolicyError> {
    serde_json::to_string(&rule.value).and_then(|text| serde_json::from_str(&text)).map_err(|error| {
        PolicyError::Grant {
            place: Place::of(source, rule),
            problem: format!("the constraint of type {:?} is not valid: {error}", rule.kind),
        }
    })
}
