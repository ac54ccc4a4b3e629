//! One place for one running server: start, initialization, restart, end.
//!
//! Whoever needs the server first starts it, and all who need it meanwhile wait for the same start. From
//! then on a task of its own tends it until it ends or must end, and then sees that nothing of it is left.
//! Callers that give up waiting therefore end nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use chio_json::Json;

use crate::error::{CloseReason, McpError};
use crate::process::Exit;
use crate::servers::backoff::Backoff;
use crate::servers::record::Record;
use crate::servers::room::Room;
use crate::servers::{Launch, ServerSettings};
use crate::upstream::{INITIALIZED, Upstream, UpstreamEvents};

/// Handshake revisions of MCP that a server may choose. What we use of them is the same in all four.
const SPOKEN: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// What the slots of a fleet share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) room: Arc<Room>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Whom a slot speaks for.
pub(super) trait Host: Send + Sync + 'static {
    /// The parameters of `initialize`.
    fn introduction(&self) -> Result<Json, McpError>;

    /// Who takes what the server asks and tells.
    fn listener(self: Arc<Self>) -> Arc<dyn UpstreamEvents>;

    /// Whether the server may be ended while nothing is asked of it, to be started again when it is needed.
    fn may_end(&self) -> bool {
        false
    }

    /// The server is ready; nobody has it yet.
    fn ready(&self, upstream: &Arc<Upstream>) {
        let _ = upstream;
    }

    /// The server ended by itself.
    fn ended(&self, reason: &CloseReason);
}

/// The place.
pub(super) struct Slot {
    settings: ServerSettings,
    record: Arc<Record>,
    surroundings: Surroundings,
    stop: CancellationToken,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// When somebody needed the server last.
    needed: Option<Instant>,
    backoff: Backoff,
    failed_before: bool,
    exit: Option<Exit>,
}

#[derive(Clone)]
struct Running {
    upstream: Arc<Upstream>,
    /// What became of the initialization, once that is known.
    initialized: watch::Receiver<Option<Result<(), McpError>>>,
    host: Arc<dyn Host>,
    /// Fires when it ends for another's sake.
    leaving: CancellationToken,
    /// Fires when nothing of it is left.
    gone: CancellationToken,
}

/// Why there is no server now.
enum Obstacle {
    /// It is making way for another, and can be started again when nothing of it is left.
    Leaving(CancellationToken),
    Failed(McpError),
}

impl From<McpError> for Obstacle {
    fn from(error: McpError) -> Self {
        Self::Failed(error)
    }
}

impl Slot {
    pub(super) fn new(
        settings: &ServerSettings,
        record: &Arc<Record>,
        surroundings: &Surroundings,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings: settings.clone(),
            record: Arc::clone(record),
            surroundings: surroundings.clone(),
            stop: surroundings.stop.child_token(),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
        })
    }

    /// The server, initialized; it is started if it does not run.
    pub(super) async fn upstream(self: &Arc<Self>, host: &Arc<dyn Host>) -> Result<Arc<Upstream>, McpError> {
        let Running { upstream, mut initialized, .. } = loop {
            match self.running_or_start(host, false) {
                Ok(running) => break running,
                Err(Obstacle::Leaving(gone)) => gone.cancelled().await,
                Err(Obstacle::Failed(error)) => {
                    let full = matches!(error, McpError::TooManyServers { .. });
                    if !full || !self.surroundings.room.make().await {
                        return Err(error);
                    }
                }
            }
        };
        let outcome = initialized.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(Ok(()))) => Ok(upstream),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) | Err(_) => Err(McpError::NotSent(CloseReason::Local)),
        }
    }

    /// The server, started but left for the caller to initialize.
    pub(super) fn start(self: &Arc<Self>, host: &Arc<dyn Host>) -> Result<Arc<Upstream>, McpError> {
        match self.running_or_start(host, true) {
            Ok(running) => Ok(running.upstream),
            Err(Obstacle::Leaving(_)) => Err(self.unavailable(Duration::ZERO)),
            Err(Obstacle::Failed(error)) => Err(error),
        }
    }

    /// The server, if it runs and is initialized.
    pub(super) fn running(&self) -> Option<Arc<Upstream>> {
        let state = self.lock();
        let running = state.running.as_ref()?;
        let ready = matches!(&*running.initialized.borrow(), Some(Ok(())));
        let stays = running.upstream.closed().is_none() && !running.leaving.is_cancelled();
        (ready && stays).then(|| Arc::clone(&running.upstream))
    }

    /// Whether the server was started and is not initialized yet.
    pub(super) fn is_starting(&self) -> bool {
        let running = self.lock().running.clone();
        running.is_some_and(|running| {
            running.initialized.borrow().is_none() && running.upstream.closed().is_none()
        })
    }

    /// How the server ended the last time, where it is a process.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.lock().exit.clone()
    }

    /// How long nothing was asked of the server; none where it does not run, works, or must stay for its client.
    pub(super) fn idle(&self) -> Option<Duration> {
        let (running, idle) = {
            let state = self.lock();
            (state.running.clone()?, state.idle()?)
        };
        // It may ask its client's session, which has locks of its own.
        running.host.may_end().then_some(idle)
    }

    /// Ends the server for another's sake if it is still idle, and waits until nothing of it is left. It starts again
    /// when it is next needed.
    pub(super) async fn make_way(&self, shortest_idle: Duration) {
        let gone = {
            // Under the lock, so that nobody is given the server any more.
            let state = self.lock();
            let idle = state.idle().is_some_and(|idle| idle >= shortest_idle);
            let Some(running) = state.running.as_ref().filter(|_| idle) else { return };
            running.leaving.cancel();
            running.gone.clone()
        };
        tracing::info!(server = %self.settings.id, "an idle tool server ends to make room for another");
        gone.cancelled().await;
    }

    /// Ends the server, also one that is just starting, and waits until nothing of it is left. It never
    /// starts again.
    pub(super) async fn close(&self) {
        self.abandon();
        self.tasks.wait().await;
    }

    /// Ends the server without waiting.
    pub(super) fn abandon(&self) {
        // Under the lock, so that whoever starts it at this moment is either refused or waited for.
        let state = self.lock();
        self.stop.cancel();
        self.tasks.close();
        drop(state);
    }

    fn running_or_start(self: &Arc<Self>, host: &Arc<dyn Host>, relayed: bool) -> Result<Running, Obstacle> {
        // Before the question whether the fleet is stopping, which waits for all who hold one.
        let counted = self.surroundings.tasks.token();
        let mut state = self.lock();
        if self.stop.is_cancelled() {
            return Err(McpError::NotSent(CloseReason::Local).into());
        }
        let now = Instant::now();
        state.needed = Some(now);
        if let Some(running) = &state.running {
            if running.leaving.is_cancelled() {
                return Err(Obstacle::Leaving(running.gone.clone()));
            }
            return match running.upstream.closed() {
                None => Ok(running.clone()),
                // It has just ended, and what is left of it is being ended.
                Some(_) => Err(self.unavailable(state.backoff.remaining(now).unwrap_or_default()).into()),
            };
        }
        if let Some(remaining) = state.backoff.remaining(now) {
            return Err(self.unavailable(remaining).into());
        }
        let place = self.surroundings.room.take()?;
        let upstream = match launch(&self.settings.launch) {
            Ok(upstream) => Arc::new(upstream),
            Err(error) => {
                self.failed(&mut state, Duration::ZERO, error.to_string());
                return Err(error.into());
            }
        };
        upstream.listen(Arc::clone(host).listener());
        let (tell, initialized) = watch::channel(relayed.then_some(Ok(())));
        let running = Running {
            upstream,
            initialized,
            host: Arc::clone(host),
            leaving: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        state.running = Some(running.clone());
        self.record.started(state.failed_before);
        self.surroundings.room.enter(self);
        let tending = Arc::clone(self).tend(running.clone(), tell, place);
        tokio::spawn(self.tasks.track_future(async move {
            tending.await;
            drop(counted);
        }));
        Ok(running)
    }

    /// Stays with a server until nothing of it is left.
    async fn tend(
        self: Arc<Self>,
        running: Running,
        tell: watch::Sender<Option<Result<(), McpError>>>,
        place: OwnedSemaphorePermit,
    ) {
        let Running { upstream, host, leaving, gone, .. } = running;
        let _gone = gone.drop_guard();
        let started = Instant::now();
        let relayed = tell.borrow().is_some();
        let ready = if relayed {
            Ok(())
        } else {
            tokio::select! {
                ready = initialize(&upstream, host.as_ref()) => ready,
                () = self.stop.cancelled() => Err(McpError::NotSent(CloseReason::Local)),
            }
        };
        let failed = match ready {
            Ok(()) => {
                if !relayed {
                    host.ready(&upstream);
                    tell.send_replace(Some(Ok(())));
                }
                tokio::select! {
                    () = upstream.ended().cancelled() => {}
                    () = self.stop.cancelled() => {}
                    () = leaving.cancelled() => {}
                }
                let reason = upstream.closed().unwrap_or(CloseReason::Local);
                (!self.stop.is_cancelled() && !leaving.is_cancelled()).then(|| {
                    host.ended(&reason);
                    reason.to_string()
                })
            }
            Err(error) => {
                let text = error.to_string();
                tell.send_replace(Some(Err(error)));
                Some(text).filter(|_| !self.stop.is_cancelled())
            }
        };
        if let Some(reason) = failed {
            tracing::warn!(server = %self.settings.id, %reason, "a tool server ended by itself or could not be used");
            self.failed(&mut self.lock(), started.elapsed(), reason);
        }
        let exit = upstream.stop().await;
        let mut state = self.lock();
        state.exit = exit;
        state.running = None;
        self.record.ended();
        // Under the lock: whoever starts it next enters after this.
        self.surroundings.room.leave(&self);
        drop(state);
        drop(place);
    }

    fn failed(&self, state: &mut State, life: Duration, reason: String) {
        state.failed_before = true;
        let retry_at = state.backoff.failed(life, Instant::now());
        self.record.failed(reason, retry_at);
    }

    fn unavailable(&self, retry_in: Duration) -> McpError {
        McpError::Unavailable { server: self.settings.id.clone(), retry_in }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long nothing was asked of the server; none where there is none, or where it works.
    fn idle(&self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        let ready = matches!(&*running.initialized.borrow(), Some(Ok(())));
        let upstream = &running.upstream;
        if !ready || running.leaving.is_cancelled() || upstream.closed().is_some() {
            return None;
        }
        let quiet = upstream.quiet_since()?;
        Some(self.needed.map_or(quiet, |needed| needed.max(quiet)).elapsed())
    }
}

fn launch(launch: &Launch) -> Result<Upstream, McpError> {
    match launch {
        Launch::Command(command) => Upstream::start(command),
        Launch::Http(endpoint) => Upstream::reach(endpoint),
        Launch::Channel(connect) => Ok(Upstream::connect((connect.0)())),
    }
}

async fn initialize(upstream: &Upstream, host: &dyn Host) -> Result<(), McpError> {
    let initialized = upstream.initialize(&host.introduction()?).await?;
    let version = &initialized.protocol_version;
    if !SPOKEN.contains(&version.as_str()) {
        let reason = format!("it chose protocol version {version:?}, which is not spoken here");
        return Err(McpError::NotInitialized { reason });
    }
    upstream.notify(INITIALIZED, None);
    Ok(())
}
