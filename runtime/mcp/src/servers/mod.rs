//! The tool servers behind an edge: which there are, which run, and for whom.
//!
//! A server starts when it is first needed, and again when it is needed after it ended, unless that was a
//! moment ago: a server that keeps failing is left alone for ever longer, up to a minute, and whoever needs
//! it meanwhile is told at once. Every server is tended by a task of its own, so one that hangs, floods or
//! crashes is nobody else's trouble.
//!
//! | module | what it is |
//! |---|---|
//! | this one | [`Fleet`]: all servers of a process, their limits and their end |
//! | `session` | [`SessionServers`]: the servers as one client session sees them |
//! | `slot` | one place for one running server: start, initialization, restart, end |
//! | `backoff` | how long a server that failed is left alone |
//! | `room` | how many run at a time, and which one ends for another |
//! | `shared`, `subscriptions` | a server that all sessions use: who gets what it tells |
//! | `record` | what an operator can ask about a server |

mod backoff;
mod record;
mod room;
mod session;
mod shared;
mod slot;
mod subscriptions;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use chio_kernel::Kernel;
use chio_spec::ServerId;

use crate::channel::Channel;
use crate::connection::{UpstreamSource, WrappedServer};
use crate::http::HttpEndpoint;
use crate::process::ServerCommand;

use record::Record;
use room::Room;
use shared::SharedServer;
use slot::{Slot, Surroundings};

pub(crate) use subscriptions::{Subscriber, is_at_or_below};

pub use record::{Failure, ServerStatus};
pub use session::{Introduction, Member, ServerEvents, SessionServers};

/// One configured server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Its name in grants and receipts.
    pub id: ServerId,
    /// How it is reached.
    pub launch: Launch,
    /// Whose it is once it runs.
    pub owner: Owner,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Launch {
    /// A process of ours that speaks on its standard input and output.
    Command(ServerCommand),
    /// A server that somebody else runs, over streamable HTTP.
    Http(HttpEndpoint),
    /// Something in this process that speaks over a channel.
    Channel(Connect),
}

/// Connects to a server in this process; called for every start.
#[derive(Clone)]
pub struct Connect(pub Arc<dyn Fn() -> Channel + Send + Sync>);

impl std::fmt::Debug for Connect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connect")
    }
}

/// Whose a running server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Every client session has one of its own, which was initialized with what that client can do.
    #[default]
    Session,
    /// All sessions use one, which was initialized by us as a client that can do nothing. What it tells
    /// without saying whom it concerns reaches nobody.
    Shared,
}

/// Bounds of a fleet.
#[derive(Clone, Copy, Debug)]
pub struct FleetLimits {
    /// Servers that run at a time, over all sessions. For one more, the session's own server that is idle for longest is
    /// ended; where none is idle, the session that needs it is told so.
    pub processes: usize,
    /// How long a session's own server must have been idle to be ended for another.
    pub shortest_idle: Duration,
}

impl Default for FleetLimits {
    fn default() -> Self {
        Self { processes: 128, shortest_idle: Duration::from_secs(300) }
    }
}

/// All tool servers of a process.
pub struct Fleet {
    servers: Vec<Arc<Server>>,
    surroundings: Surroundings,
}

/// One configured server, with what all its running copies have in common.
struct Server {
    settings: ServerSettings,
    wrapped: Arc<WrappedServer>,
    record: Arc<Record>,
    shared: Option<Arc<SharedServer>>,
}

impl Fleet {
    /// The servers, none of them started, each registered with the kernel under its id. Requests that a
    /// shared server makes of its client are refused on record, as ones of `surface`. An id that appears
    /// twice names its first server.
    #[must_use]
    pub fn new(
        kernel: &Arc<Kernel>,
        surface: &'static str,
        servers: Vec<ServerSettings>,
        limits: FleetLimits,
    ) -> Arc<Self> {
        let surroundings = Surroundings {
            room: Room::new(limits),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let mut seen = HashSet::new();
        let servers = servers.into_iter().filter(|settings| {
            let new = seen.insert(settings.id.clone());
            if !new {
                tracing::error!(server = %settings.id, "two servers have this id; the second is not served");
            }
            new
        });
        let servers = servers
            .map(|settings| {
                let record = Arc::new(Record::default());
                let shared = (settings.owner == Owner::Shared)
                    .then(|| SharedServer::new(kernel, surface, &settings, &record, &surroundings));
                let default = shared.clone().map(|shared| shared as Arc<dyn UpstreamSource>);
                let wrapped = Arc::new(WrappedServer::new(settings.id.clone(), default));
                kernel.register(Arc::<WrappedServer>::clone(&wrapped));
                Arc::new(Server { settings, wrapped, record, shared })
            })
            .collect();
        Arc::new(Self { servers, surroundings })
    }

    /// The servers for one more client session. Starts nothing.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Arc<SessionServers> {
        SessionServers::new(self)
    }

    /// The shared server of that id, for surfaces whose callers have no servers of their own.
    #[must_use]
    pub fn shared(&self, id: &ServerId) -> Option<Arc<dyn UpstreamSource>> {
        let server = self.servers.iter().find(|server| server.settings.id == *id)?;
        server.shared.clone().map(|shared| shared as Arc<dyn UpstreamSource>)
    }

    /// How the servers are, in configured order.
    #[must_use]
    pub fn status(&self) -> Vec<ServerStatus> {
        let status = |server: &Arc<Server>| server.record.status(&server.settings);
        self.servers.iter().map(status).collect()
    }

    /// Ends every server and everything that it started, also those that are just starting. Afterwards
    /// none starts any more.
    pub async fn stop(&self) {
        self.surroundings.stop.cancel();
        self.surroundings.tasks.close();
        self.surroundings.tasks.wait().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.surroundings.stop.cancel();
    }
}

impl Server {
    fn slot(&self, surroundings: &Surroundings) -> Arc<Slot> {
        Slot::new(&self.settings, &self.record, surroundings)
    }
}
