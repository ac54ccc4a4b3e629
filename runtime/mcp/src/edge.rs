//! The server that a client talks to: one client's session with the servers behind it, every call governed and
//! receipted.
//!
//! The edge looks like the server behind it, or like all of them in one. It answers initialization with what holds
//! here, lists what the caller may use, and sends everything that acts through the kernel: tool calls and tasks,
//! reading and subscribing to resources, prompts and completions of the client, and sampling, elicitation and roots
//! of the servers. Lists, log levels and the end of a subscription of the session's own pass without a receipt, for
//! they reveal only what may be used and change nothing but what the client is told. Under an emergency stop they are refused, all but the
//! end of a subscription, after which the server does less.
//!
//! | module | what it is |
//! |---|---|
//! | `initialize`, `capabilities`, `phase` | what each side is told of the other, and how far that has come |
//! | `methods` | which request goes where |
//! | `params` | a request taken apart: the action, and what is said beside it |
//! | `addressee` | which server is meant, and what becomes of calls that mean none |
//! | `calls`, `resources`, `prompts` | what acts, as calls of the kernel |
//! | `catalogue`, `lists` | what several servers offer, as one; who may see what of it |
//! | `tasks` | calls that outlive their request |
//! | `asks` | what a server asks of the client, as calls of the kernel |
//! | `events`, `in_flight`, `logs` | what a server tells, and on which stream of the client |
//! | `results` | how decisions look in MCP |
//!
//! It knows no transport: [`Edge::serve`] takes a [`Channel`], which [`crate::stdio`] makes of pipes and the
//! hosted edge of HTTP streams.

mod addressee;
mod asks;
mod calls;
mod capabilities;
mod catalogue;
mod events;
mod in_flight;
mod initialize;
mod lists;
mod logs;
mod methods;
mod params;
mod phase;
mod prompts;
mod resources;
mod results;
mod run;
mod tasks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use chio_json::PublicKeyHex;
use chio_kernel::{CallerSession, Kernel, LocalAuthority};
use chio_policy::Identity;

use crate::channel::{Channel, Route};
use crate::error::{CloseReason, McpError};
use crate::jsonrpc::ErrorObject;
use crate::registry::chio_error;
use crate::servers::{Member, SessionServers};
use crate::session::{Limits, Session};
use crate::upstream::Upstream;

use asks::Elicitations;
use catalogue::Catalogue;
use in_flight::InFlight;
use initialize::Introduced;
use logs::LogLevel;
use phase::Phases;
use resources::Subscription;
use tasks::TaskBook;

pub use params::{ANCESTORS_KEY, CAPABILITY_KEY, DPOP_PROOF_KEY};
pub use results::{DECISION_KEY, ERROR_KEY, RECEIPT_ID_KEY};
pub use run::{WrapEnd, wrap_stdio};

/// How long calls may go on once the client has closed its end: a script that pipes its requests in and waits for the
/// answers must get them, also from a server that is slow to start. SDKs that want an end send SIGTERM after two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long cancelled calls may take to get their receipts signed and their answers written.
const MERCY: Duration = Duration::from_secs(3);

/// What an edge is made of.
#[derive(Clone)]
pub struct EdgeSettings {
    /// Decides every call.
    pub kernel: Arc<Kernel>,
    /// The servers behind the edge, opened for this session; their fleet must be registered with the kernel.
    pub servers: Arc<SessionServers>,
    /// Issues the capabilities of callers that present none.
    pub authority: Arc<LocalAuthority>,
    /// The key that the authority issues to.
    pub subject: PublicKeyHex,
    /// Who the client is; receipts say so.
    pub identity: Arc<Identity>,
    /// The transport's name of the session, for receipts.
    pub session_id: Option<String>,
    /// The name of the surface in receipts, for example `mcp-stdio`.
    pub surface: &'static str,
    /// Whose rules of initialization hold.
    pub mode: Mode,
    /// Requests of the client in work at a time.
    pub requests_in_flight: usize,
}

/// Whose rules of initialization hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The edge stands before one server of the client's own, starts it at once, relays what the two negotiate, and
    /// ends when it ends.
    Relay,
    /// The edge speaks the one version that it supports, whatever the servers speak. A server that ends is started
    /// again when it is next needed.
    Hosted {
        /// Answer an unsupported version with the supported one, as MCP has it, instead of refusing it.
        counter_offer: bool,
    },
}

/// One client's session with the servers behind the edge.
pub struct Edge {
    /// For work that outlives the request which began it.
    me: Weak<Self>,
    settings: EdgeSettings,
    /// The caller under the capabilities it is given by default.
    caller: Arc<CallerSession>,
    /// The caller under capabilities that it presents; the first one that verifies binds it.
    presenting: Arc<CallerSession>,
    client: Session,
    phases: Phases,
    introduced: OnceLock<Introduced>,
    /// The server of a relayed session.
    relayed: Option<Arc<Upstream>>,
    in_flight: InFlight,
    /// What the session subscribed to, by URI.
    subscriptions: Mutex<HashMap<String, Subscription>>,
    catalogue: Catalogue,
    log_level: LogLevel,
    tasks: TaskBook,
    elicitations: Elicitations,
    /// What servers are asking the client.
    asked: TaskTracker,
    /// Fires when the session ends.
    over: CancellationToken,
}

/// Why a session with a client is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed the connection, or it broke.
    Client(CloseReason),
    /// The relayed server is gone, or never came.
    Server,
    /// We were told to stop.
    Stopped,
}

impl Edge {
    /// Serves one client until it leaves, a relayed server ends or `stop` fires. Then calls in work are
    /// given a moment to finish and the rest is cancelled, each with its receipt, tasks too, and all
    /// answers are written. At last the servers of the session are ended.
    pub async fn serve(settings: EdgeSettings, channel: Channel, stop: CancellationToken) -> End {
        let servers = Arc::clone(&settings.servers);
        let limits = Limits { in_work: settings.requests_in_flight, ..Limits::default() };
        let relayed = match settings.mode {
            Mode::Hosted { .. } => None,
            Mode::Relay => match servers.members().first().map(Member::start) {
                Some(Ok(upstream)) => Some(upstream),
                Some(Err(error)) => {
                    tracing::error!(%error, "the server could not be started");
                    return End::Server;
                }
                None => return End::Server,
            },
        };
        let (client, driver) = Session::new(channel, limits);
        let edge = Self::new(settings, client.clone(), relayed.clone());
        // The listener is there before the server is initialized, so that nothing it says goes unheard.
        edge.listen();

        let relayed_ended = async {
            match &relayed {
                Some(upstream) => upstream.ended().cancelled().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            reason = driver.run(Arc::<Self>::clone(&edge)) => End::Client(reason),
            () = relayed_ended => End::Server,
            () = stop.cancelled() => End::Stopped,
        };
        tracing::info!(?end, in_work = client.in_work(), "the client's session ends");
        let patience = match &end {
            // The client may still read what it asked for; calls of a dead server end by themselves.
            End::Client(CloseReason::Eof) | End::Server => PATIENCE,
            End::Client(_) | End::Stopped => Duration::ZERO,
        };
        edge.over.cancel();
        // Nobody can fetch the result of a task any more.
        let tasks = edge.tasks.close();
        // A stop during the patience ends it.
        let left = tokio::select! {
            left = client.finish(patience, MERCY) => left,
            () = stop.cancelled(), if end != End::Stopped => client.finish(Duration::ZERO, MERCY).await,
        };
        if left > 0 {
            tracing::warn!(left, "answers could not be delivered; the log shows what became of the calls");
        }
        edge.asked.close();
        let background = async { tokio::join!(tasks, edge.asked.wait()) };
        if tokio::time::timeout(MERCY, background).await.is_err() {
            tracing::warn!("tasks are still ending; the log shows what became of them");
        }
        servers.close().await;
        end
    }

    fn new(settings: EdgeSettings, client: Session, relayed: Option<Arc<Upstream>>) -> Arc<Self> {
        let identified = || CallerSession::of(Arc::clone(&settings.identity), settings.session_id.clone());
        let caller = Arc::new(identified().and_bound_to(settings.subject));
        let presenting = Arc::new(identified());
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            settings,
            caller,
            presenting,
            tasks: TaskBook::new(client.clone()),
            client,
            phases: Phases::new(),
            introduced: OnceLock::new(),
            relayed,
            in_flight: InFlight::default(),
            subscriptions: Mutex::default(),
            catalogue: Catalogue::new(),
            log_level: LogLevel::default(),
            elicitations: Elicitations::default(),
            asked: TaskTracker::new(),
            over: CancellationToken::new(),
        })
    }

    /// The servers, in configured order.
    fn members(&self) -> &[Member] {
        self.settings.servers.members()
    }

    /// The only server, where there is no other.
    fn only_member(&self) -> Option<&Member> {
        match self.members() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// A server that runs and knows what the client wants of all servers.
    async fn upstream(&self, member: &Member) -> Result<Arc<Upstream>, McpError> {
        let upstream = member.upstream().await?;
        self.log_level.tell(member, &upstream);
        Ok(upstream)
    }

    /// The same for a call, which still gets its receipt when it is cancelled while it waits.
    async fn reach(&self, member: &Member, cancel: &CancellationToken) -> Result<Arc<Upstream>, McpError> {
        tokio::select! {
            biased;
            upstream = self.upstream(member) => upstream,
            () = cancel.cancelled() => Err(McpError::Cancelled),
        }
    }

    /// Passes unless everything, or this client, is stopped. The kernel asks again for whatever acts.
    fn not_stopped(&self) -> Result<(), ErrorObject> {
        let settings = &self.settings;
        if settings.kernel.store().stops().covers(&settings.subject.to_string()) {
            return Err(chio_error(chio_spec::ErrorCode::EmergencyStop, None, None));
        }
        Ok(())
    }

    /// Tells the client, unless it does not read.
    fn tell(&self, method: &str, params: Option<&chio_json::Json>, route: Route) {
        if let Err(unsent) = self.client.notify(method, params, route) {
            tracing::debug!(method, %unsent, "a notification did not reach the client");
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<String, Subscription>> {
        // Every critical section is one operation of the map.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
