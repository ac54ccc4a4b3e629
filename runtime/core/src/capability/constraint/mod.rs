//! Conditions on the arguments of a call, which are part of what a token means.
//!
//! Every constraint answers with its own name and a reason. What cannot be decided from the arguments alone
//! fails: a condition that nobody checks would be worse than none, because its author believes in it. So the
//! kinds that need a governed transaction, a review or a SQL guard refuse the call as long as this kernel has
//! no such stage.

mod domain;
mod keyed;
mod path;
mod pattern;
mod uri;
mod view;

pub use view::ArgumentView;

use std::borrow::Cow;

use chio_spec::{ChioScope, Constraint, ErrorCode};

/// A constraint that a call does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the constraint `{name}` is not met: {reason}")]
pub struct ConstraintFault {
    /// The type of the constraint, as on the wire.
    pub name: &'static str,
    /// Why, for the operator. It may repeat arguments of the call.
    pub reason: Cow<'static, str>,
}

impl ConstraintFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::ConstraintViolated
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Owned(format!("capability constraint {} is not met", self.name))
    }
}

/// What a rule of its own module says: nothing, or why it does not hold.
type Verdict = Result<(), Cow<'static, str>>;

/// Whether the arguments meet the constraint.
///
/// # Errors
///
/// The name of the constraint and why it is not met. What cannot be decided is not met.
pub fn evaluate(constraint: &Constraint, arguments: &ArgumentView) -> Result<(), ConstraintFault> {
    let verdict = match constraint {
        Constraint::PathPrefix(prefix) => path::prefix(prefix, arguments),
        Constraint::DomainExact(domain) => domain::exact(domain, arguments),
        Constraint::DomainGlob(glob) => domain::glob(glob, arguments),
        Constraint::RegexMatch(expression) => pattern::some_match(expression, arguments),
        Constraint::MemoryWriteDenyPatterns(expressions) => pattern::no_match(expressions, arguments),
        Constraint::MaxLength(limit) => max_length(*limit, arguments),
        Constraint::MaxArgsSize(limit) => max_args_size(*limit, arguments),
        Constraint::Custom(pair) => keyed::custom(pair, arguments),
        Constraint::AudienceAllowlist(allowed) => keyed::allowlist(keyed::AUDIENCE, allowed, arguments),
        Constraint::MemoryStoreAllowlist(allowed) => {
            keyed::allowlist(keyed::MEMORY_STORE, allowed, arguments)
        }
        Constraint::ModelConstraint(model)
            if model.allowed_model_ids.is_empty() && model.min_safety_tier.is_none() =>
        {
            Ok(())
        }
        Constraint::ModelConstraint(_) => undecided("the request carries no model metadata"),
        Constraint::GovernedIntentRequired
        | Constraint::RequireApprovalAbove(_)
        | Constraint::SellerExact(_)
        | Constraint::MinimumRuntimeAssurance(_)
        | Constraint::MinimumAutonomyTier(_) => {
            undecided("it needs a governed transaction, which this request is not")
        }
        Constraint::TableAllowlist(_)
        | Constraint::ColumnDenylist(_)
        | Constraint::MaxRowsReturned(_)
        | Constraint::OperationClass(_) => {
            undecided("only a SQL guard can enforce it, and this kernel has none")
        }
        Constraint::ContentReviewTier(_) => undecided("content review is not available"),
        Constraint::MaxTransactionAmountUsd(_) => undecided("transaction amounts cannot be determined"),
        Constraint::RequireDualApproval(_) => undecided("dual approval is not available"),
    };
    verdict.map_err(|reason| ConstraintFault { name: name(constraint), reason })
}

/// Whether the regular expressions of all grants together stay within what one token may ask to be compiled.
///
/// # Errors
///
/// There are more, named after the constraint that is one too many.
pub(crate) fn affordable(scope: &ChioScope) -> Result<(), ConstraintFault> {
    let mut expressions: usize = 0;
    for constraint in scope.grants.iter().flat_map(|grant| &grant.constraints) {
        expressions = expressions.saturating_add(match constraint {
            Constraint::RegexMatch(_) => 1,
            Constraint::MemoryWriteDenyPatterns(expressions) => expressions.len(),
            _ => 0,
        });
        pattern::few(expressions).map_err(|reason| ConstraintFault { name: name(constraint), reason })?;
    }
    Ok(())
}

fn undecided(reason: &'static str) -> Verdict {
    Err(Cow::Borrowed(reason))
}

fn max_length(limit: u64, arguments: &ArgumentView) -> Verdict {
    arguments.every_string(&mut |_, text| {
        if text.len() as u64 > limit {
            return Err(format!("a string has {} bytes, and {limit} are allowed", text.len()).into());
        }
        Ok(())
    })
}

fn max_args_size(limit: u64, arguments: &ArgumentView) -> Verdict {
    let size = arguments.size() as u64;
    if size > limit {
        return Err(format!("the arguments have {size} bytes, and {limit} are allowed").into());
    }
    Ok(())
}

fn name(constraint: &Constraint) -> &'static str {
    match constraint {
        Constraint::PathPrefix(_) => "path_prefix",
        Constraint::DomainExact(_) => "domain_exact",
        Constraint::DomainGlob(_) => "domain_glob",
        Constraint::RegexMatch(_) => "regex_match",
        Constraint::MaxLength(_) => "max_length",
        Constraint::MaxArgsSize(_) => "max_args_size",
        Constraint::GovernedIntentRequired => "governed_intent_required",
        Constraint::RequireApprovalAbove(_) => "require_approval_above",
        Constraint::SellerExact(_) => "seller_exact",
        Constraint::MinimumRuntimeAssurance(_) => "minimum_runtime_assurance",
        Constraint::MinimumAutonomyTier(_) => "minimum_autonomy_tier",
        Constraint::Custom(_) => "custom",
        Constraint::TableAllowlist(_) => "table_allowlist",
        Constraint::ColumnDenylist(_) => "column_denylist",
        Constraint::MaxRowsReturned(_) => "max_rows_returned",
        Constraint::OperationClass(_) => "operation_class",
        Constraint::AudienceAllowlist(_) => "audience_allowlist",
        Constraint::ContentReviewTier(_) => "content_review_tier",
        Constraint::MaxTransactionAmountUsd(_) => "max_transaction_amount_usd",
        Constraint::RequireDualApproval(_) => "require_dual_approval",
        Constraint::ModelConstraint(_) => "model_constraint",
        Constraint::MemoryStoreAllowlist(_) => "memory_store_allowlist",
        Constraint::MemoryWriteDenyPatterns(_) => "memory_write_deny_patterns",
    }
}
