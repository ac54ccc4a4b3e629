//! One call from request to outcome: decide, take, run, record.
//!
//! Whatever happens on the way, the call ends in [`Kernel::close`] with exactly one receipt.

use std::sync::Arc;

use chio_core::capability::constraint::ArgumentView;
use chio_core::hash::{NULL_CONTENT_HASH, sha256};
use chio_json::{Json, Sha256Hex};
use chio_spec::{
    Decision, DecisionCancelled, DecisionDeny, DecisionIncomplete, ErrorCode, ReceiptStream, ResultCancelled,
    ResultErr, ResultIncomplete, ResultOk, ResultStreamComplete, ToolCallResult,
};
use chio_store::{Admission, AdmissionOutcome, Refusal, Settlement, Ticket};

use crate::connection::ToolCall;
use crate::dispatch::{Ending, dispatch};
use crate::records::{self, Facts};
use crate::steps::{Candidate, Cleared, Progress, revoked, stopped, validity};
use crate::stream::Streamed;
use crate::trail::{Denial, step};
use crate::{CallRequest, ChunkSink, Kernel, KernelError, Outcome, ToolOutput};

/// Longest text of a tool server's failure that an agent is shown, in characters.
const FAILURE_TEXT: usize = 500;

/// How a call ended, before it is put on record.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) decision: Decision,
    pub(crate) result: ToolCallResult,
    pub(crate) denial: Option<Denial>,
    pub(crate) content_hash: Sha256Hex,
    pub(crate) stream: Option<ReceiptStream>,
}

/// What an admitted call has taken from the store, and how to give it back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) ticket: Ticket,
    pub(crate) settlement: Settlement,
}

impl Kernel {
    pub(crate) async fn run(self: Arc<Self>, request: CallRequest) -> Outcome {
        let Ok(permit) = self.in_flight.acquire().await else {
            // The semaphore is never closed.
            return std::future::pending().await;
        };
        let now = self.now();
        let facts = Facts::of_call(&request, now);
        let mut progress = Progress::default();
        match self.decide(&request, &facts, &mut progress).await {
            Ok(Admitted { cleared, taken }) => self.execute(&request, facts, cleared, taken, progress).await,
            Err(denial) => {
                // Strangers wait for their turn outside, so that they never take the places of holders.
                let _permit = progress.authenticated.then_some(permit);
                self.deny(&facts, progress, denial, None).await
            }
        }
    }

    /// Every step up to the durable admission. A step's denial is not in the trail yet, except a guard's.
    async fn decide(
        &self,
        request: &CallRequest,
        facts: &Facts,
        progress: &mut Progress,
    ) -> Result<Admitted, Denial> {
        let arguments = ArgumentView::new(&request.arguments).map_err(|error| {
            Denial::new(ErrorCode::InvalidRequestShape, step::STRUCTURE, "arguments are not readable JSON")
                .with_details(error.to_string())
        })?;
        let mut cleared = self.clear(request, &Arc::new(arguments), facts.timestamp, progress).await?;
        let (taken, grant_index) = self.admit(request, facts, &mut cleared).await?;
        progress.grant_index = Some(grant_index);
        progress.trail.passed(step::ADMISSION);
        Ok(Admitted { cleared, taken })
    }

    /// The durable batch: stop and revocation once more, ids, nonce, budget, intent.
    async fn admit(
        &self,
        request: &CallRequest,
        facts: &Facts,
        cleared: &mut Cleared,
    ) -> Result<(Taken, u32), Denial> {
        let token = cleared.token.token();
        let read_only =
            self.policy().is_read_only(request.server_id.as_str(), request.target.tool_name().as_str());
        let mut refusal = Denial::new(ErrorCode::ScopeExceeded, step::SCOPE, "no grant admits the call");
        for Candidate { grant_index, charges } in std::mem::take(&mut cleared.candidates) {
            let admission = Admission {
                agent: token.subject.to_string(),
                now: facts.timestamp,
                token: records::stored_token(&cleared.token),
                ancestors: cleared.ancestors.iter().map(records::stored_token).collect(),
                nonce: cleared.nonce.clone(),
                charges,
                intent: (!read_only).then(|| records::intent(self, facts, token, grant_index)).transpose()?,
            };
            match self.store.admit(admission).await {
                Ok(AdmissionOutcome::Admitted(ticket)) => {
                    return Ok((Taken { ticket, settlement: Settlement::Charge }, grant_index));
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
        cleared: Cleared,
        mut taken: Taken,
        mut progress: Progress,
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
            let verdict = cancelled(ErrorCode::CallCancelled, "cancelled by the caller", None, 0);
            return self.close(&facts, progress, verdict, Some(taken)).await;
        }
        let call = ToolCall {
            call_id: Arc::from(facts.receipt_id.as_str()),
            target: request.target.clone(),
            arguments: request.arguments.clone(),
            meta: request.meta.clone(),
        };
        let agent = cleared.token.token().subject.to_string();
        let chunks = ChunkSink::new(request.chunks.clone(), self.settings.stream_limits);
        let timeout = self.policy().tool_timeout();
        let stopped = || self.store.stops().covers(&agent);
        let (ending, streamed) = dispatch(&*server, &call, chunks, timeout, &request.cancel, stopped).await;
        let verdict = judge(ending, streamed, request.chunks.is_some(), request.result_limit);
        match &verdict.denial {
            None => progress.trail.passed(step::DISPATCH),
            Some(denial) => progress.trail.failed(denial),
        }
        self.close(&facts, progress, verdict, Some(taken)).await
    }

    /// Puts a denial on record.
    pub(crate) async fn deny(
        &self,
        facts: &Facts,
        mut progress: Progress,
        denial: Denial,
        taken: Option<Taken>,
    ) -> Outcome {
        if !progress.authenticated {
            self.unauthenticated.turn().await;
        }
        if !progress.guard_denied {
            progress.trail.failed(&denial);
        }
        let verdict = Verdict {
            decision: Decision::Deny(DecisionDeny::new(denial.guard.clone(), denial.reason.clone())),
            result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
            denial: Some(denial),
            content_hash: NULL_CONTENT_HASH,
            stream: None,
        };
        self.close(facts, progress, verdict, taken).await
    }

    /// Signs the receipt and makes it durable. A result whose receipt cannot be made durable is withheld.
    pub(crate) async fn close(
        &self,
        facts: &Facts,
        progress: Progress,
        verdict: Verdict,
        taken: Option<Taken>,
    ) -> Outcome {
        let error = verdict.denial.as_ref().map(|denial| denial.code);
        let failure = match self.sign(facts, &progress, &verdict) {
            Ok(receipt) => match self.record(facts, &progress, &verdict.decision, &receipt, taken).await {
                Ok(()) => {
                    let Verdict { decision, result, .. } = verdict;
                    return Outcome { decision, result, error, receipt, logged: true };
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        self.unlogged(facts, progress, &verdict, &failure)
    }

    /// The answer when the log itself failed: an internal error, with a receipt that says that it is not in the log.
    /// A call that ran keeps its open intent, which becomes an `incomplete` receipt once its kernel is gone.
    fn unlogged(
        &self,
        facts: &Facts,
        progress: Progress,
        verdict: &Verdict,
        failure: &KernelError,
    ) -> Outcome {
        tracing::error!(receipt = facts.receipt_id.as_str(), error = %failure, "the receipt could not be recorded");
        let denial = Denial::new(failure.code(), step::LOG, "the decision could not be recorded")
            .with_details(format!("{failure}; this receipt is not in the log"));
        let ran = !matches!(verdict.decision, Decision::Deny(_));
        let reason = denial.reason.clone();
        let decision = if ran {
            Decision::Incomplete(DecisionIncomplete::new(reason))
        } else {
            Decision::Deny(DecisionDeny::new(denial.guard.clone(), reason))
        };
        let mut progress = progress;
        progress.trail.failed(&denial);
        let verdict = Verdict {
            decision: decision.clone(),
            result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
            content_hash: NULL_CONTENT_HASH,
            stream: None,
            denial: Some(denial),
        };
        // Signing fails only for a clock beyond 2^53 seconds; `null` verifies nowhere.
        let receipt = self.sign(facts, &progress, &verdict).unwrap_or_else(|_| records::no_receipt());
        Outcome { decision, error: Some(failure.code()), result: verdict.result, receipt, logged: false }
    }
}

/// A call that may run.
struct Admitted {
    cleared: Cleared,
    taken: Taken,
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

fn judge(ending: Ending, streamed: Streamed, forwarded: bool, result_limit: usize) -> Verdict {
    let received = streamed.hasher.chunks();
    let (stream_hash, metadata) = streamed.hasher.finish(announced(&ending));
    let stream = (received > 0).then_some(metadata);
    match ending {
        Ending::Completed(ToolOutput::Value(value)) => completed(value, result_limit),
        Ending::Completed(ToolOutput::Stream { announced })
            if announced.is_some_and(|count| count != received) =>
        {
            let reason = format!("the stream ended after {received} chunks");
            incomplete(ErrorCode::ToolInterrupted, reason, stream, received)
        }
        Ending::Completed(ToolOutput::Stream { .. }) => {
            let result = if forwarded {
                ToolCallResult::StreamComplete(ResultStreamComplete::new(received))
            } else {
                ToolCallResult::Ok(Box::new(ResultOk::new(records::array(&streamed.collected))))
            };
            Verdict { decision: Decision::Allow, result, denial: None, content_hash: stream_hash, stream }
        }
        Ending::Failed(KernelError::Interrupted(text)) => {
            let reason = format!("the tool server ended before it answered: {}", shortened(&text));
            incomplete(ErrorCode::ToolInterrupted, reason, stream, received)
        }
        Ending::Failed(error) => failed(ErrorCode::ToolServerError, &error.to_string(), stream),
        Ending::TimedOut(deadline) => {
            let reason = format!("the tool did not answer within {} s", deadline.as_secs());
            incomplete(ErrorCode::ToolDeadlineExceeded, reason, stream, received)
        }
        Ending::Cancelled => cancelled(ErrorCode::CallCancelled, "cancelled by the caller", stream, received),
        Ending::Stopped => cancelled(ErrorCode::EmergencyStop, "stopped by the operator", stream, received),
    }
}

fn announced(ending: &Ending) -> Option<u64> {
    match ending {
        Ending::Completed(ToolOutput::Stream { announced }) => *announced,
        _ => None,
    }
}

fn completed(value: Json, result_limit: usize) -> Verdict {
    let hashed = value.canonical().map(|canonical| (sha256(canonical.as_bytes()), canonical.len()));
    match hashed {
        Ok((_, bytes)) if bytes > result_limit => {
            let text = format!("the result has {bytes} bytes, and {result_limit} fit into one message");
            failed(ErrorCode::ToolResultTooLarge, &text, None)
        }
        Ok((content_hash, _)) => Verdict {
            decision: Decision::Allow,
            result: ToolCallResult::Ok(Box::new(ResultOk::new(value))),
            denial: None,
            content_hash,
            stream: None,
        },
        Err(error) => {
            failed(ErrorCode::ToolServerError, &format!("the result is not readable JSON: {error}"), None)
        }
    }
}

/// The tool server did not do its part: a denial, by the seed's rule, although the tool may have run.
fn failed(code: ErrorCode, text: &str, stream: Option<ReceiptStream>) -> Verdict {
    let denial = Denial::new(code, step::DISPATCH, shortened(text)).with_details(text);
    Verdict {
        decision: Decision::Deny(DecisionDeny::new(denial.guard.clone(), denial.reason.clone())),
        result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
        denial: Some(denial),
        content_hash: NULL_CONTENT_HASH,
        stream,
    }
}

fn incomplete(code: ErrorCode, reason: String, stream: Option<ReceiptStream>, received: u64) -> Verdict {
    Verdict {
        decision: Decision::Incomplete(DecisionIncomplete::new(reason.clone())),
        result: ToolCallResult::Incomplete(ResultIncomplete::new(received, reason.clone())),
        denial: Some(Denial::new(code, step::DISPATCH, reason)),
        content_hash: NULL_CONTENT_HASH,
        stream,
    }
}

fn cancelled(code: ErrorCode, reason: &str, stream: Option<ReceiptStream>, received: u64) -> Verdict {
    Verdict {
        decision: Decision::Cancelled(DecisionCancelled::new(reason.to_owned())),
        result: ToolCallResult::Cancelled(ResultCancelled::new(received, reason.to_owned())),
        denial: Some(Denial::new(code, step::DISPATCH, reason)),
        content_hash: NULL_CONTENT_HASH,
        stream,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(FAILURE_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
