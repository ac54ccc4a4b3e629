//! How much one server takes on.

use std::time::Duration;

/// Bounds of a native server. The defaults suit a kernel beside its agents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Most connections at once; default 1024. Beyond it the oldest connection of a stranger makes way, and
    /// when there is none, new connections wait in the system's backlog.
    pub connections: usize,
    /// Most calls in flight on one connection; default 256, and few until a first capability has verified. Beyond it no
    /// further frame of that connection is taken until a call ends.
    pub calls_per_connection: usize,
    /// Time that one frame may take to arrive, from its first byte, or to be taken by the peer; default 30 s.
    pub frame_deadline: Duration,
    /// Bytes that incoming frames above 64 KiB may hold together, from their arrival to the end of their calls, over
    /// all connections; default 256 MiB.
    pub frame_memory: usize,
    /// Time that calls in flight are given at shutdown before they are cancelled; default 10 s.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            calls_per_connection: 256,
            frame_deadline: Duration::from_secs(30),
            frame_memory: 256 << 20,
            grace: Duration::from_secs(10),
        }
    }
}
