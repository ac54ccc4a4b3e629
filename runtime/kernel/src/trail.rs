//! What the decision steps found: evidence for the receipt, and the denial that ended the decision.

use chio_spec::{
    CapabilityId, ErrorCode, GuardEvidence, PolicyDenial, ReceiptAttribution, ReceiptRule, ToolCallError,
};

/// Names of the decision steps, as evidence and denials show them.
pub(crate) mod step {
    pub(crate) const EMERGENCY_STOP: &str = "emergency_stop";
    pub(crate) const STRUCTURE: &str = "structure";
    pub(crate) const SIGNATURE: &str = "signature";
    pub(crate) const VALIDITY: &str = "validity_window";
    pub(crate) const REVOCATION: &str = "revocation";
    pub(crate) const DELEGATION: &str = "delegation";
    pub(crate) const SUBJECT: &str = "subject_binding";
    pub(crate) const SCOPE: &str = "scope";
    pub(crate) const DPOP: &str = "dpop";
    pub(crate) const TOOL: &str = "tool_registry";
    pub(crate) const BUDGET: &str = "budget";
    pub(crate) const ADMISSION: &str = "admission";
    pub(crate) const DISPATCH: &str = "dispatch";
    pub(crate) const LOG: &str = "receipt_log";
}

/// Longest text, in bytes, that a reason or a piece of evidence may have. What a caller or a tool server wrote may stand
/// in it, and neither may fill the log.
const LONGEST_TEXT: usize = 1024;

/// The evidence of one decision, in the order in which the steps ran.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    evidence: Vec<GuardEvidence>,
}

impl Trail {
    pub(crate) fn passed(&mut self, step: &str) {
        self.evidence.push(GuardEvidence::new(step.to_owned(), true));
    }

    pub(crate) fn passed_with(&mut self, step: &str, details: impl Into<String>) {
        self.evidence.push(GuardEvidence::new(step.to_owned(), true).with_details(details.into()));
    }

    pub(crate) fn extend(&mut self, evidence: Vec<GuardEvidence>) {
        self.evidence.extend(evidence.into_iter().map(|mut entry| {
            entry.details = entry.details.map(bounded);
            entry
        }));
    }

    /// Records the denial of a step; a guard's denial is in the guards' own evidence already.
    pub(crate) fn failed(&mut self, denial: &Denial) {
        let entry = GuardEvidence::new(denial.guard.clone(), false);
        self.evidence.push(entry.with_details(denial.details.clone()));
    }

    pub(crate) fn evidence(&self) -> &[GuardEvidence] {
        &self.evidence
    }
}

/// How far the decision got; what a receipt may say about the caller depends on it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) trail: Trail,
    /// The token's identifier and whose authority it states, once it could be read.
    pub(crate) token: Option<(CapabilityId, ReceiptAttribution)>,
    /// The subject of the token and everybody who delegated to it: a stop of any of them stops the call.
    pub(crate) agents: Vec<String>,
    /// Whether the token's authority was proven.
    pub(crate) authenticated: bool,
    /// Whether a guard denied: its evidence is in the trail already.
    pub(crate) guard_denied: bool,
}

impl Progress {
    /// Notes the grant that admitted the call.
    pub(crate) fn admitted_by(&mut self, grant_index: u32) {
        if let Some((_, attribution)) = &mut self.token {
            attribution.grant_index = Some(grant_index);
        }
    }
}

/// Why a call does not complete.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    pub(crate) code: ErrorCode,
    /// The step or guard that denied.
    pub(crate) guard: String,
    /// Short and stable, for the agent.
    pub(crate) reason: String,
    /// Everything the operator may want to know.
    pub(crate) details: String,
    pub(crate) rule: Option<Box<ReceiptRule>>,
}

impl Denial {
    pub(crate) fn new(code: ErrorCode, guard: &str, reason: impl Into<String>) -> Self {
        let reason = bounded(reason.into());
        Self { code, guard: guard.to_owned(), details: reason.clone(), reason, rule: None }
    }

    pub(crate) fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: bounded(details.into()), ..self }
    }

    /// The denial in terms of the native wire. Codes without a wire name of their own never end a decision; should
    /// one arrive here, the kernel itself is at fault.
    pub(crate) fn wire_error(&self) -> ToolCallError {
        match self.code.native_name() {
            Some("capability_denied") => ToolCallError::CapabilityDenied(self.reason.clone()),
            Some("capability_expired") => ToolCallError::CapabilityExpired,
            Some("capability_revoked") => ToolCallError::CapabilityRevoked,
            Some("policy_denied") => {
                ToolCallError::PolicyDenied(PolicyDenial::new(self.guard.clone(), self.reason.clone()))
            }
            Some("tool_server_error") => ToolCallError::ToolServerError(self.reason.clone()),
            _ => ToolCallError::InternalError(self.reason.clone()),
        }
    }
}

/// Cuts a text at a character boundary, and says how long it was.
pub(crate) fn bounded(mut text: String) -> String {
    let length = text.len();
    if length > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push_str(&format!("… ({length} bytes)"));
    }
    text
}
