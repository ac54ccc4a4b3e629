//! One session, between its router and its connections.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use chio_json::Json;
use chio_mcp::channel::{Arrival, Departure, Departures, Route};
use chio_mcp::jsonrpc::{Id, Members, Message, Notification, Request};
use chio_policy::Identity;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::State;
use crate::host::Serving;
use crate::metrics::Metrics;
use crate::streams::{NotOpened, Reading, Streams};

/// What a client says when it has read the answer to `initialize`.
const INITIALIZED: &str = "notifications/initialized";
/// What a client says when it does not want an answer any more.
const CANCELLED: &str = "notifications/cancelled";

/// Why a session does not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A request with this id is in flight, or was cancelled just now.
    InUse,
    /// Too many requests are in flight.
    TooMany,
    /// Too much waits for the client already.
    Full,
    /// Too much waits for the clients of all sessions together.
    AllFull,
    /// The session is over.
    Over,
}

impl From<NotOpened> for Refused {
    fn from(not_opened: NotOpened) -> Self {
        match not_opened {
            NotOpened::InUse => Self::InUse,
            NotOpened::TooMany => Self::TooMany,
            NotOpened::Full => Self::Full,
            NotOpened::AllFull => Self::AllFull,
            NotOpened::Over => Self::Over,
        }
    }
}

/// One session of one client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Arc<str>,
    /// Who opened it, and may use it.
    pub(crate) identity: Arc<Identity>,
    /// Whether its client can read an event without data.
    pub(crate) reads_priming: bool,
    pub(crate) created_at: SystemTime,
    pub(crate) streams: Arc<Streams>,
    pub(crate) stop: CancellationToken,
    arrivals: mpsc::Sender<Arrival>,
    /// The version that `initialize` agreed on, and when.
    agreed: OnceLock<(String, Instant)>,
    life: Mutex<Life>,
}

/// Where the session is in its life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) state: State,
    /// When a drain ends, whatever is still in flight.
    pub(crate) drain_until: Option<Instant>,
}

impl Session {
    pub(super) fn new(
        id: Arc<str>,
        identity: Arc<Identity>,
        reads_priming: bool,
        streams: Arc<Streams>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Self {
        Self {
            id,
            identity,
            reads_priming,
            created_at: SystemTime::now(),
            streams,
            stop: CancellationToken::new(),
            arrivals,
            agreed: OnceLock::new(),
            life: Mutex::new(Life { state: State::Initializing, drain_until: None }),
        }
    }

    pub(crate) fn life(&self) -> Life {
        *self.lock()
    }

    /// Goes to a state if it can be reached from here.
    pub(super) fn become_state(&self, next: State, drain_until: Option<Instant>) -> bool {
        let mut life = self.lock();
        let possible = life.state.may_become(next);
        if possible {
            *life = Life { state: next, drain_until };
        }
        possible
    }

    /// The protocol version of the session, once it is initialized.
    pub(crate) fn protocol_version(&self) -> Option<&str> {
        self.agreed.get().map(|(version, _)| version.as_str())
    }

    /// Binds the version that `initialize` agreed on.
    pub(crate) fn bind_version(&self, version: String) {
        let _ = self.agreed.set((version, Instant::now()));
    }

    /// Whether its client has not finished the initialization within this time after `initialize` was answered.
    pub(super) fn was_abandoned(&self, within: Duration) -> bool {
        let is_late = self.agreed.get().is_some_and(|(_, at)| at.elapsed() >= within);
        is_late && self.life().state == State::Initializing
    }

    /// Passes a request on. What comes back is read from its stream. `room`: its share of the bound of requests in work,
    /// kept until it is answered.
    pub(crate) async fn request(
        &self,
        request: Request,
        primed: bool,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Reading, Refused> {
        // Between here and the end nothing waits, so a client that leaves cannot leave a stream without a request.
        let place = self.place().await?;
        let connection = self.streams.lock().open(&request.id, primed, room)?;
        place.send(Arrival::Message(Message::Request(request)));
        Ok(Reading::new(&self.streams, connection))
    }

    /// Passes a notification or a response on.
    pub(crate) async fn tell(&self, message: Message) -> Result<(), Refused> {
        self.streams.lock().touch();
        let place = self.place().await?;
        let (confirms, cancelled) = match &message {
            Message::Notification(notification) => {
                (notification.method == INITIALIZED, cancelled_request(notification))
            }
            _ => (false, None),
        };
        place.send(Arrival::Message(message));
        if confirms {
            self.become_state(State::Ready, None);
        }
        // A cancelled request gets no answer, so its stream must end without one.
        if let Some(id) = cancelled {
            self.streams.lock().cancel(&id);
        }
        Ok(())
    }

    /// A place in the queue of the session. It can take long to come, so whether the session still serves is asked then.
    async fn place(&self) -> Result<mpsc::Permit<'_, Arrival>, Refused> {
        let place = self.arrivals.reserve().await.map_err(|_| Refused::Over)?;
        if self.life().state.serves() { Ok(place) } else { Err(Refused::Over) }
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        // The state is replaced as a whole.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drives a session: its future on one side, and on the other what it has for its client.
pub(super) async fn drive(
    streams: &Streams,
    metrics: &Metrics,
    mut serving: Serving,
    mut departures: Departures,
) {
    let take = |departure: Departure| {
        if matches!(departure.route, Route::Answer(_)) {
            metrics.answered(&departure.text);
        }
        streams.lock().push(departure);
    };
    let mut work = departures.work();
    loop {
        tokio::select! {
            Ok(()) = work.changed() => streams.lock().set_working(*work.borrow_and_update() > 0),
            departure = departures.next() => match departure {
                Some(departure) => take(departure),
                None => {
                    serving.await;
                    break;
                }
            },
            () = &mut serving => break,
        }
    }
    while let Some(departure) = departures.next_ready() {
        take(departure);
    }
}

/// The request that a notification cancels.
fn cancelled_request(notification: &Notification) -> Option<Id> {
    if notification.method != CANCELLED {
        return None;
    }
    let members = Members::parse(notification.params.as_ref().map(Json::get)?).ok()?;
    Id::from_json(members.get("requestId")?).ok()
}
