//! Running an allowed call: under its deadline, cancellable, and safe from a tool server that panics.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::stream::Streamed;
use crate::{ChunkSink, KernelError, Pauses, ToolCall, ToolOutput, ToolServerConnection};

/// How often a running call looks whether the operator has stopped its agent.
const STOP_POLL: Duration = Duration::from_millis(200);

/// How long a server may take to accept that a call is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How a dispatched call ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The tool server answered.
    Completed(ToolOutput),
    /// The tool server failed, panicked or broke off.
    Failed(KernelError),
    /// The caller cancelled, or is gone.
    Cancelled,
    /// The operator stopped the agent, or everything.
    Stopped,
    /// The deadline passed.
    TimedOut(Duration),
}

/// How long a call may take.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    pub(crate) limit: Duration,
    /// These do not count.
    pub(crate) pauses: Pauses,
    /// With its pauses.
    pub(crate) longest: Duration,
}

/// Runs `call` to one of its endings. Whatever it is, the chunks that passed are returned with it.
pub(crate) async fn dispatch(
    server: &dyn ToolServerConnection,
    call: &ToolCall,
    chunks: ChunkSink,
    time: &Time,
    cancel: &CancellationToken,
    stopped: impl Fn() -> bool,
) -> (Ending, Streamed) {
    let ending = {
        let invocation = without_panic(server.invoke(call, &chunks));
        tokio::select! {
            // In this order, so that a call that was cancelled while it waited never reaches its tool.
            biased;
            () = cancel.cancelled() => Ending::Cancelled,
            ended = invocation => match ended {
                Some(Ok(output)) => Ending::Completed(output),
                Some(Err(error)) => Ending::Failed(error),
                None => Ending::Failed(KernelError::ToolServerError("the tool server connection panicked".to_owned())),
            },
            () = until(stopped) => Ending::Stopped,
            () = time.pauses.spent(time.limit, time.longest) => Ending::TimedOut(time.limit),
        }
    };
    let reason = match &ending {
        Ending::Completed(_) | Ending::Failed(_) => None,
        Ending::Cancelled => Some("the caller cancelled the call"),
        Ending::Stopped => Some("the operator stopped the agent"),
        Ending::TimedOut(_) => Some("the deadline passed"),
    };
    if let Some(reason) = reason {
        // A server that does not even take the cancellation must not hold the receipt back.
        let _ = tokio::time::timeout(CANCEL_GRACE, without_panic(server.cancel(call, reason))).await;
    }
    (ending, chunks.finish())
}

async fn until(condition: impl Fn() -> bool) {
    loop {
        tokio::time::sleep(STOP_POLL).await;
        if condition() {
            return;
        }
    }
}

/// Awaits a future of somebody else's code; none when it panicked.
pub(crate) async fn without_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // The future is dropped right after a panic, so nobody sees the state it left behind.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
