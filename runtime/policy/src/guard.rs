//! What a guard is: one question about one call.

use chio_spec::ReceiptRule;
use serde_json::Value;

/// A check of calls whose capability was accepted.
///
/// A guard decides from the call and its own configuration alone; it does no input or output and reads no clock.
/// An error or a panic denies the call.
pub trait Guard: Send + Sync {
    /// The name under which receipts and denials show the guard.
    fn name(&self) -> &'static str;

    /// Decides about one call.
    ///
    /// # Errors
    ///
    /// The guard cannot decide. The call is denied, and the message goes to the operator.
    fn check(&self, call: &GuardCall<'_>) -> Result<Verdict, GuardError>;

    /// Whether a tool is shown in lists. A guard that refuses a tool by its name alone says so here too, so that
    /// agents are not offered what they will be denied.
    fn visible(&self, _server: &str, _tool: &str) -> bool {
        true
    }
}

/// One call, as guards see it.
#[derive(Clone, Copy, Debug)]
pub struct GuardCall<'a> {
    /// Identifier of the server that is called.
    pub server: &'a str,
    /// Name of the tool, or of the protocol method if no tool is called.
    pub tool: &'a str,
    /// What is called.
    pub kind: CallKind,
    /// The arguments.
    pub arguments: &'a Value,
    /// The size of the arguments in bytes of canonical JSON.
    pub args_size: usize,
    /// The URI, if the call names a resource.
    pub resource_uri: Option<&'a str>,
    /// Who calls: the subject key of the capability.
    pub agent: &'a str,
}

/// What a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// A tool.
    Tool,
    /// A resource, to be read or subscribed to.
    Resource,
    /// A prompt.
    Prompt,
    /// A request of a tool server to its client.
    ClientRequest,
}

/// What a guard decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The call may go on.
    Allow {
        /// What was found, for the operator.
        details: String,
    },
    /// The call is denied.
    Deny {
        /// Short and stable, for the agent. It names no rule.
        reason: String,
        /// The rule that denied, for the operator.
        rule: Box<ReceiptRule>,
        /// What exactly was found, for the operator.
        details: String,
    },
}

/// A guard could not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GuardError(String);

impl GuardError {
    /// An error with a message for the operator.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
