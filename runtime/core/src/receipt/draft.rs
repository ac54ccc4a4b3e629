//! Signing a receipt.

use chio_json::{Json, JsonError, Sha256Hex, Signed};
use chio_spec::{
    CapabilityId, Decision, GuardEvidence, Receipt, ReceiptAction, ReceiptId, ReceiptMetadata, ServerId,
    ToolName,
};

use crate::keys::SigningKey;
use crate::seal::{UNSIGNED, seal};

/// Everything that a kernel says about one call. The signing key adds `kernel_key` and `signature`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptDraft {
    /// Identifier; receipts signed here are named `rcpt-` and a UUID version 7, which the caller brings.
    pub id: ReceiptId,
    /// Time of the decision, in Unix seconds.
    pub timestamp: u64,
    /// Capability that the call was made under.
    pub capability_id: CapabilityId,
    /// Server that owns the tool.
    pub tool_server: ServerId,
    /// Tool, or protocol method, that was called.
    pub tool_name: ToolName,
    /// What was asked for; see [`super::action`].
    pub action: ReceiptAction,
    /// What was decided.
    pub decision: Decision,
    /// Hash of the result; see [`super::content_hash`] and [`super::StreamHasher`].
    pub content_hash: Sha256Hex,
    /// SHA-256 of the canonical JSON of the policy in force.
    pub policy_hash: Sha256Hex,
    /// What each decision step found, in the order in which they ran.
    pub evidence: Vec<GuardEvidence>,
    /// Additional facts; left out of the receipt when there are none.
    pub metadata: ReceiptMetadata,
}

impl ReceiptDraft {
    /// Signs the receipt. It is written once, in canonical form, and the signature goes to its sorted place
    /// in that text.
    ///
    /// # Errors
    ///
    /// A time above 2^53 − 1 seconds, which the wire cannot carry.
    pub fn sign(self, kernel: &SigningKey) -> Result<Signed<Receipt>, JsonError> {
        let mut receipt = Receipt::new(
            self.action,
            self.capability_id,
            self.content_hash,
            self.decision,
            self.id,
            kernel.public().hex(),
            self.policy_hash.to_string(),
            UNSIGNED,
            self.timestamp,
            self.tool_name,
            self.tool_server,
        )
        .with_evidence(self.evidence);
        if self.metadata != ReceiptMetadata::new() {
            receipt = receipt.with_metadata(Json::of(&self.metadata)?);
        }
        let (text, signature) = seal(&receipt, kernel)?;
        receipt.signature = signature;
        Signed::written(text, receipt)
    }
}
