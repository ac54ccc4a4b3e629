//! One call of a native connection: from its request frame to its response frame.

use std::sync::Arc;

use chio_json::{Json, Signed};
use chio_kernel::{CallRequest, Kernel, Outcome, Patience, Target};
use chio_spec::{
    KernelMessage, Receipt, RequestId, ResultErr, ToolCallChunk, ToolCallError, ToolCallRequest,
    ToolCallResponse, ToolCallResult,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::NativeError;
use crate::frame::MAX_PAYLOAD_BYTES;
use crate::outbox::Outbox;
use crate::peers::Peer;

/// Name of this surface in receipts.
const SURFACE: &str = "native";

/// Bytes of a response frame that are kept free for the receipt and the envelope. A receipt holds at most 32 KiB of
/// parameters by default; whatever is larger still is caught when the frame is made.
const RECEIPT_ROOM: usize = 256 * 1024;

/// Largest result, as canonical JSON, that the kernel may return to this surface.
const RESULT_LIMIT: usize = MAX_PAYLOAD_BYTES - RECEIPT_ROOM;

/// Chunks that may wait for the connection; a tool that streams faster is slowed down.
const CHUNKS_WAITING: usize = 16;

/// Runs one call and answers it: its chunks in order, then its response.
///
/// The request id is only echoed. Two calls in flight may carry the same one; they stay two calls with two receipts,
/// and telling their answers apart is up to the caller who chose so.
pub(crate) async fn answer(kernel: Arc<Kernel>, peer: Arc<Peer>, outbox: Outbox, request: ToolCallRequest) {
    // A call without an answer, whatever the reason, must not leave the peer waiting on an open connection.
    let unanswered = peer.gone.clone().drop_guard();
    let id = request.id.clone();
    let cancel = peer.gone.child_token();
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
    let decided = CancellationToken::new();
    let call = async {
        let outcome = kernel.call(call_request(&peer, request, sender, cancel.clone())).await;
        decided.cancel();
        outcome
    };
    let forward = async {
        if let Err(error) = forward(&id, chunks, &outbox, &decided).await {
            tracing::debug!(%error, "a stream could not be forwarded");
            cancel.cancel();
        }
    };
    let (outcome, ()) = tokio::join!(call, forward);
    if respond(id, outcome, &outbox).await.is_ok() {
        unanswered.disarm();
    }
}

fn call_request(
    peer: &Peer,
    request: ToolCallRequest,
    chunks: mpsc::Sender<Json>,
    cancel: CancellationToken,
) -> CallRequest {
    CallRequest {
        request_id: request.id.to_string(),
        surface: SURFACE,
        caller: Arc::clone(&peer.caller),
        capability: request.capability_token,
        ancestors: request.ancestors,
        dpop_proof: request.dpop_proof,
        patience: Patience::Call,
        model: None,
        server_id: request.server_id,
        target: Target::Tool(request.tool),
        arguments: request.params,
        meta: None,
        result_limit: RESULT_LIMIT,
        chunks: Some(chunks),
        cancel,
    }
}

/// Sends the chunks of a call until it is decided and none is left.
async fn forward(
    id: &RequestId,
    mut chunks: mpsc::Receiver<Json>,
    outbox: &Outbox,
    decided: &CancellationToken,
) -> Result<(), NativeError> {
    let mut index = 0;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = chunks.recv() => chunk,
            // What was sent before the end of the call is still received; nothing can follow.
            () = decided.cancelled(), if !chunks.is_closed() => {
                chunks.close();
                continue;
            }
        };
        let Some(chunk) = chunk else { return Ok(()) };
        outbox
            .send(&KernelMessage::ToolCallChunk(Box::new(ToolCallChunk::new(index, chunk, id.clone()))))
            .await?;
        index += 1;
    }
}

async fn respond(id: RequestId, outcome: Outcome, outbox: &Outbox) -> Result<(), NativeError> {
    let Outcome { result, receipt, .. } = outcome;
    let whole = outbox.send(&response(id.clone(), receipt.clone(), result)).await;
    let Err(error @ (NativeError::OutgoingTooLarge { .. } | NativeError::Unwritable(_))) = whole else {
        return whole;
    };
    tracing::warn!(%error, "a result could not be sent; its receipt is sent with an error in its place");
    let reason = ToolCallError::ToolServerError(format!("the result could not be delivered: {error}"));
    outbox.send(&response(id, receipt, ToolCallResult::Err(ResultErr::new(reason)))).await
}

fn response(id: RequestId, receipt: Signed<Receipt>, result: ToolCallResult) -> KernelMessage {
    KernelMessage::ToolCallResponse(Box::new(ToolCallResponse::new(id, receipt, result)))
}
