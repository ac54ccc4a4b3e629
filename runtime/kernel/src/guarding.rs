//! The guards of the policy, as one step of the decision.

use std::sync::Arc;

use chio_core::capability::constraint::ArgumentView;
use chio_policy::{CallKind, EffectivePolicy, GuardCall, PipelineDecision, PipelineOutcome};
use chio_spec::{CapabilityToken, ErrorCode, ServerId};

use crate::steps::Progress;
use crate::trail::Denial;
use crate::{CallRequest, Kernel, Target};

/// Arguments above this size, in bytes, are inspected on a thread of their own: a guard's work grows with them, and the
/// threads that serve everybody must not wait for it.
const INSPECTED_INLINE: usize = 64 << 10;

impl Kernel {
    pub(crate) async fn guards(
        &self,
        request: &CallRequest,
        arguments: &Arc<ArgumentView>,
        token: &CapabilityToken,
        progress: &mut Progress,
    ) -> Result<(), Denial> {
        let outcome = if arguments.size() <= INSPECTED_INLINE {
            inspect(self.policy(), &request.server_id, &request.target, arguments, token)
        } else {
            let (policy, arguments) = (Arc::clone(self.policy()), Arc::clone(arguments));
            let (server, target, token) = (request.server_id.clone(), request.target.clone(), token.clone());
            tokio::task::spawn_blocking(move || inspect(&policy, &server, &target, &arguments, &token))
                .await
                .map_err(|error| {
                    Denial::new(ErrorCode::GuardFailed, "guard-pipeline", "a guard could not decide")
                        .with_details(error.to_string())
                })?
        };
        progress.trail.extend(outcome.evidence);
        match outcome.decision {
            PipelineDecision::Allow => Ok(()),
            PipelineDecision::Deny(denial) => {
                progress.guard_denied = true;
                let entry =
                    Denial::new(denial.code, denial.guard, denial.reason).with_details(denial.details);
                Err(Denial { rule: denial.rule.map(Box::new), ..entry })
            }
        }
    }
}

fn inspect(
    policy: &EffectivePolicy,
    server: &ServerId,
    target: &Target,
    arguments: &ArgumentView,
    token: &CapabilityToken,
) -> PipelineOutcome {
    let (kind, resource_uri) = match target {
        Target::Tool(_) => (CallKind::Tool, None),
        Target::Resource { uri, .. } => (CallKind::Resource, Some(uri.as_str())),
        Target::Prompt { .. } => (CallKind::Prompt, None),
    };
    policy.pipeline().run(&GuardCall {
        server: server.as_str(),
        tool: target.tool_name().as_str(),
        kind,
        arguments: arguments.value(),
        args_size: arguments.size(),
        resource_uri,
        agent: &token.subject.to_string(),
    })
}
