//! Which grants of a scope admit a call, the most specific first.

use chio_spec::{ChioScope, Operation, PromptGrant, ResourceGrant, ToolGrant};

use super::pattern::{climbs, name_covers, prefix_rank, readable};

/// The tool grants that cover `tool` on `server` and hold `operation`, with their position in the scope.
///
/// They come in the order in which they are to be tried: exact server, then exact tool, then more
/// constraints, then the earlier one. The first whose constraints hold and whose budget admits the call wins.
#[must_use]
pub fn match_tool_grants<'scope>(
    scope: &'scope ChioScope,
    server: &str,
    tool: &str,
    operation: Operation,
) -> Vec<(usize, &'scope ToolGrant)> {
    let mut candidates: Vec<_> = scope
        .grants
        .iter()
        .enumerate()
        .filter(|(_, grant)| {
            name_covers(grant.server_id.as_str(), server)
                && name_covers(grant.tool_name.as_str(), tool)
                && grant.operations.contains(&operation)
        })
        .collect();
    // The sort is stable, so equals keep their order in the scope.
    candidates.sort_by_key(|(_, grant)| {
        std::cmp::Reverse((
            grant.server_id.as_str() == server,
            grant.tool_name.as_str() == tool,
            grant.constraints.len(),
        ))
    });
    candidates
}

/// The resource grant that admits `operation` on `uri`, with its position: the exact one, else the longest
/// prefix, else the earliest. A URI that climbs (`..`) matches no prefix pattern, and one with control
/// characters matches nothing: its reader would remove some of them and read another URI.
#[must_use]
pub fn match_resource<'scope>(
    scope: &'scope ChioScope,
    uri: &str,
    operation: Operation,
) -> Option<(usize, &'scope ResourceGrant)> {
    if !readable(uri) {
        return None;
    }
    let climbs = climbs(uri);
    best(scope.resource_grants.iter().enumerate().filter_map(|(index, grant)| {
        let pattern = grant.uri_pattern.as_str();
        if !grant.operations.contains(&operation) || (climbs && pattern != uri && pattern != "*") {
            return None;
        }
        Some((prefix_rank(pattern, uri)?, index, grant))
    }))
}

/// The prompt grant that admits `operation` on the prompt `name`, with its position; ordered as for
/// resources.
#[must_use]
pub fn match_prompt<'scope>(
    scope: &'scope ChioScope,
    name: &str,
    operation: Operation,
) -> Option<(usize, &'scope PromptGrant)> {
    best(scope.prompt_grants.iter().enumerate().filter_map(|(index, grant)| {
        if !grant.operations.contains(&operation) {
            return None;
        }
        Some((prefix_rank(grant.prompt_name.as_str(), name)?, index, grant))
    }))
}

fn best<'scope, G>(ranked: impl Iterator<Item = (usize, usize, &'scope G)>) -> Option<(usize, &'scope G)> {
    ranked
        .min_by_key(|(rank, index, _)| (std::cmp::Reverse(*rank), *index))
        .map(|(_, index, grant)| (index, grant))
}
