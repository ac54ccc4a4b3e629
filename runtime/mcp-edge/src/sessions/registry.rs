//! All sessions of an edge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use chio_mcp::channel::Channel;
use chio_policy::Identity;
use chio_spec::{ErrorCode, ReceiptCallerMethod};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ended::{Ended, EndedRing};
use super::session::{self, Session};
use super::{State, id};
use crate::config::Limits;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::streams::{Bounds, Holding, Streams, Undelivered};

/// How often sessions are looked after.
const REAP_EVERY: Duration = Duration::from_millis(250);

/// At the limit, a session must have been idle for this long to make room for a new one.
const SHORTEST_IDLE: Duration = Duration::from_secs(10);

/// The notifications that wait on the stream for what belongs to no request.
const BACKLOG_EVENTS: usize = 256;
const BACKLOG_BYTES: usize = 256 * 1024;

/// The bounds of what a session can be given to buffer, in bytes.
const SMALLEST_BUFFER: usize = 4096;
const LARGEST_BUFFER: usize = 256 * 1024 * 1024 - 1;

/// How long a client may take to say `notifications/initialized` once its `initialize` was answered.
const INITIALIZED_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// There are too many, of all callers or of this one, and all are in use.
    Full,
    /// The edge is stopping.
    Closing,
    /// The process around the edge refused.
    Refused(ErrorCode),
}

/// How many sessions are in which state, and what they hold together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    pub(crate) states: Vec<(State, u64)>,
    pub(crate) holding: Holding,
}

/// All sessions of an edge.
pub(crate) struct Registry {
    host: Arc<dyn Host>,
    limits: Limits,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    undelivered: Arc<Undelivered>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    live: HashMap<Arc<str>, Arc<Session>>,
    ended: EndedRing,
    /// Messages that sessions dropped which are over.
    dropped: u64,
    closing: bool,
}

impl Registry {
    pub(crate) fn new(host: Arc<dyn Host>, mut limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        // A channel does not bound more than this.
        limits.buffered_bytes = limits.buffered_bytes.clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
        let undelivered = Undelivered::new(limits.undelivered_bytes);
        let (tasks, sessions) = (TaskTracker::new(), Mutex::default());
        Arc::new(Self { host, limits, metrics, tasks, undelivered, sessions })
    }

    /// Opens a session for a caller.
    pub(crate) fn open(
        self: &Arc<Self>,
        identity: &Arc<Identity>,
        reads_priming: bool,
    ) -> Result<Arc<Session>, NotAdmitted> {
        self.make_room(identity)?;
        let id: Arc<str> = id::fresh()
            .map_err(|error| {
                tracing::error!(%error, "no random bytes for a session id");
                NotAdmitted::Refused(ErrorCode::InternalError)
            })?
            .into();
        let (channel, arrivals, departures) = Channel::new(self.limits.buffered_bytes);
        let streams = Streams::new(&id, self.bounds(), &self.undelivered);
        let session = Session::new(Arc::clone(&id), Arc::clone(identity), reads_priming, streams, arrivals);
        let session = Arc::new(session);
        let serving =
            self.host.open(identity, &id, channel, session.stop.clone()).map_err(NotAdmitted::Refused)?;
        {
            let mut sessions = self.lock();
            if sessions.closing {
                return Err(NotAdmitted::Closing);
            }
            if sessions.live.len() >= self.limits.sessions {
                return Err(NotAdmitted::Full);
            }
            sessions.live.insert(id, Arc::clone(&session));
        }
        let over = Over { registry: Arc::downgrade(self), session: Arc::clone(&session) };
        let metrics = Arc::clone(&self.metrics);
        self.tasks.spawn(async move {
            session::drive(&over.session.streams, &metrics, serving, departures).await;
        });
        Ok(session)
    }

    /// The session of this id, if it serves requests.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.any(id)?;
        session.life().state.serves().then_some(session)
    }

    /// The session of this id, if it is not over.
    pub(crate) fn any(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().live.get(id).cloned()
    }

    /// The state in which a session ended, as far as it is remembered.
    pub(crate) fn ended_as(&self, id: &str) -> Option<State> {
        self.lock().ended.state_of(id)
    }

    /// Ends a session. Its servers and receipts are seen to by its own task.
    pub(crate) fn end(&self, session: &Session, state: State) -> bool {
        let changed = session.become_state(state, None);
        if changed {
            let mut sessions = self.lock();
            if sessions.live.remove(&session.id).is_some() {
                sessions.ended.push(Ended {
                    id: Arc::clone(&session.id),
                    identity: Arc::clone(&session.identity),
                    state,
                    created_at: session.created_at,
                    ended_at: SystemTime::now(),
                });
            }
            tracing::info!(session = %shown(&session.id), state = state.as_str(), "a session has ended");
        }
        session.stop.cancel();
        changed
    }

    /// Undoes [`Registry::open`] for a session that was never initialized: nothing is left of it.
    pub(crate) fn forget(&self, session: &Session) {
        self.lock().live.remove(&session.id);
        session.become_state(State::Closed, None);
        session.stop.cancel();
    }

    /// Lets a session finish what is in flight, and nothing new begin.
    pub(crate) fn drain(&self, session: &Session) -> bool {
        session.become_state(State::Draining, Some(Instant::now() + self.limits.drain_grace))
    }

    /// Looks after the sessions until `stop` fires.
    pub(crate) async fn reap(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REAP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.reap_once();
        }
    }

    /// Drains all sessions and takes no new ones. Returns when the last has ended, or when its time is over.
    pub(crate) async fn close(&self) {
        let all = {
            let mut sessions = self.lock();
            sessions.closing = true;
            sessions.live.values().cloned().collect::<Vec<_>>()
        };
        for session in &all {
            self.drain(session);
        }
        self.tasks.close();
        // The grace of the sessions themselves, and what their calls need to be cancelled and receipted.
        let deadline = Instant::now() + self.limits.drain_grace + Duration::from_secs(5);
        while !self.lock().live.is_empty() && Instant::now() < deadline {
            self.reap_once();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = tokio::time::timeout_at(deadline, self.tasks.wait()).await;
    }

    /// The live sessions, newest first, and how many there are.
    pub(crate) fn live(&self, limit: usize) -> (usize, Vec<Arc<Session>>) {
        let sessions = self.lock();
        let mut all: Vec<_> = sessions.live.values().cloned().collect();
        drop(sessions);
        all.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        let count = all.len();
        all.truncate(limit);
        (count, all)
    }

    /// The sessions that ended last, newest first, and how many are remembered.
    pub(crate) fn ended(&self, limit: usize) -> (usize, Vec<Ended>) {
        let sessions = self.lock();
        (sessions.ended.len(), sessions.ended.newest(limit))
    }

    pub(crate) fn census(&self) -> Census {
        let sessions = self.lock();
        let ended = |state| sessions.ended.count(state);
        let live: Vec<_> = sessions.live.values().cloned().collect();
        let mut states: Vec<_> = State::ALL.into_iter().map(|state| (state, ended(state))).collect();
        let mut holding = Holding { dropped: sessions.dropped, ..Holding::default() };
        drop(sessions);
        for session in live {
            let state = session.life().state;
            if let Some((_, count)) = states.iter_mut().find(|(known, _)| *known == state) {
                *count += 1;
            }
            holding += session.streams.lock().holding();
        }
        Census { states, holding }
    }

    /// How long a session may be idle.
    pub(crate) fn idle_limit(&self) -> Duration {
        self.limits.idle
    }

    fn reap_once(&self) {
        let live: Vec<_> = self.lock().live.values().cloned().collect();
        for session in live {
            let life = session.life();
            let log = session.streams.lock();
            let idle = log.idle();
            let in_flight = log.in_flight();
            drop(log);
            if let Some(until) = life.drain_until {
                if in_flight == 0 || Instant::now() >= until {
                    self.end(&session, State::Closed);
                }
            } else if idle.is_some_and(|idle| idle >= self.limits.idle)
                || session.was_abandoned(INITIALIZED_WITHIN)
            {
                self.end(&session, State::Expired);
            }
        }
    }

    /// Passes if there is room for one more session of this caller, ending the one that is idle longest if need be: one
    /// of the caller's own when it has its share.
    fn make_room(&self, identity: &Identity) -> Result<(), NotAdmitted> {
        let is_own = |session: &Arc<Session>| session.identity.principal == identity.principal;
        let live: Vec<_> = {
            let sessions = self.lock();
            if sessions.closing {
                return Err(NotAdmitted::Closing);
            }
            let held = || sessions.live.values().filter(|session| is_own(session)).count();
            if has_share(identity) && held() >= self.limits.sessions.div_ceil(2) {
                sessions.live.values().filter(|session| is_own(session)).cloned().collect()
            } else if sessions.live.len() < self.limits.sessions {
                return Ok(());
            } else {
                sessions.live.values().cloned().collect()
            }
        };
        let idle = live.iter().filter_map(|session| Some((session.streams.lock().idle()?, session)));
        let longest = idle.filter(|(idle, _)| *idle >= SHORTEST_IDLE).max_by_key(|(idle, _)| *idle);
        let (_, session) = longest.ok_or(NotAdmitted::Full)?;
        self.end(session, State::Expired);
        Ok(())
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            in_flight: self.limits.requests_in_flight,
            buffered_bytes: self.limits.buffered_bytes,
            replay_events: self.limits.replay_events,
            replay_bytes: self.limits.replay_bytes,
            backlog_events: BACKLOG_EVENTS,
            backlog_bytes: BACKLOG_BYTES.min(self.limits.buffered_bytes / 4),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Every critical section leaves the table consistent, so a panic elsewhere cannot spoil it.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a caller may hold half of the sessions only, because there are others beside it. Without authentication, and
/// with one token for all, everybody is the same principal.
fn has_share(identity: &Identity) -> bool {
    identity.method == ReceiptCallerMethod::OauthBearer
}

/// Closes a session when its task ends, whatever way that is.
struct Over {
    registry: Weak<Registry>,
    session: Arc<Session>,
}

impl Drop for Over {
    fn drop(&mut self) {
        let mut log = self.session.streams.lock();
        log.close();
        let dropped = log.holding().dropped;
        drop(log);
        if let Some(registry) = self.registry.upgrade() {
            registry.lock().dropped += dropped;
            registry.end(&self.session, State::Closed);
        }
    }
}

/// As much of a session id as may stand in a log: enough to find it, too little to use it.
fn shown(id: &str) -> &str {
    id.get(..8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chio_mcp::servers::ServerStatus;

    use super::*;
    use crate::host::Serving;

    /// Sessions that do nothing until they are ended.
    struct Quiet;

    impl Host for Quiet {
        fn open(
            &self,
            _: &Arc<Identity>,
            _: &str,
            channel: Channel,
            stop: CancellationToken,
        ) -> Result<Serving, ErrorCode> {
            Ok(Box::pin(async move {
                stop.cancelled().await;
                drop(channel);
            }))
        }

        fn servers(&self) -> Vec<ServerStatus> {
            Vec::new()
        }
    }

    fn registry(sessions: usize) -> Arc<Registry> {
        let limits = Limits { sessions, ..Limits::default() };
        Registry::new(Arc::new(Quiet), limits, Arc::new(Metrics::new()))
    }

    fn caller(method: ReceiptCallerMethod, principal: &str) -> Arc<Identity> {
        Arc::new(Identity::named(method, principal.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_among_others_holds_half_of_the_sessions_at_most() {
        let registry = registry(5);
        let (greedy, other) = (
            caller(ReceiptCallerMethod::OauthBearer, "greedy"),
            caller(ReceiptCallerMethod::OauthBearer, "other"),
        );
        let theirs = registry.open(&other, true).unwrap();
        let own: Vec<_> = (0..3).map(|_| registry.open(&greedy, true).unwrap()).collect();
        assert_eq!(
            registry.open(&greedy, true).unwrap_err(),
            NotAdmitted::Full,
            "though there is room for others"
        );
        tokio::time::advance(SHORTEST_IDLE).await;
        registry.open(&greedy, true).unwrap();
        assert!(registry.find(&theirs.id).is_some(), "what gives way is the caller's own");
        assert_eq!(own.iter().filter(|session| registry.find(&session.id).is_some()).count(), 2);
        registry.open(&other, true).unwrap();
        registry.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_principal_there_is_holds_all_sessions() {
        for everybody in
            [Identity::anonymous(), (*caller(ReceiptCallerMethod::StaticBearer, "static:x")).clone()]
        {
            let registry = registry(4);
            let everybody = Arc::new(everybody);
            let all: Vec<_> = (0..4).map(|_| registry.open(&everybody, true).unwrap()).collect();
            assert_eq!(all.len(), 4);
            registry.close().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_not_initialized_to_its_end_expires_after_a_minute() {
        let registry = registry(5);
        let identity = Arc::new(Identity::anonymous());
        let (half, ready) =
            (registry.open(&identity, true).unwrap(), registry.open(&identity, true).unwrap());
        for session in [&half, &ready] {
            session.bind_version("2025-11-25".to_owned());
        }
        assert!(ready.become_state(State::Ready, None));
        tokio::time::advance(INITIALIZED_WITHIN - Duration::from_secs(1)).await;
        registry.reap_once();
        assert!(registry.find(&half.id).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        registry.reap_once();
        assert!(registry.find(&half.id).is_none() && registry.find(&ready.id).is_some());
        assert_eq!(registry.ended_as(&half.id), Some(State::Expired));
        registry.close().await;
    }
}
