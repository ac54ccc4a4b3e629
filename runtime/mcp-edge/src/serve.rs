//! The listener, its connections, and the end of both.

mod addresses;
mod patience;
mod unread;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authentication;
use crate::config::{EdgeConfig, Limits};
use crate::host::Host;
use crate::router::{Edge, Peer, Routes};

use addresses::Addresses;
use patience::Patient;

/// The head of a request, and what waits to be written to a connection, at most.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// How long connections may take to write what they have when the edge ends.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Serves MCP clients on `listener` until `stop` fires. Then no connection is accepted any more, sessions drain for at
/// most [`Limits::drain_grace`](crate::Limits::drain_grace), and what is left is cut off.
///
/// # Errors
/// When the listener's address cannot be read, or the admin token is none
/// ([`Authentication::check_admin_token`]).
pub async fn serve(
    listener: TcpListener,
    config: EdgeConfig,
    auth: Arc<Authentication>,
    host: Arc<dyn Host>,
    stop: CancellationToken,
) -> io::Result<()> {
    if let Some(token) = &config.admin_token {
        auth.check_admin_token(token).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    }
    let limits = config.limits.clone();
    let edge = Edge::new(listener.local_addr()?, config, auth, host);
    let routes = Routes::new(&edge);
    let reaper = tokio::spawn({
        let (edge, stop) = (Arc::clone(&edge), stop.clone());
        async move { edge.registry.reap(stop).await }
    });
    let room = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let addresses = Addresses::new(limits.connections);
    let connections = TaskTracker::new();
    let finish = CancellationToken::new();
    while let Some((place, stream, peer)) = stop.run_until_cancelled(accept(&listener, &room)).await {
        let Some(counted) = addresses.count(peer.ip()) else {
            tracing::debug!(peer = %peer.ip(), "closed a connection, because its address has too many");
            continue;
        };
        let routes = routes.clone();
        let finish = finish.clone();
        let limits = limits.clone();
        connections.spawn(async move {
            answer(stream, peer, routes, &limits, finish).await;
            drop((place, counted));
        });
    }
    drop(listener);
    edge.registry.close().await;
    finish.cancel();
    connections.close();
    let _ = tokio::time::timeout(LAST_BYTES, connections.wait()).await;
    let _ = reaper.await;
    Ok(())
}

/// The next connection, when there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (place, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Most often there are too many open files, which takes a moment to change.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection.
async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Routes,
    limits: &Limits,
    finish: CancellationToken,
) {
    // Events are small writes, which would wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let peer = Peer(peer.ip());
    // More than a body may have, so that a client whose body is too large is told before it is cut off.
    let most_unread = limits.body_bytes.saturating_mul(4);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (request, rest) = unread::lend(request);
        let answered = routes.clone().answer(peer, request);
        async move {
            let mut response = answered.await;
            if !rest.read_on(most_unread).await {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout)
        .max_buf_size(CONNECTION_BUFFER)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.write_timeout)), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_BYTES, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}
