//! Putting a call on record.

use std::sync::PoisonError;
use std::time::Duration;

use chio_spec::{Decision, DecisionIncomplete, ErrorCode};
use chio_store::{Completion, NewReceipt, Settlement, StoreError};
use tokio::time::Instant;

use crate::pipeline::Taken;
use crate::records::{self, Facts};
use crate::trail::{Denial, Progress, step};
use crate::verdict::Verdict;
use crate::{Kernel, KernelError, Outcome};

/// How long a store that is busy is asked again to record a receipt.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Kernel {
    /// Puts a denial on record.
    pub(crate) async fn deny(
        &self,
        facts: &Facts,
        mut progress: Progress,
        denial: Denial,
        taken: Option<Taken>,
    ) -> Outcome {
        if !progress.guard_denied {
            progress.trail.failed(&denial);
        }
        self.close(facts, progress, Verdict::denied(denial), taken).await
    }

    /// Puts the denial of a caller who proved nothing on record, in its turn. When too many of them wait already, the
    /// caller is told so, and only counted.
    pub(crate) async fn deny_stranger(&self, facts: &Facts, progress: Progress, denial: Denial) -> Outcome {
        if self.unauthenticated.turn().await {
            return self.deny(facts, progress, denial, None).await;
        }
        tracing::warn!(code = denial.code.number(), "more denied calls are waiting than are recorded");
        let busy = Denial::new(ErrorCode::KernelBusy, step::LOG, "too many denied calls are waiting")
            .with_details("this receipt is not in the log");
        self.unlogged(facts, progress, busy, false)
    }

    /// Signs the receipt and makes it durable. A result whose receipt cannot be made durable is withheld.
    pub(crate) async fn close(
        &self,
        facts: &Facts,
        progress: Progress,
        verdict: Verdict,
        taken: Option<Taken>,
    ) -> Outcome {
        let ran = taken.as_ref().is_some_and(|taken| taken.settlement == Settlement::Charge);
        let error = verdict.denial.as_ref().map(|denial| denial.code);
        let failure = match self.sign(facts, &progress, &verdict) {
            Ok(receipt) => {
                let new = records::new_receipt(facts, &progress, &verdict.decision, &receipt);
                match self.record(new, taken).await {
                    Ok(()) => {
                        let Verdict { decision, result, .. } = verdict;
                        return Outcome { decision, result, error, receipt, logged: true };
                    }
                    Err(failure) => failure.into(),
                }
            }
            Err(failure) => failure,
        };
        tracing::error!(receipt = facts.receipt_id.as_str(), error = %failure, "a receipt could not be recorded");
        let denial = Denial::new(failure.code(), step::LOG, "the decision could not be recorded")
            .with_details(format!(
                "receipt {}: {failure}; the receipt that says so is not in the log",
                facts.receipt_id
            ));
        self.unlogged(facts, progress, denial, ran)
    }

    /// Appends a receipt to the log, and settles what its call has taken in the same transaction. A store that is busy is
    /// asked again; what an admitted call leaves undone is done later.
    async fn record(&self, receipt: NewReceipt, taken: Option<Taken>) -> Result<(), StoreError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(10);
        let completion = taken.map(|Taken { ticket, settlement }| Completion {
            ticket,
            settlement,
            receipt: receipt.clone(),
        });
        loop {
            let attempt = match &completion {
                Some(completion) => self.store.complete(completion.clone()).await,
                None => self.store.append(receipt.clone()).await,
            };
            match attempt {
                Ok(_) => {
                    self.checkpoints.note_receipt();
                    return Ok(());
                }
                Err(error) if error.is_retryable() && Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).extend(completion);
                    return Err(error);
                }
            }
        }
    }

    /// Records the calls whose completion failed when they ended. Those that fail again stay for the next time; should
    /// this kernel end first, the next one records them as `incomplete`.
    pub(crate) async fn finish_unfinished(&self) {
        let unfinished = std::mem::take(&mut *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        for completion in unfinished {
            match self.store.complete(completion.clone()).await {
                // Closed means that the first attempt was durable although it was reported as failed.
                Ok(_) => self.checkpoints.note_receipt(),
                Err(StoreError::IntentClosed | StoreError::DuplicateReceipt { .. }) => {}
                Err(error) => {
                    tracing::warn!(receipt = completion.receipt.id.as_str(), %error, "a call is still not on record");
                    self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).push(completion);
                }
            }
        }
    }

    /// The answer when the log itself failed: an internal error, with a receipt of its own that says that it is not in
    /// the log. The result of a call that ran is withheld.
    fn unlogged(&self, facts: &Facts, mut progress: Progress, denial: Denial, ran: bool) -> Outcome {
        progress.trail.failed(&denial);
        let error = Some(denial.code);
        let reason = denial.reason.clone();
        let mut verdict = Verdict::denied(denial);
        if ran {
            verdict.decision = Decision::Incomplete(DecisionIncomplete::new(reason));
        }
        // Signing fails only for a clock beyond 2^53 seconds; `null` verifies nowhere.
        let receipt = self
            .sign(&facts.renamed(), &progress, &verdict)
            .unwrap_or_else(|_: KernelError| records::no_receipt());
        let Verdict { decision, result, .. } = verdict;
        Outcome { decision, result, error, receipt, logged: false }
    }
}
