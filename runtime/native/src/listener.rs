//! What a server accepts connections from.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::unix_socket::UnixSocket;
use crate::{Address, NativeError};

/// A silent TCP peer is probed after this time.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Probes without an answer after which a TCP peer is gone.
const KEEPALIVE_PROBES: u32 = 4;

/// A bound endpoint, ready to be served.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    pub(crate) source: Source,
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Source {
    Tcp(TcpListener),
    Unix(UnixSocket),
    Stdio,
}

/// One accepted connection.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Binds the endpoint.
    ///
    /// A Unix socket gets mode 0600, so that only its owner can connect; a stale socket file is replaced when nobody
    /// listens on it, and the file is removed when the listener is dropped.
    ///
    /// # Errors
    /// [`NativeError::SocketInUse`], [`NativeError::NotASocket`], or [`NativeError::Io`] with the system's answer.
    pub async fn bind(address: &Address) -> Result<Self, NativeError> {
        match address {
            Address::Tcp { host, port } => {
                let failed = |error| NativeError::system(format!("listening on {address}"), error);
                let listener = TcpListener::bind((host.as_str(), *port)).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Ok(Self { address: tcp_address(bound), source: Source::Tcp(listener) })
            }
            Address::Unix(path) => {
                Ok(Self { address: address.clone(), source: Source::Unix(UnixSocket::bind(path)?) })
            }
            Address::Stdio => Ok(Self { address: Address::Stdio, source: Source::Stdio }),
        }
    }

    /// The address that clients connect to: for TCP with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Source {
    /// The next connection; never returns for standard input and output, which are one connection from the start.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                prepare_tcp(&stream);
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(socket) => Ok(Accepted::Unix(socket.listener.accept().await?.0)),
            Self::Stdio => std::future::pending().await,
        }
    }
}

/// Small frames leave at once, and a peer whose machine is gone is noticed although idle connections have no timeout.
///
/// A refusal is no reason to refuse the connection: the options only make it better.
pub(crate) fn prepare_tcp(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES);
}

fn tcp_address(bound: SocketAddr) -> Address {
    Address::Tcp { host: bound.ip().to_string(), port: bound.port() }
}
