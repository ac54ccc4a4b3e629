//! The guards of the policy, as one step of the decision.

use chio_core::capability::constraint::ArgumentView;
use chio_policy::{CallKind, GuardCall, PipelineDecision};
use chio_spec::CapabilityToken;

use crate::steps::Progress;
use crate::trail::Denial;
use crate::{CallRequest, Kernel, Target};

impl Kernel {
    pub(crate) fn guards(
        &self,
        request: &CallRequest,
        arguments: &ArgumentView,
        token: &CapabilityToken,
        progress: &mut Progress,
    ) -> Result<(), Denial> {
        let agent = token.subject.to_string();
        let (kind, resource_uri) = match &request.target {
            Target::Tool(_) => (CallKind::Tool, None),
            Target::Resource { uri, .. } => (CallKind::Resource, Some(uri.as_str())),
            Target::Prompt { .. } => (CallKind::Prompt, None),
        };
        let call = GuardCall {
            server: request.server_id.as_str(),
            tool: request.target.tool_name().as_str(),
            kind,
            arguments: arguments.value(),
            args_size: arguments.size(),
            resource_uri,
            agent: &agent,
        };
        let outcome = self.policy().pipeline().run(&call);
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
