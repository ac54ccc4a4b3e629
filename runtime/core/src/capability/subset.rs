//! Whether one scope allows nothing that another does not: the rule of attenuation.
//!
//! Each grant of the child must be covered, as a whole, by one grant of the parent. Constraints are compared
//! exactly: a child keeps every constraint of the parent and may add more, so that no two implementations can
//! disagree on whether one constraint is "narrower" than another. The price is that a child cannot replace
//! `/base` by `/base/src`; it adds the second beside the first.

use std::borrow::Cow;
use std::fmt;

use chio_spec::{ChioScope, ErrorCode, MonetaryAmount, Operation, PromptGrant, ResourceGrant, ToolGrant};

use super::pattern::{name_covers, prefix_covers, uri_covers};

/// Names one grant of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantRef {
    /// A position in `grants`.
    Tool(usize),
    /// A position in `resource_grants`.
    Resource(usize),
    /// A position in `prompt_grants`.
    Prompt(usize),
}

impl fmt::Display for GrantRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantRef::Tool(index) => write!(formatter, "grants[{index}]"),
            GrantRef::Resource(index) => write!(formatter, "resource_grants[{index}]"),
            GrantRef::Prompt(index) => write!(formatter, "prompt_grants[{index}]"),
        }
    }
}

/// The rule that a grant of the child breaks, in the order in which the rules are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SubsetRule {
    /// No grant of the parent covers the server and tool, the URI pattern or the prompt name.
    Target,
    /// The parent grant that covers it may not be delegated.
    Delegate,
    /// It has an operation that the parent grant lacks.
    Operations,
    /// It has more invocations than the parent grant, or no limit where the parent has one.
    MaxInvocations,
    /// It lacks a constraint of the parent grant.
    Constraints,
    /// It may spend more on one call than the parent grant, or in another currency, or without limit.
    MaxCostPerInvocation,
    /// It may spend more altogether than the parent grant, or in another currency, or without limit.
    MaxTotalCost,
    /// It drops the proof of possession that the parent grant asks for.
    DpopRequired,
}

impl SubsetRule {
    /// What the child does wrong, as the end of a sentence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SubsetRule::Target => "no grant of the parent covers its target",
            SubsetRule::Delegate => "the parent grant does not hold the `delegate` operation",
            SubsetRule::Operations => "it has an operation that the parent grant lacks",
            SubsetRule::MaxInvocations => "its `max_invocations` is missing or above the parent's",
            SubsetRule::Constraints => "it lacks a constraint of the parent grant",
            SubsetRule::MaxCostPerInvocation => {
                "its `max_cost_per_invocation` is missing or above the parent's"
            }
            SubsetRule::MaxTotalCost => "its `max_total_cost` is missing or above the parent's",
            SubsetRule::DpopRequired => "it drops the parent's `dpop_required`",
        }
    }
}

impl fmt::Display for SubsetRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A grant of the child that no grant of the parent covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{grant} of the child is wider than its parent: {rule}; narrow it to what the parent allows")]
pub struct SubsetFault {
    /// The grant of the child.
    pub grant: GrantRef,
    /// The rule that the closest grant of the parent fails on.
    pub rule: SubsetRule,
}

impl SubsetFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::DelegationInvalid
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed("delegated capability is wider than its parent")
    }
}

/// Whether every grant of `child` is covered by a grant of `parent`.
///
/// # Errors
///
/// The first grant of the child that is not covered, and the rule on which the closest parent grant fails.
pub fn subset(child: &ChioScope, parent: &ChioScope) -> Result<(), SubsetFault> {
    every_grant(child, parent, |_| true)
}

/// Like [`subset`], but counts only grants of the parent that hold the `delegate` operation: what its holder
/// may pass on.
///
/// # Errors
///
/// As [`subset`].
pub fn delegable_subset(child: &ChioScope, parent: &ChioScope) -> Result<(), SubsetFault> {
    every_grant(child, parent, |operations| operations.contains(&Operation::Delegate))
}

/// The positions of the parent's tool grants that cover `child` and may be delegated. A call under the child
/// is charged to one of them.
#[must_use]
pub fn covering_grants(child: &ToolGrant, parent: &ChioScope) -> Vec<usize> {
    let delegable = |grant: &ToolGrant| grant.operations.contains(&Operation::Delegate);
    parent
        .grants
        .iter()
        .enumerate()
        .filter(|(_, grant)| delegable(grant) && tool_fault(child, grant).is_none())
        .map(|(index, _)| index)
        .collect()
}

fn every_grant(
    child: &ChioScope,
    parent: &ChioScope,
    usable: impl Fn(&[Operation]) -> bool,
) -> Result<(), SubsetFault> {
    each(&child.grants, &parent.grants, GrantRef::Tool, tool_target, |child, parent| {
        if usable(&parent.operations) { tool_fault(child, parent) } else { Some(SubsetRule::Delegate) }
    })?;
    each(
        &child.resource_grants,
        &parent.resource_grants,
        GrantRef::Resource,
        resource_target,
        |child, parent| {
            if usable(&parent.operations) {
                (!contains_all(&parent.operations, &child.operations)).then_some(SubsetRule::Operations)
            } else {
                Some(SubsetRule::Delegate)
            }
        },
    )?;
    each(&child.prompt_grants, &parent.prompt_grants, GrantRef::Prompt, prompt_target, |child, parent| {
        if usable(&parent.operations) {
            (!contains_all(&parent.operations, &child.operations)).then_some(SubsetRule::Operations)
        } else {
            Some(SubsetRule::Delegate)
        }
    })
}

fn each<G>(
    children: &[G],
    parents: &[G],
    name: fn(usize) -> GrantRef,
    target: fn(&G, &G) -> bool,
    fault: impl Fn(&G, &G) -> Option<SubsetRule>,
) -> Result<(), SubsetFault> {
    for (index, child) in children.iter().enumerate() {
        let mut closest = SubsetRule::Target;
        let mut covered = false;
        for parent in parents.iter().filter(|parent| target(child, parent)) {
            match fault(child, parent) {
                None => {
                    covered = true;
                    break;
                }
                Some(rule) => closest = closest.max(rule),
            }
        }
        if !covered {
            return Err(SubsetFault { grant: name(index), rule: closest });
        }
    }
    Ok(())
}

fn tool_target(child: &ToolGrant, parent: &ToolGrant) -> bool {
    name_covers(parent.server_id.as_str(), child.server_id.as_str())
        && name_covers(parent.tool_name.as_str(), child.tool_name.as_str())
}

fn resource_target(child: &ResourceGrant, parent: &ResourceGrant) -> bool {
    uri_covers(&parent.uri_pattern, &child.uri_pattern)
}

fn prompt_target(child: &PromptGrant, parent: &PromptGrant) -> bool {
    prefix_covers(&parent.prompt_name, &child.prompt_name)
}

fn tool_fault(child: &ToolGrant, parent: &ToolGrant) -> Option<SubsetRule> {
    if !tool_target(child, parent) {
        return Some(SubsetRule::Target);
    }
    if !contains_all(&parent.operations, &child.operations) {
        return Some(SubsetRule::Operations);
    }
    let invocations_kept = match (parent.max_invocations, child.max_invocations) {
        (None, _) => true,
        (Some(limit), Some(own)) => own <= limit,
        (Some(_), None) => false,
    };
    if !invocations_kept {
        return Some(SubsetRule::MaxInvocations);
    }
    if !contains_all(&child.constraints, &parent.constraints) {
        return Some(SubsetRule::Constraints);
    }
    if !cost_kept(parent.max_cost_per_invocation.as_ref(), child.max_cost_per_invocation.as_ref()) {
        return Some(SubsetRule::MaxCostPerInvocation);
    }
    if !cost_kept(parent.max_total_cost.as_ref(), child.max_total_cost.as_ref()) {
        return Some(SubsetRule::MaxTotalCost);
    }
    if parent.dpop_required == Some(true) && child.dpop_required != Some(true) {
        return Some(SubsetRule::DpopRequired);
    }
    None
}

/// Whether the cap `own` is within the cap `limit`; no limit allows anything.
pub(crate) fn cost_kept(limit: Option<&MonetaryAmount>, own: Option<&MonetaryAmount>) -> bool {
    match (limit, own) {
        (None, _) => true,
        (Some(limit), Some(own)) => own.currency == limit.currency && own.units <= limit.units,
        (Some(_), None) => false,
    }
}

fn contains_all<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|item| all.contains(item))
}
