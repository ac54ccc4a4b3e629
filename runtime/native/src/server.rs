//! Serving: accepting connections and ending well.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chio_kernel::Kernel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::connection::{self, AtEnd, Shared};
use crate::listener::{Accepted, Source};
use crate::memory::FrameMemory;
use crate::peers::{Peer, Peers, Seat};
use crate::{Listener, ServerLimits};

/// First pause after an accept that failed because the system is short of something (file descriptors, memory).
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Serves every connection of `listener` until `shutdown` is cancelled or, on standard input and output, the input
/// ends.
///
/// At shutdown no further connection or request is taken; calls in flight may end within the grace of `limits`, the
/// rest are cancelled. Returns when all of them have ended and what they answered is written.
///
/// Reading standard input blocks a thread of the runtime. A program that ends while its input stays open shuts its
/// runtime down with `shutdown_background`, or exits.
pub async fn serve(
    listener: Listener,
    kernel: Arc<Kernel>,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    if matches!(listener.source, Source::Stdio) {
        return serve_connection(tokio::io::stdin(), tokio::io::stdout(), kernel, limits, shutdown).await;
    }
    let shared = shared(kernel, limits, shutdown.clone());
    let peers = Peers::new(shared.limits.connections);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept_all(&listener.source, &shared, &peers, &mut connections) => {}
        () = shutdown.cancelled() => {}
    }
    // Clients must find nobody listening while the last calls end.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection over two streams of their own, such as the pipes of a child process, until the input ends
/// and every call is answered, or `shutdown` is cancelled as in [`serve`].
pub async fn serve_connection<R, W>(
    source: R,
    sink: W,
    kernel: Arc<Kernel>,
    limits: ServerLimits,
    shutdown: CancellationToken,
) where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let peer = Peer::new(limits.calls_per_connection);
    connection::run(shared(kernel, limits, shutdown), peer, source, sink, AtEnd::Finish).await;
}

fn shared(kernel: Arc<Kernel>, limits: ServerLimits, shutdown: CancellationToken) -> Shared {
    Shared { kernel, memory: FrameMemory::new(limits.frame_memory), limits, shutdown }
}

async fn accept_all(source: &Source, shared: &Shared, peers: &Peers, connections: &mut JoinSet<()>) {
    let mut pause = FIRST_PAUSE;
    for number in 0.. {
        while connections.try_join_next().is_some() {}
        match source.accept().await {
            Ok(accepted) => {
                pause = FIRST_PAUSE;
                let peer = Peer::new(shared.limits.calls_per_connection);
                let seat = peers.seat(number, &peer).await;
                connections.spawn(serve_accepted(accepted, shared.clone(), peer, seat));
            }
            // The peer gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a native connection failed; trying again after a pause");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn serve_accepted(accepted: Accepted, shared: Shared, peer: Arc<Peer>, seat: Seat) {
    match accepted {
        Accepted::Tcp(stream) => {
            let (source, sink) = stream.into_split();
            connection::run(shared, peer, source, sink, AtEnd::Cancel).await;
        }
        Accepted::Unix(stream) => {
            let (source, sink) = stream.into_split();
            connection::run(shared, peer, source, sink, AtEnd::Cancel).await;
        }
    }
    drop(seat);
}
