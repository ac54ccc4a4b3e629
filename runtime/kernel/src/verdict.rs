//! How a call ended, in the words of the receipt and of the wire.

use chio_core::hash::{NULL_CONTENT_HASH, sha256};
use chio_json::{Json, Sha256Hex};
use chio_spec::{
    Decision, DecisionCancelled, DecisionDeny, DecisionIncomplete, ErrorCode, ReceiptStream, ResultCancelled,
    ResultErr, ResultIncomplete, ResultOk, ResultStreamComplete, ToolCallResult,
};

use crate::dispatch::Ending;
use crate::stream::Streamed;
use crate::trail::{Denial, step};
use crate::{KernelError, ToolOutput};

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

pub(crate) fn judge(ending: Ending, streamed: Streamed, forwarded: bool, result_limit: usize) -> Verdict {
    let received = streamed.hasher.chunks();
    let (stream_hash, metadata) = streamed.hasher.finish(announced(&ending));
    let stream = (received > 0).then_some(metadata);
    match ending {
        Ending::Completed(ToolOutput::Value(_)) if received > 0 => {
            let text = "the tool server streamed chunks and then returned a value";
            Verdict::failed(ErrorCode::ToolServerError, text, stream)
        }
        Ending::Completed(ToolOutput::Value(value)) => Verdict::completed(value, result_limit),
        Ending::Completed(ToolOutput::Stream { announced })
            if announced.is_some_and(|count| count != received) =>
        {
            let reason = format!("the stream ended after {received} chunks");
            Verdict::incomplete(ErrorCode::ToolInterrupted, reason, stream, received)
        }
        Ending::Completed(ToolOutput::Stream { .. }) => {
            let result = if forwarded {
                ToolCallResult::StreamComplete(ResultStreamComplete::new(received))
            } else {
                ToolCallResult::Ok(Box::new(ResultOk::new(array(&streamed.collected))))
            };
            Verdict { decision: Decision::Allow, result, denial: None, content_hash: stream_hash, stream }
        }
        Ending::Failed(KernelError::Interrupted(text)) => {
            let reason = format!("the tool server ended before it answered: {}", shortened(&text));
            Verdict::incomplete(ErrorCode::ToolInterrupted, reason, stream, received)
        }
        Ending::Failed(error @ KernelError::Unavailable(_)) => {
            Verdict::failed(ErrorCode::ServerUnavailable, &error.to_string(), stream)
        }
        Ending::Failed(error) => Verdict::failed(ErrorCode::ToolServerError, &error.to_string(), stream),
        Ending::TimedOut(deadline) => {
            let reason = format!("the tool did not answer within {} s", deadline.as_secs());
            Verdict::incomplete(ErrorCode::ToolDeadlineExceeded, reason, stream, received)
        }
        Ending::Cancelled => {
            Verdict::cancelled(ErrorCode::CallCancelled, "cancelled by the caller", stream, received)
        }
        Ending::Stopped => {
            Verdict::cancelled(ErrorCode::EmergencyStop, "stopped by the operator", stream, received)
        }
    }
}

fn announced(ending: &Ending) -> Option<u64> {
    match ending {
        Ending::Completed(ToolOutput::Stream { announced }) => *announced,
        _ => None,
    }
}

impl Verdict {
    fn completed(value: Json, result_limit: usize) -> Self {
        let hashed = value.canonical().map(|canonical| (sha256(canonical.as_bytes()), canonical.len()));
        match hashed {
            Ok((_, bytes)) if bytes > result_limit => {
                let text = format!("the result has {bytes} bytes, and {result_limit} fit into one message");
                Self::failed(ErrorCode::ToolResultTooLarge, &text, None)
            }
            Ok((content_hash, _)) => Self {
                decision: Decision::Allow,
                result: ToolCallResult::Ok(Box::new(ResultOk::new(value))),
                denial: None,
                content_hash,
                stream: None,
            },
            Err(error) => Self::failed(
                ErrorCode::ToolServerError,
                &format!("the result is not readable JSON: {error}"),
                None,
            ),
        }
    }

    /// The denial of a call.
    pub(crate) fn denied(denial: Denial) -> Self {
        Self {
            decision: Decision::Deny(DecisionDeny::new(denial.guard.clone(), denial.reason.clone())),
            result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
            denial: Some(denial),
            content_hash: NULL_CONTENT_HASH,
            stream: None,
        }
    }

    /// The tool server did not do its part: a denial, by the seed's rule, although the tool may have run.
    fn failed(code: ErrorCode, text: &str, stream: Option<ReceiptStream>) -> Self {
        let denial = Denial::new(code, step::DISPATCH, shortened(text)).with_details(text);
        Self {
            decision: Decision::Deny(DecisionDeny::new(denial.guard.clone(), denial.reason.clone())),
            result: ToolCallResult::Err(ResultErr::new(denial.wire_error())),
            denial: Some(denial),
            content_hash: NULL_CONTENT_HASH,
            stream,
        }
    }

    fn incomplete(code: ErrorCode, reason: String, stream: Option<ReceiptStream>, received: u64) -> Self {
        Self {
            decision: Decision::Incomplete(DecisionIncomplete::new(reason.clone())),
            result: ToolCallResult::Incomplete(ResultIncomplete::new(received, reason.clone())),
            denial: Some(Denial::new(code, step::DISPATCH, reason)),
            content_hash: NULL_CONTENT_HASH,
            stream,
        }
    }

    pub(crate) fn cancelled(
        code: ErrorCode,
        reason: &str,
        stream: Option<ReceiptStream>,
        received: u64,
    ) -> Self {
        Self {
            decision: Decision::Cancelled(DecisionCancelled::new(reason.to_owned())),
            result: ToolCallResult::Cancelled(ResultCancelled::new(received, reason.to_owned())),
            denial: Some(Denial::new(code, step::DISPATCH, reason)),
            content_hash: NULL_CONTENT_HASH,
            stream,
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(FAILURE_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The chunks of a stream that no surface took, as one array.
fn array(chunks: &[Json]) -> Json {
    let items: Vec<&str> = chunks.iter().map(Json::get).collect();
    Json::from_text(format!("[{}]", items.join(","))).unwrap_or_else(|_| Json::null())
}
