//! Whether a token's authority really flows from a trusted issuer.
//!
//! A delegated token is signed by its delegator, offline, so its own signature proves only that the delegator
//! wanted it. That the delegator had the authority is proven by the parent token, and so on to a root that a
//! trusted issuer signed. Every parent is needed: without it, nobody could tell whether the child is wider.

use std::borrow::Cow;

use chio_json::PublicKeyHex;
use chio_spec::{Attenuation, CapabilityId, CapabilityToken, ErrorCode};

use super::attenuate::holds;
use super::constraint::{self, ConstraintFault};
use super::subset::{SubsetFault, delegable_subset};
use super::token::VerifiedToken;

/// How many delegations a chain may have where a policy says nothing.
pub const DEFAULT_MAX_DEPTH: usize = 5;

/// Why a token is not admitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionFault {
    /// The chain is longer than the policy allows.
    #[error("the delegation chain of capability {id} has {depth} links, and the policy allows {max_depth}")]
    TooDeep {
        /// The token.
        id: CapabilityId,
        /// Its links.
        depth: usize,
        /// The limit.
        max_depth: usize,
    },
    /// An ancestor is missing or another token stands in its place.
    #[error(
        "capability {id} was delegated from {ancestor}, which is not known here; send it along in `ancestors`"
    )]
    AncestorUnknown {
        /// The token.
        id: CapabilityId,
        /// The ancestor that its chain names.
        ancestor: CapabilityId,
    },
    /// More ancestors were given than the chain has links.
    #[error(
        "capability {id} has {links} delegation links, but {given} ancestors were given; send one for each link"
    )]
    AncestorCount {
        /// The token.
        id: CapabilityId,
        /// Its links.
        links: usize,
        /// Ancestors given.
        given: usize,
    },
    /// The root's issuer is not trusted.
    #[error(
        "capability {id} was issued by {issuer}, which is not trusted here; the operator can trust its key"
    )]
    IssuerUntrusted {
        /// The root token.
        id: CapabilityId,
        /// Its issuer.
        issuer: PublicKeyHex,
    },
    /// The token holds more regular expressions than are compiled for one call.
    #[error("capability {id} cannot be used: {fault}")]
    Unaffordable {
        /// The token.
        id: CapabilityId,
        /// The constraint that is one too many.
        fault: ConstraintFault,
    },
    /// A step of the chain is broken.
    #[error("the delegation from capability {parent} to {child} is invalid: {fault}")]
    Step {
        /// The parent.
        parent: CapabilityId,
        /// The child.
        child: CapabilityId,
        /// What is wrong with the step.
        fault: StepFault,
    },
}

/// What is wrong with one delegation, from a parent to its child.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepFault {
    /// The child's chain is not the parent's chain and one more link.
    #[error("the child's chain is not the parent's chain and one more link")]
    Chain,
    /// The last link names another parent.
    #[error("the last link names {named} as the parent")]
    ParentId {
        /// The identifier in the link.
        named: CapabilityId,
    },
    /// The child has the identifier of one of its ancestors, so revocations and budgets could not tell them
    /// apart.
    #[error("the child has the identifier of one of its ancestors")]
    IdReused,
    /// The delegator is not the parent's subject.
    #[error("the delegator is not the subject of the parent")]
    Delegator,
    /// The delegatee is not the child's subject.
    #[error("the delegatee of the last link is not the subject of the child")]
    Delegatee,
    /// The child was not issued by the delegator.
    #[error("the child was not issued by its delegator")]
    Issuer,
    /// The delegation did not happen while the parent was valid.
    #[error("the delegation at {timestamp} lies outside the parent's validity")]
    Timestamp {
        /// Time of the link, in Unix seconds.
        timestamp: u64,
    },
    /// The child's validity begins before the delegation.
    #[error("the child's validity begins before the delegation")]
    IssuedBeforeLink,
    /// The child outlives its parent.
    #[error("the child expires after its parent")]
    ExpiresAfterParent,
    /// The child allows more than the parent may pass on.
    #[error(transparent)]
    Wider(#[from] SubsetFault),
    /// The link declares a restriction that the child does not keep.
    #[error("the link declares the attenuation `{kind}`, which the child does not keep")]
    NotKept {
        /// The type of the attenuation.
        kind: &'static str,
    },
}

impl AdmissionFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AdmissionFault::AncestorUnknown { .. } => ErrorCode::DelegationAncestorUnknown,
            AdmissionFault::IssuerUntrusted { .. } => ErrorCode::CapabilityIssuerUntrusted,
            AdmissionFault::Unaffordable { fault, .. } => fault.code(),
            AdmissionFault::TooDeep { .. }
            | AdmissionFault::AncestorCount { .. }
            | AdmissionFault::Step { .. } => ErrorCode::DelegationInvalid,
        }
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            AdmissionFault::TooDeep { .. } => Cow::Borrowed("delegation chain is too long"),
            AdmissionFault::AncestorUnknown { ancestor, .. } => {
                Cow::Owned(format!("delegation ancestor {ancestor} is not known"))
            }
            AdmissionFault::AncestorCount { .. } => {
                Cow::Borrowed("delegation ancestors do not fit the chain")
            }
            AdmissionFault::IssuerUntrusted { .. } => Cow::Borrowed("capability issuer is not trusted"),
            AdmissionFault::Unaffordable { fault, .. } => fault.reason(),
            AdmissionFault::Step { fault: StepFault::Wider(fault), .. } => fault.reason(),
            AdmissionFault::Step { .. } => Cow::Borrowed("delegation chain is invalid"),
        }
    }
}

/// Whether `token` may be used at all: its chain leads through `ancestors` (root first, one for each link,
/// found by the caller under the link's `capability_id`) to an issuer in `trusted_issuers`, never widens on the
/// way, and asks for no more regular expressions than a call may cost.
///
/// Not asked here, because the answer changes from call to call: the validity window, and whether the token
/// or an ancestor is revoked. An ancestor is valid whenever the child is, since each window lies inside the
/// parent's.
///
/// # Errors
///
/// The first thing that is wrong, from the root down to the token.
pub fn admit(
    token: &VerifiedToken,
    ancestors: &[VerifiedToken],
    trusted_issuers: &[PublicKeyHex],
    max_depth: usize,
) -> Result<(), AdmissionFault> {
    let leaf = token.token();
    let links = &leaf.delegation_chain;
    if links.len() > max_depth {
        return Err(AdmissionFault::TooDeep { id: leaf.id.clone(), depth: links.len(), max_depth });
    }
    if ancestors.len() > links.len() {
        return Err(AdmissionFault::AncestorCount {
            id: leaf.id.clone(),
            links: links.len(),
            given: ancestors.len(),
        });
    }
    for (position, link) in links.iter().enumerate() {
        if ancestors.get(position).is_none_or(|ancestor| ancestor.token().id != link.capability_id) {
            return Err(AdmissionFault::AncestorUnknown {
                id: leaf.id.clone(),
                ancestor: link.capability_id.clone(),
            });
        }
    }

    let root = ancestors.first().unwrap_or(token).token();
    if !trusted_issuers.contains(&root.issuer) {
        return Err(AdmissionFault::IssuerUntrusted { id: root.id.clone(), issuer: root.issuer });
    }
    constraint::affordable(&leaf.scope)
        .map_err(|fault| AdmissionFault::Unaffordable { id: leaf.id.clone(), fault })?;
    let lineage: Vec<&CapabilityToken> = ancestors.iter().chain([token]).map(VerifiedToken::token).collect();
    if !root.delegation_chain.is_empty() {
        // A root that was itself delegated would bring a parent that nobody looked at.
        return Err(step(root, leaf, StepFault::Chain));
    }
    for pair in lineage.windows(2) {
        if let [parent, child] = pair {
            delegation_step(parent, child).map_err(|fault| step(parent, child, fault))?;
        }
    }
    Ok(())
}

fn step(parent: &CapabilityToken, child: &CapabilityToken, fault: StepFault) -> AdmissionFault {
    AdmissionFault::Step { parent: parent.id.clone(), child: child.id.clone(), fault }
}

/// Whether `parent` may have been passed on as `child`. The signatures of both are known to be good.
pub(crate) fn delegation_step(parent: &CapabilityToken, child: &CapabilityToken) -> Result<(), StepFault> {
    let Some((link, inherited)) = child.delegation_chain.split_last() else { return Err(StepFault::Chain) };
    if inherited != parent.delegation_chain {
        return Err(StepFault::Chain);
    }
    if link.capability_id != parent.id {
        return Err(StepFault::ParentId { named: link.capability_id.clone() });
    }
    if child.delegation_chain.iter().any(|link| link.capability_id == child.id) {
        return Err(StepFault::IdReused);
    }
    if link.delegator != parent.subject {
        return Err(StepFault::Delegator);
    }
    if link.delegatee != child.subject {
        return Err(StepFault::Delegatee);
    }
    if child.issuer != link.delegator {
        return Err(StepFault::Issuer);
    }
    if link.timestamp < parent.issued_at || link.timestamp >= parent.expires_at {
        return Err(StepFault::Timestamp { timestamp: link.timestamp });
    }
    if child.issued_at < link.timestamp {
        return Err(StepFault::IssuedBeforeLink);
    }
    if child.expires_at > parent.expires_at {
        return Err(StepFault::ExpiresAfterParent);
    }
    delegable_subset(&child.scope, &parent.scope)?;
    for attenuation in &link.attenuations {
        if !holds(attenuation, &child.scope, child.expires_at) {
            return Err(StepFault::NotKept { kind: kind(attenuation) });
        }
    }
    Ok(())
}

fn kind(attenuation: &Attenuation) -> &'static str {
    match attenuation {
        Attenuation::RemoveTool(_) => "remove_tool",
        Attenuation::RemoveOperation(_) => "remove_operation",
        Attenuation::AddConstraint(_) => "add_constraint",
        Attenuation::ReduceBudget(_) => "reduce_budget",
        Attenuation::ShortenExpiry(_) => "shorten_expiry",
        Attenuation::ReduceCostPerInvocation(_) => "reduce_cost_per_invocation",
        Attenuation::ReduceTotalCost(_) => "reduce_total_cost",
    }
}
