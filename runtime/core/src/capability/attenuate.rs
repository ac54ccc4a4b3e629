//! Passing a capability on, narrowed, without asking anybody.
//!
//! The holder signs a link from its own key to the new subject and issues the child itself. What a kernel
//! would refuse is refused here already, by the same rule ([`delegation_step`]), so that a mistake shows
//! where it can be mended.

use std::borrow::Cow;

use chio_json::{JsonError, PublicKeyHex, Signed};
use chio_spec::{
    Attenuation, AttenuationAddConstraint, AttenuationReduceBudget, AttenuationReduceCostPerInvocation,
    AttenuationReduceTotalCost, AttenuationRemoveOperation, AttenuationRemoveTool, AttenuationShortenExpiry,
    CapabilityId, CapabilityToken, ChioScope, DelegationLink, ErrorCode, ToolGrant,
};

use super::admit::{StepFault, delegation_step};
use super::issue::{CapabilityTemplate, issue};
use super::pattern::names_overlap;
use super::subset::cost_kept;
use super::token::{TokenFault, VerifiedToken};
use super::window::{TimeStatus, time_status};
use crate::keys::{KeyFault, PublicKey, SigningKey};
use crate::seal::{UNSIGNED, seal};

/// What a holder passes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Attenuate {
    /// Identifier of the child; must differ from those of its ancestors.
    pub id: CapabilityId,
    /// Key of the new holder.
    pub subject: PublicKeyHex,
    /// What the child allows.
    pub scope: ChioScope,
    /// End of the child's validity, in Unix seconds; not after the parent's.
    pub expires_at: u64,
    /// Time of the delegation and start of the child's validity, in Unix seconds.
    pub now: u64,
}

/// Why a capability cannot be passed on this way.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttenuateFault {
    /// The parent itself proves nothing.
    #[error(transparent)]
    Parent(#[from] TokenFault),
    /// Only the subject of a capability can pass it on.
    #[error("capability {parent} belongs to {subject}; sign with that key to delegate it")]
    NotHolder {
        /// The parent.
        parent: CapabilityId,
        /// Its subject.
        subject: PublicKeyHex,
    },
    /// The parent is not valid now.
    #[error("capability {parent} cannot be delegated now: it is {status}")]
    ParentWindow {
        /// The parent.
        parent: CapabilityId,
        /// Where now lies in its window.
        status: TimeStatus,
    },
    /// The child would never be valid.
    #[error("the child would expire at {expires_at}, which is not after now; choose a later time")]
    EmptyWindow {
        /// End of the child's validity, in Unix seconds.
        expires_at: u64,
    },
    /// The new holder's key is unusable.
    #[error("the new holder's key cannot be used: {0}")]
    Subject(#[from] KeyFault),
    /// A kernel would refuse the delegation.
    #[error("no kernel would admit this delegation: {0}")]
    Step(#[from] StepFault),
    /// The child cannot be written.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl AttenuateFault {
    /// The registry entry of this fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AttenuateFault::Parent(fault) => fault.code(),
            AttenuateFault::NotHolder { .. } => ErrorCode::SubjectMismatch,
            AttenuateFault::ParentWindow { status: TimeStatus::NotYetValid, .. } => {
                ErrorCode::CapabilityNotYetValid
            }
            AttenuateFault::ParentWindow { .. } => ErrorCode::CapabilityExpired,
            AttenuateFault::EmptyWindow { .. }
            | AttenuateFault::Subject(_)
            | AttenuateFault::Step(_)
            | AttenuateFault::Json(_) => ErrorCode::DelegationInvalid,
        }
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            AttenuateFault::Parent(fault) => fault.reason(),
            AttenuateFault::NotHolder { .. } => {
                Cow::Borrowed("only the holder of a capability can delegate it")
            }
            AttenuateFault::ParentWindow { .. } => Cow::Borrowed("capability cannot be delegated now"),
            AttenuateFault::EmptyWindow { .. } => Cow::Borrowed("delegated capability would never be valid"),
            AttenuateFault::Subject(fault) => fault.reason(),
            AttenuateFault::Step(StepFault::Wider(fault)) => fault.reason(),
            AttenuateFault::Step(_) | AttenuateFault::Json(_) => {
                Cow::Borrowed("delegation would not be admitted")
            }
        }
    }
}

/// Issues a child of `parent`, which `holder` holds. The link declares what the child gives up.
///
/// The depth of the chain is not limited here: how deep is too deep is the policy of the kernel that will
/// admit it.
///
/// # Errors
///
/// Whatever would keep a kernel from admitting the child: see [`AttenuateFault`].
pub fn attenuate(
    holder: &SigningKey,
    parent: &Signed<CapabilityToken>,
    request: Attenuate,
) -> Result<Signed<CapabilityToken>, AttenuateFault> {
    let verified = VerifiedToken::verify(parent)?;
    let parent = verified.token();
    let Attenuate { id, subject, scope, expires_at, now } = request;
    if holder.public() != *verified.subject() {
        return Err(AttenuateFault::NotHolder { parent: parent.id.clone(), subject: parent.subject });
    }
    let status = time_status(parent.issued_at, parent.expires_at, now);
    if status != TimeStatus::Valid {
        return Err(AttenuateFault::ParentWindow { parent: parent.id.clone(), status });
    }
    if expires_at <= now {
        return Err(AttenuateFault::EmptyWindow { expires_at });
    }
    PublicKey::try_from(subject)?;

    let attenuations = declare(parent, &scope, expires_at);
    let mut link = DelegationLink::new(parent.id.clone(), subject, holder.public().hex(), UNSIGNED, now)
        .with_attenuations(attenuations);
    let (_, signature) = seal(&link, holder)?;
    link.signature = signature;

    let mut delegation_chain = parent.delegation_chain.clone();
    delegation_chain.push(link);
    let child = issue(
        holder,
        CapabilityTemplate { id, subject, scope, issued_at: now, expires_at, delegation_chain },
    )?;
    delegation_step(parent, child.view().map_err(JsonError::clone)?)?;
    Ok(child)
}

/// Whether the child keeps what the attenuation declares. A grant is concerned when it could cover a call
/// that the attenuation names, so a declaration cannot be dodged by writing a wildcard.
pub(crate) fn holds(attenuation: &Attenuation, child: &ChioScope, expires_at: u64) -> bool {
    let concerned = |server: &str, tool: &str, keeps: &dyn Fn(&ToolGrant) -> bool| {
        child
            .grants
            .iter()
            .filter(|grant| names_overlap(&grant.server_id, server) && names_overlap(&grant.tool_name, tool))
            .all(keeps)
    };
    match attenuation {
        Attenuation::RemoveTool(gone) => concerned(&gone.server_id, &gone.tool_name, &|_| false),
        Attenuation::RemoveOperation(gone) => {
            concerned(&gone.server_id, &gone.tool_name, &|grant| !grant.operations.contains(&gone.operation))
        }
        Attenuation::AddConstraint(added) => concerned(&added.server_id, &added.tool_name, &|grant| {
            grant.constraints.contains(&added.constraint)
        }),
        Attenuation::ReduceBudget(limit) => concerned(&limit.server_id, &limit.tool_name, &|grant| {
            grant.max_invocations.is_some_and(|own| own <= limit.max_invocations)
        }),
        Attenuation::ShortenExpiry(limit) => expires_at <= limit.new_expires_at,
        Attenuation::ReduceCostPerInvocation(limit) => {
            concerned(&limit.server_id, &limit.tool_name, &|grant| {
                cost_kept(Some(&limit.max_cost_per_invocation), grant.max_cost_per_invocation.as_ref())
            })
        }
        Attenuation::ReduceTotalCost(limit) => concerned(&limit.server_id, &limit.tool_name, &|grant| {
            cost_kept(Some(&limit.max_total_cost), grant.max_total_cost.as_ref())
        }),
    }
}

/// The restrictions by which `child` differs from `parent`, as far as they can be said in these terms.
fn declare(parent: &CapabilityToken, child: &ChioScope, expires_at: u64) -> Vec<Attenuation> {
    let mut candidates = Vec::new();
    for grant in &parent.scope.grants {
        let (server, tool) = (&grant.server_id, &grant.tool_name);
        let removed = Attenuation::RemoveTool(AttenuationRemoveTool::new(server.clone(), tool.clone()));
        if holds(&removed, child, expires_at) {
            candidates.push(removed);
            continue;
        }
        candidates.extend(grant.operations.iter().map(|operation| {
            Attenuation::RemoveOperation(AttenuationRemoveOperation::new(
                *operation,
                server.clone(),
                tool.clone(),
            ))
        }));
    }
    for grant in &child.grants {
        candidates.extend(narrowed(grant, &parent.scope));
    }
    if expires_at < parent.expires_at {
        candidates.push(Attenuation::ShortenExpiry(AttenuationShortenExpiry::new(expires_at)));
    }

    let mut declared = Vec::new();
    for candidate in candidates {
        if holds(&candidate, child, expires_at) && !declared.contains(&candidate) {
            declared.push(candidate);
        }
    }
    declared
}

/// What a grant of the child limits further than each grant of the parent for the same tool.
fn narrowed(grant: &ToolGrant, parent: &ChioScope) -> Vec<Attenuation> {
    let (server, tool) = (&grant.server_id, &grant.tool_name);
    let origins: Vec<&ToolGrant> = parent
        .grants
        .iter()
        .filter(|origin| names_overlap(&origin.server_id, server) && names_overlap(&origin.tool_name, tool))
        .collect();
    let mut found = Vec::new();
    for constraint in &grant.constraints {
        if origins.iter().all(|origin| !origin.constraints.contains(constraint)) {
            found.push(Attenuation::AddConstraint(AttenuationAddConstraint::new(
                constraint.clone(),
                server.clone(),
                tool.clone(),
            )));
        }
    }
    if let Some(own) = grant.max_invocations
        && origins.iter().all(|origin| origin.max_invocations.is_none_or(|limit| own < limit))
    {
        found.push(Attenuation::ReduceBudget(AttenuationReduceBudget::new(
            own,
            server.clone(),
            tool.clone(),
        )));
    }
    if let Some(own) = &grant.max_cost_per_invocation
        && origins.iter().all(|origin| origin.max_cost_per_invocation.as_ref() != Some(own))
    {
        found.push(Attenuation::ReduceCostPerInvocation(AttenuationReduceCostPerInvocation::new(
            own.clone(),
            server.clone(),
            tool.clone(),
        )));
    }
    if let Some(own) = &grant.max_total_cost
        && origins.iter().all(|origin| origin.max_total_cost.as_ref() != Some(own))
    {
        found.push(Attenuation::ReduceTotalCost(AttenuationReduceTotalCost::new(
            own.clone(),
            server.clone(),
            tool.clone(),
        )));
    }
    found
}
