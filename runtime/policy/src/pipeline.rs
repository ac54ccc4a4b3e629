//! Running the guards in order, and surviving them.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chio_spec::{ErrorCode, GuardEvidence, ReceiptRule};

use crate::{Guard, GuardCall, Verdict};

/// The guards of a policy, in the order in which they run.
#[derive(Default)]
pub struct Pipeline {
    guards: Vec<Box<dyn Guard>>,
}

/// What the pipeline decided, and what each guard that ran found.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineOutcome {
    /// The decision.
    pub decision: PipelineDecision,
    /// One entry for each guard that ran, in order.
    pub evidence: Vec<GuardEvidence>,
}

/// Whether the guards let a call pass.
#[derive(Clone, Debug, PartialEq)]
pub enum PipelineDecision {
    /// Every guard allowed the call.
    Allow,
    /// A guard denied it or could not decide.
    Deny(Box<GuardDenial>),
}

/// Why a guard stopped a call.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardDenial {
    /// The guard's name.
    pub guard: &'static str,
    /// `guard_denied`, or `guard_failed` if the guard could not decide.
    pub code: ErrorCode,
    /// Short and stable, for the agent.
    pub reason: String,
    /// The rule that denied, for the operator; none if the guard failed.
    pub rule: Option<ReceiptRule>,
    /// What exactly was found, for the operator.
    pub details: String,
}

impl Pipeline {
    /// A pipeline of the given guards, which run in this order.
    #[must_use]
    pub fn new(guards: Vec<Box<dyn Guard>>) -> Self {
        Self { guards }
    }

    /// Decides about a call: the first guard that denies or fails ends it.
    #[must_use]
    pub fn run(&self, call: &GuardCall<'_>) -> PipelineOutcome {
        let mut evidence = Vec::with_capacity(self.guards.len());
        for guard in &self.guards {
            let (details, denial) = step(guard.as_ref(), call);
            evidence
                .push(GuardEvidence::new(guard.name().to_owned(), denial.is_none()).with_details(details));
            if let Some(denial) = denial {
                return PipelineOutcome { decision: PipelineDecision::Deny(Box::new(denial)), evidence };
            }
        }
        PipelineOutcome { decision: PipelineDecision::Allow, evidence }
    }

    /// Whether a tool is shown in lists: no guard refuses it by its name alone.
    #[must_use]
    pub fn visible(&self, server: &str, tool: &str) -> bool {
        self.guards
            .iter()
            .all(|guard| catch_unwind(AssertUnwindSafe(|| guard.visible(server, tool))).unwrap_or(false))
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.guards.iter().map(|guard| guard.name())).finish()
    }
}

/// Asks one guard: what it found, and why it stops the call if it does. Guards hold no state that a panic could leave half
/// changed: they are shared immutably.
fn step(guard: &dyn Guard, call: &GuardCall<'_>) -> (String, Option<GuardDenial>) {
    let name = guard.name();
    let failed = |details: String| GuardDenial {
        guard: name,
        code: ErrorCode::GuardFailed,
        reason: "a guard could not decide".to_owned(),
        rule: None,
        details,
    };
    match catch_unwind(AssertUnwindSafe(|| guard.check(call))) {
        Ok(Ok(Verdict::Allow { details })) => (details, None),
        Ok(Ok(Verdict::Deny { reason, rule, details })) => {
            let code = ErrorCode::GuardDenied;
            let denial =
                GuardDenial { guard: name, code, reason, rule: Some(*rule), details: details.clone() };
            (details, Some(denial))
        }
        Ok(Err(error)) => {
            let details = format!("the guard failed, so the call is denied: {error}");
            (details.clone(), Some(failed(details)))
        }
        Err(panic) => {
            let details = format!("the guard panicked, so the call is denied: {}", panic_message(&*panic));
            (details.clone(), Some(failed(details)))
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        _ => "no message",
    }
}
