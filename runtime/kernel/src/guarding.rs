//! The guards of the policy, as one step of the decision.

use std::sync::Arc;

use chio_core::capability::constraint::ArgumentView;
use chio_policy::{CallKind, EffectivePolicy, GuardCall, PipelineDecision, PipelineOutcome};
use chio_spec::{CapabilityToken, ServerId};

use crate::steps::offload;
use crate::trail::{Denial, Progress};
use crate::{CallRequest, Kernel, Target};

impl Kernel {
    pub(crate) async fn guards(
        &self,
        request: &CallRequest,
        arguments: &Arc<ArgumentView>,
        token: &CapabilityToken,
        progress: &mut Progress,
    ) -> Result<(), Denial> {
        let (policy, arguments) = (Arc::clone(self.policy()), Arc::clone(arguments));
        let (server, target, agent) =
            (request.server_id.clone(), request.target.clone(), token.subject.to_string());
        let inspect = move || inspect(&policy, &server, &target, &arguments, &agent);
        let outcome = offload(request.arguments.get().len(), inspect).await?;
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
    agent: &str,
) -> PipelineOutcome {
    let (kind, resource_uri) = match target {
        Target::Tool(_) => (CallKind::Tool, None),
        Target::Resource { uri, .. } => (CallKind::Resource, Some(uri.as_str())),
        Target::Prompt { .. } => (CallKind::Prompt, None),
        Target::ClientRequest { .. } => (CallKind::ClientRequest, None),
    };
    policy.pipeline().run(&GuardCall {
        server: server.as_str(),
        tool: target.tool_name().as_str(),
        kind,
        arguments: arguments.value(),
        args_size: arguments.size(),
        resource_uri,
        agent,
    })
}
