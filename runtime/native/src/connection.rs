//! One native connection, from its first frame to its end.
//!
//! One task reads and answers what needs no call; every call has a task of its own; one task writes. Whatever is slow
//! about a peer (its sending, its reading, its calls) is felt by that peer only:
//!
//! * While its calls are at their limit, no further frame is taken from it. Meanwhile a little is read ahead, so that
//!   the peer's disappearance is noticed and its calls are cancelled.
//! * While it does not read, its chunks and responses wait in its own [outbox](crate::outbox).
//!
//! The end of the stream cancels the calls in flight, as the wire prescribes: the connection is closed. Standard input
//! and output are two streams; there the end of input only says that no further request comes, and the calls in flight
//! are answered. After a frame that cannot be read there is no way to find the next one, so the connection is closed.

use std::sync::Arc;
use std::time::Duration;

use chio_kernel::Kernel;
use chio_spec::{AgentMessage, CapabilityList, CapabilityRevoked, KernelMessage, ToolCallRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::frame::MAX_PAYLOAD_BYTES;
use crate::memory::{FrameMemory, Reservation};
use crate::outbox::Outbox;
use crate::peers::{Peer, Turn};
use crate::reader::FrameReader;
use crate::{NativeError, ServerLimits, calls, frame, revocations};

/// After an error the peer may still be sending. Closing at once would reset the connection and could destroy
/// answers on their way, so a moment is spent on reading what comes.
const LINGER: Duration = Duration::from_millis(500);

/// Bytes of a capability list that are kept free for its envelope.
const LIST_ENVELOPE: usize = 64;

/// What all connections of one server share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) limits: ServerLimits,
    pub(crate) memory: FrameMemory,
    pub(crate) shutdown: CancellationToken,
}

/// What the end of the peer's stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// The peer is gone; its calls are cancelled.
    Cancel,
    /// No further request comes; calls in flight are answered.
    Finish,
}

/// Serves one connection until it ends and all its calls have ended.
pub(crate) async fn run<R, W>(shared: Shared, peer: Arc<Peer>, source: R, sink: W, at_end: AtEnd)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let deadline = shared.limits.frame_deadline;
    let (grace, shutdown) = (shared.limits.grace, shared.shutdown.clone());
    let mut reader = FrameReader::with_memory(source, deadline, shared.memory.clone());
    let (outbox, mut writer) = Outbox::start(sink, deadline, peer.gone.clone());
    let (kernel, caller) = (Arc::clone(&shared.kernel), Arc::clone(&peer.caller));
    let push = revocations::push(kernel.revocations(), kernel, caller, outbox.clone());
    let notices = AbortOnDropHandle::new(tokio::spawn(push));
    let mut connection = Connection { shared, peer, outbox, at_end, calls: JoinSet::new() };
    let stopped = connection.read(&mut reader).await;
    connection.finish(&stopped, &mut reader).await;

    drop((connection, notices));
    // The writer ends by itself: nobody can queue any more, and each frame has its deadline.
    let given_up = async {
        shutdown.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        _ = &mut writer => {}
        () = given_up => writer.abort(),
    }
    if matches!(stopped, Stopped::Refused) {
        let _ = timeout(LINGER, reader.discard_rest()).await;
    }
}

struct Connection {
    shared: Shared,
    peer: Arc<Peer>,
    outbox: Outbox,
    at_end: AtEnd,
    calls: JoinSet<()>,
}

/// Why nothing is read any more.
enum Stopped {
    /// The stream ended, and that only means that no further request comes.
    EndOfInput,
    /// The server shuts down.
    Shutdown,
    /// The peer sent what cannot be read.
    Refused,
    /// The peer is gone, does not read, or had to make way.
    Gone,
}

impl Connection {
    async fn read<R: AsyncRead + Unpin>(&mut self, reader: &mut FrameReader<R>) -> Stopped {
        let gone = self.peer.gone.clone();
        let shutdown = self.shared.shutdown.clone();
        tokio::select! {
            ended = self.take_frames(reader) => match ended {
                Ok(stopped) => stopped,
                Err(NativeError::ConnectionClosed) => Stopped::Gone,
                Err(error) => {
                    tracing::info!(%error, "a native connection is closed");
                    Stopped::Refused
                }
            },
            () = gone.cancelled() => Stopped::Gone,
            () = shutdown.cancelled() => Stopped::Shutdown,
        }
    }

    async fn take_frames<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut FrameReader<R>,
    ) -> Result<Stopped, NativeError> {
        while let Some(frame) = reader.next().await? {
            let (payload, reservation) = frame.into_parts();
            match frame::decode(payload)? {
                AgentMessage::Heartbeat => self.outbox.send(&KernelMessage::Heartbeat).await?,
                AgentMessage::ListCapabilities => self.list_capabilities().await?,
                AgentMessage::ToolCallRequest(request) => {
                    let Some(turn) = self.turn(reader).await else { return Ok(Stopped::Gone) };
                    self.start(*request, (reservation, turn));
                }
            }
        }
        Ok(match self.at_end {
            AtEnd::Cancel => Stopped::Gone,
            AtEnd::Finish => Stopped::EndOfInput,
        })
    }

    /// Waits until one more call may run on this connection; none when the peer disappears meanwhile.
    async fn turn<R: AsyncRead + Unpin>(&self, reader: &mut FrameReader<R>) -> Option<Turn> {
        tokio::select! {
            biased;
            turn = self.peer.turn() => Some(turn),
            () = reader.wait_for_end(), if self.at_end == AtEnd::Cancel => None,
        }
    }

    /// Starts one call, which holds `held` until it is answered.
    fn start(&mut self, request: ToolCallRequest, held: (Reservation, Turn)) {
        while self.calls.try_join_next().is_some() {}
        let kernel = Arc::clone(&self.shared.kernel);
        let call = calls::answer(kernel, Arc::clone(&self.peer), self.outbox.clone(), request);
        self.calls.spawn(async move {
            call.await;
            drop(held);
        });
    }

    /// Answers with the tokens that verified on this connection and are still valid, as many as one frame holds.
    async fn list_capabilities(&self) -> Result<(), NativeError> {
        let caller = &self.peer.caller;
        for id in revocations::forget_revoked(&self.shared.kernel, caller) {
            self.outbox.send(&KernelMessage::CapabilityRevoked(CapabilityRevoked::new(id))).await?;
        }
        let mut room = MAX_PAYLOAD_BYTES - LIST_ENVELOPE;
        let mut tokens = caller.capabilities(self.shared.kernel.now());
        tokens.retain(|token| match room.checked_sub(token.text().len() + 1) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        self.outbox.send(&KernelMessage::CapabilityList(Box::new(CapabilityList::new(tokens)))).await
    }

    /// Lets the calls in flight end as the reason to stop allows, then cancels what is left.
    async fn finish<R: AsyncRead + Unpin>(&mut self, stopped: &Stopped, reader: &mut FrameReader<R>) {
        let Shared { limits, shutdown, .. } = &self.shared;
        let calls = &mut self.calls;
        if matches!(stopped, Stopped::EndOfInput) {
            tokio::select! {
                () = all_ended(calls) => {}
                () = self.peer.gone.cancelled() => {}
                () = shutdown.cancelled() => {}
            }
        }
        if matches!(stopped, Stopped::EndOfInput | Stopped::Shutdown) {
            tokio::select! {
                () = all_ended(calls) => {}
                () = self.peer.gone.cancelled() => {}
                () = reader.wait_for_end(), if self.at_end == AtEnd::Cancel => {}
                () = sleep(limits.grace) => {}
            }
        }
        self.peer.gone.cancel();
        // The kernel ends a cancelled call soon. Should it not, the call is dropped, which the kernel outlives.
        let _ = timeout(limits.grace, all_ended(calls)).await;
        calls.shutdown().await;
    }
}

async fn all_ended(calls: &mut JoinSet<()>) {
    while calls.join_next().await.is_some() {}
}
