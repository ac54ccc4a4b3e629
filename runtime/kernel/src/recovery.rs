//! Calls whose kernel ended before they did.
//!
//! Their intents are still open, and whether their tools ran is unknown. Each becomes an `incomplete` receipt, exactly
//! once, by whichever kernel opens the store next; their budgets stay charged.

use chio_core::hash::NULL_CONTENT_HASH;
use chio_core::receipt::ReceiptDraft;
use chio_spec::{
    Decision, DecisionIncomplete, ErrorCode, GuardEvidence, ReceiptError, ReceiptMetadata, ReceiptRecovery,
};
use chio_store::{Completion, DeadIntent, NewReceipt, Settlement, StoreError};

use crate::records::{Intent, outcome};
use crate::trail::step;
use crate::{Kernel, KernelError};

/// The reason of every receipt made here.
const REASON: &str = "the kernel ended during the call; whether the tool ran is unknown";

impl Kernel {
    /// Closes every open intent of a kernel that is gone. Returns how many this kernel closed.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn recover(&self) -> Result<usize, KernelError> {
        let mut closed = 0;
        for dead in self.store.dead_intents().await? {
            match self.close_dead(dead).await {
                Ok(()) => closed += 1,
                // Another kernel was quicker.
                Err(KernelError::Store(StoreError::IntentClosed)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(closed)
    }

    async fn close_dead(&self, dead: DeadIntent) -> Result<(), KernelError> {
        let unreadable =
            |error: &dyn std::fmt::Display| KernelError::Receipt(format!("a dead intent: {error}"));
        let intent: Intent = match serde_json::from_str(&dead.context) {
            Ok(intent) => intent,
            // Something was admitted, and that must not stay unrecorded, nor keep the kernel from starting.
            Err(error) => {
                tracing::warn!(%error, "the intent of a call that a kernel left open cannot be read");
                Intent::unreadable(&dead.context, self.policy().hash())?
            }
        };
        let decision = Decision::Incomplete(DecisionIncomplete::new(REASON.to_owned()));
        let code = ErrorCode::OutcomeUnknown;
        let mut metadata = ReceiptMetadata::new()
            .with_request(intent.request)
            .with_recovery(ReceiptRecovery::new(dead.admitted_at))
            .with_error(ReceiptError::new(code.number(), code.name()));
        metadata.attribution = intent.attribution;
        metadata.caller = intent.caller;
        metadata.model_metadata = intent.model;
        let draft = ReceiptDraft {
            id: intent.receipt_id,
            timestamp: self.now(),
            capability_id: intent.capability_id,
            tool_server: intent.server,
            tool_name: intent.tool,
            action: intent.action,
            decision,
            content_hash: NULL_CONTENT_HASH,
            policy_hash: intent.policy_hash,
            evidence: vec![
                GuardEvidence::new(step::DISPATCH.to_owned(), false).with_details(REASON.to_owned()),
            ],
            metadata,
        };
        let (id, timestamp) = (draft.id.as_str().to_owned(), draft.timestamp);
        let capability_id = draft.capability_id.as_str().to_owned();
        let (server, tool) = (draft.tool_server.as_str().to_owned(), draft.tool_name.as_str().to_owned());
        let outcome = outcome(&draft.decision);
        let signed = draft.sign(&self.settings.signing_key).map_err(|error| unreadable(&error))?;
        let text = signed.text().to_owned();
        let receipt = NewReceipt { id, timestamp, outcome, capability_id, server, tool, text };
        self.store
            .complete(Completion { ticket: dead.ticket, settlement: Settlement::Charge, receipt })
            .await?;
        Ok(())
    }
}
