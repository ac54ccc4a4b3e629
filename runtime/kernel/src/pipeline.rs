//! One call from request to outcome: decide, take, run.
//!
//! Whatever happens on the way, the call ends in [`Kernel::close`] with exactly one receipt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chio_spec::ErrorCode;
use chio_store::{Admission, AdmissionOutcome, Refusal, Settlement, Ticket};
use tokio::sync::SemaphorePermit;

use crate::connection::ToolCall;
use crate::dispatch::{Ending, Time, dispatch};
use crate::records::{self, Facts};
use crate::scope::Candidate;
use crate::steps::{Cleared, revoked, stopped, validity};
use crate::trail::{Denial, Progress, step};
use crate::verdict::{Verdict, judge};
use crate::{CallRequest, ChunkSink, Kernel, KernelError, Outcome, Patience, Pauses};

/// How far, in seconds, the clock may go back between two calls before the kernel stops believing it.
const CLOCK_SLACK: u64 = 60;

/// What an admitted call has taken from the store, and how to give it back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) ticket: Ticket,
    pub(crate) settlement: Settlement,
}

impl Kernel {
    pub(crate) async fn run(self: Arc<Self>, request: CallRequest) -> Outcome {
        let permit = self.turn().await;
        let facts = Facts::of_call(&request, self.now());
        let mut progress = Progress::default();
        match self.decide(&request, &facts, &mut progress).await {
            Ok((cleared, taken)) => self.execute(&request, facts, &cleared, taken, progress, permit).await,
            Err(denial) if progress.authenticated => self.deny(&facts, progress, denial, None).await,
            Err(denial) => {
                // Strangers wait for their turn outside, and with empty hands, so that they take nothing from holders.
                drop(permit);
                let facts = facts.of_stranger();
                drop(request);
                self.deny_stranger(&facts, progress, denial).await
            }
        }
    }

    /// A call's turn at the store. It is given back while the tool runs: a call that waits for its own client, or for
    /// hours, must not keep the others, or what it waits for, from being decided.
    async fn turn(&self) -> SemaphorePermit<'_> {
        match self.in_flight.acquire().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Every step up to the durable admission. A step's denial is not in the trail yet, except a guard's.
    async fn decide(
        &self,
        request: &CallRequest,
        facts: &Facts,
        progress: &mut Progress,
    ) -> Result<(Cleared, Taken), Denial> {
        self.clock_is_sane(facts.timestamp)?;
        let mut cleared = self.clear(request, facts.timestamp, progress).await?;
        let taken = self.admit(request, facts, &mut cleared, progress).await?;
        Ok((cleared, taken))
    }

    /// A clock that went back would make expired tokens and forgotten nonces good again.
    fn clock_is_sane(&self, now: u64) -> Result<(), Denial> {
        let latest = self.latest.fetch_max(now, Ordering::Relaxed);
        if now.saturating_add(CLOCK_SLACK) >= latest {
            return Ok(());
        }
        Err(Denial::new(ErrorCode::InternalError, step::VALIDITY, "the kernel's clock went back")
            .with_details(format!("it is {now}, and it was {latest} before; set the clock, then restart")))
    }

    /// The durable batch: stop and revocation once more, ids, nonce, budget, intent.
    async fn admit(
        &self,
        request: &CallRequest,
        facts: &Facts,
        cleared: &mut Cleared,
        progress: &mut Progress,
    ) -> Result<Taken, Denial> {
        let token = cleared.token.token();
        let read_only =
            self.policy().is_read_only(request.server_id.as_str(), request.target.tool_name().as_str());
        let mut refusal = Denial::new(ErrorCode::ScopeExceeded, step::SCOPE, "no grant admits the call");
        for Candidate { grant_index, charges } in std::mem::take(&mut cleared.candidates) {
            let admission = Admission {
                agents: progress.agents.clone(),
                now: facts.timestamp,
                token: records::stored_token(&cleared.token),
                ancestors: cleared.ancestors.iter().map(records::stored_token).collect(),
                nonce: cleared.nonce.clone(),
                charges,
                intent: (!read_only).then(|| records::intent(self, facts, token, grant_index)).transpose()?,
            };
            match self.store.admit(admission).await {
                Ok(AdmissionOutcome::Admitted(ticket)) => {
                    progress.admitted_by(grant_index);
                    progress.trail.passed(step::ADMISSION);
                    return Ok(Taken { ticket, settlement: Settlement::Charge });
                }
                Ok(AdmissionOutcome::Refused(refused @ Refusal::BudgetExhausted { .. })) => {
                    refusal = refused_admission(refused, cleared);
                }
                Ok(AdmissionOutcome::Refused(refused)) => return Err(refused_admission(refused, cleared)),
                Err(error) => {
                    return Err(Denial::new(error.code(), step::ADMISSION, "the call could not be recorded")
                        .with_details(error.to_string()));
                }
            }
        }
        Err(refusal)
    }

    async fn execute(
        &self,
        request: &CallRequest,
        facts: Facts,
        cleared: &Cleared,
        mut taken: Taken,
        mut progress: Progress,
        permit: SemaphorePermit<'_>,
    ) -> Outcome {
        // The admission waited for the disk; the token may have expired meanwhile.
        if let Err(denial) = validity(cleared.token.token(), self.now()) {
            taken.settlement = Settlement::Release;
            return self.deny(&facts, progress, denial, Some(taken)).await;
        }
        let Some(server) = self.server(&request.server_id) else {
            taken.settlement = Settlement::Release;
            let denial = Denial::new(ErrorCode::ToolNotRegistered, step::TOOL, "the tool server is gone");
            return self.deny(&facts, progress, denial, Some(taken)).await;
        };
        if request.cancel.is_cancelled() {
            // The caller left while the call waited, so the tool certainly does not run.
            taken.settlement = Settlement::Release;
            let verdict = Verdict::cancelled(ErrorCode::CallCancelled, "cancelled by the caller", None, 0);
            return self.close(&facts, progress, verdict, Some(taken)).await;
        }
        let call = ToolCall {
            call_id: Arc::from(facts.receipt_id.as_str()),
            target: request.target.clone(),
            arguments: request.arguments.clone(),
            meta: request.meta.clone(),
        };
        let mut limits = self.settings.stream_limits;
        if request.chunks.is_none() {
            // Chunks that nobody takes become one result.
            limits.total_bytes = limits.total_bytes.min(request.result_limit as u64);
        }
        let chunks = ChunkSink::new(request.chunks.clone(), limits);
        let (tool, task) = (self.policy().tool_timeout(), self.policy().task_timeout());
        let (limit, pauses) = match &request.patience {
            Patience::Call => (tool, Pauses::default()),
            Patience::CallBesides(pauses) => (tool, pauses.clone()),
            Patience::Task => (task, Pauses::default()),
        };
        // One question of the longest kind fits in.
        let time = Time { limit, pauses, longest: limit.saturating_add(task) };
        let stopped = || {
            let stops = self.store.stops();
            progress.agents.iter().any(|agent| stops.covers(agent))
        };
        drop(permit);
        let (ending, streamed) = dispatch(&*server, &call, chunks, &time, &request.cancel, stopped).await;
        if matches!(ending, Ending::Failed(KernelError::Unavailable(_))) {
            taken.settlement = Settlement::Release;
        }
        let verdict = judge(ending, streamed, request.chunks.is_some(), request.result_limit);
        match &verdict.denial {
            None => progress.trail.passed(step::DISPATCH),
            Some(denial) => progress.trail.failed(denial),
        }
        let _permit = self.turn().await;
        self.close(&facts, progress, verdict, Some(taken)).await
    }
}

fn refused_admission(refusal: Refusal, cleared: &Cleared) -> Denial {
    match refusal {
        Refusal::Stopped { agent } => stopped(agent.as_deref()),
        Refusal::Revoked { id } => revoked(&id, cleared.token.token()),
        Refusal::IdRebound { id } => {
            let reason = format!("capability id {id} belongs to another token");
            Denial::new(ErrorCode::CapabilityIdConflict, step::ADMISSION, reason)
        }
        Refusal::Replay => {
            Denial::new(ErrorCode::DpopReplayed, step::DPOP, "proof of possession was used before")
        }
        Refusal::NonceTableFull => {
            Denial::new(ErrorCode::KernelBusy, step::DPOP, "no room for another nonce")
                .with_details("every nonce on record is still within its window; try again later")
        }
        Refusal::BudgetExhausted { capability_id, grant_index, limit } => {
            let reason = format!("invocation budget exhausted for capability {capability_id}");
            Denial::new(ErrorCode::BudgetExhausted, step::BUDGET, reason).with_details(format!(
                "grant {grant_index} of {capability_id} allows {limit} calls, all of them used"
            ))
        }
        // A reason that this kernel does not know yet is a refusal all the same.
        other => Denial::new(ErrorCode::InternalError, step::ADMISSION, "the store refused the call")
            .with_details(format!("{other:?}")),
    }
}
