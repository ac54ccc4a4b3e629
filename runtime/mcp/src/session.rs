//! A transport-neutral MCP session with one peer, in both directions.
//!
//! Either side of MCP may ask, tell, cancel and report progress, so one model serves the client that
//! talks to us and the server that we talk to. The session owns correlation and nothing else: ids of
//! our own for what we ask (the peer's ids never leave its connection), cancellation both ways,
//! progress tokens of our own that are unique per connection, and an end that fails everything that
//! waits with the reason.
//!
//! Rules that keep one peer from holding up another:
//! - every request of the peer runs on its own task, at most [`Limits::in_work`] at a time; above that
//!   it is answered with an error at once, so cancellations and answers behind it are still read;
//! - answers wait for room in the peer's bounded queue, on their own task;
//! - notifications never wait: without room they are dropped and counted.

mod incoming;
mod pending;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use chio_json::Json;
use chio_spec::ErrorCode;

use crate::channel::{Arrival, Channel, Concerns, Outbox, Route, Unsent, Work};
use crate::error::{CloseReason, McpError};
use crate::jsonrpc::{
    self, ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, Id, Malformed, Members, Message, Notification,
    Request, Response,
};
use crate::registry::chio_error;

use incoming::{InWork, NotTaken};
use pending::{Answer, Pending, cancelled_params};

pub use incoming::{CancelCause, Cancellation, Incoming};
pub use pending::ProgressSink;

const CANCELLED: &str = "notifications/cancelled";
const PROGRESS: &str = "notifications/progress";

/// What the session does with what the peer asks and tells.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Sees a request in the order of arrival, before anything that arrived later. Runs on the session's task:
    /// it must not block.
    fn arriving(&self, request: &Incoming) {
        let _ = request;
    }

    /// Answers a request. Runs on a task of its own; after `request.cancelled` fired it should finish soon,
    /// and its answer is dropped.
    async fn request(&self, request: Incoming) -> Result<Json, ErrorObject>;

    /// Takes a notification, in the order of arrival and before anything that arrived later. Runs on the
    /// session's task: it must not block. Cancellation and progress are handled by the session itself.
    fn notification(&self, notification: Notification);
}

/// Bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of the peer in work at a time.
    pub in_work: usize,
    /// Requests of ours waiting at a time.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_work: 256, waiting: 1024 }
    }
}

/// How a request of ours is sent.
#[derive(Clone, Default)]
pub struct RequestOptions {
    /// How long to wait for the answer, the time in the outgoing queue included. `None`: as long as the
    /// caller does.
    pub timeout: Option<Duration>,
    /// Cancels the request when it fires.
    pub cancelled: Option<Cancellation>,
    /// Asks for progress, and takes it.
    pub progress: Option<ProgressSink>,
    /// Which of the peer's streams it is sent on.
    pub route: Route,
    /// Never send `notifications/cancelled` for it, as MCP demands of `initialize`.
    pub not_cancellable: bool,
}

/// A handle to a session; clones share it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    outbox: Outbox,
    limits: Limits,
    pending: Pending,
    in_work: InWork,
    tasks: TaskTracker,
    dropped: AtomicU64,
}

/// Reads what arrives until the connection ends; see [`Driver::run`].
pub struct Driver {
    session: Session,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Session {
    /// A session over a channel. Nothing is read before the driver runs.
    #[must_use]
    pub fn new(channel: Channel, limits: Limits) -> (Self, Driver) {
        let session = Self {
            shared: Arc::new(Shared {
                outbox: channel.outbox,
                limits,
                pending: Pending::default(),
                in_work: InWork::default(),
                tasks: TaskTracker::new(),
                dropped: AtomicU64::new(0),
            }),
        };
        (session.clone(), Driver { session, arrivals: channel.arrivals })
    }

    /// Asks the peer and waits for its answer. Dropping the future cancels the request. `params` is an
    /// object; where progress is wanted, its `_meta.progressToken` is set to a token of our own.
    ///
    /// # Errors
    /// [`McpError::Refused`] with what the peer answered; otherwise the request failed on the way, and
    /// [`McpError::outcome_unknown`] says whether the peer may have acted on it.
    pub async fn request(
        &self,
        method: &str,
        params: Option<&Json>,
        options: RequestOptions,
    ) -> Result<Json, McpError> {
        let RequestOptions { timeout, cancelled, progress, route, not_cancellable } = options;
        let wants_progress = progress.is_some();
        let (id, answered) = self.shared.pending.enter(self.shared.limits.waiting, progress)?;
        let guard = Waiting {
            session: self,
            id,
            sent: AtomicBool::new(false),
            route: route.clone(),
            cancellable: !not_cancellable,
        };
        let with_token = if wants_progress { Some(set_progress_token(params, id)?) } else { None };
        let params = with_token.as_deref().or(params.map(Json::get));
        let text = jsonrpc::request_text(&Id::number(id), method, params);

        let exchange = async {
            self.shared.outbox.send(text, route).await.map_err(|_| self.not_sent())?;
            guard.sent.store(true, Ordering::Relaxed);
            answered.await.unwrap_or_else(|_| Err(McpError::Closed(self.close_reason())))
        };
        let bounded = async {
            match timeout {
                Some(limit) => {
                    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(McpError::TimedOut(limit)))
                }
                None => exchange.await,
            }
        };
        let answer = match cancelled {
            Some(cancelled) => tokio::select! {
                biased;
                answer = bounded => answer,
                () = cancelled.fired() => {
                    guard.give_up(&cancelled.cause().map_or_else(|| "cancelled".to_owned(), CancelCause::text));
                    return Err(McpError::Cancelled);
                }
            },
            None => bounded.await,
        };
        if let Err(McpError::TimedOut(limit)) = &answer {
            guard.give_up(&format!("no answer within {} ms", limit.as_millis()));
        }
        answer
    }

    /// Takes progress under a token of its own, as long as what is returned is kept: for what goes on after
    /// the request that began it was answered.
    #[must_use]
    pub fn lasting_progress(&self, sink: ProgressSink) -> LastingProgress {
        LastingProgress { session: self.clone(), token: self.shared.pending.add_lasting(sink) }
    }

    /// Tells the peer, if its queue has room now.
    ///
    /// # Errors
    /// [`Unsent`] when the notification was dropped; it was counted.
    pub fn notify(&self, method: &str, params: Option<&Json>, route: Route) -> Result<(), Unsent> {
        self.offer(jsonrpc::notification_text(method, params.map(Json::get)), route)
    }

    /// Tells the transport of work that goes on without a request, so that it keeps the session meanwhile.
    #[must_use]
    pub fn begin_work(&self) -> Work {
        self.shared.outbox.begin_work()
    }

    /// How many texts were dropped because the peer reads too slowly.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Requests of the peer in work now.
    #[must_use]
    pub fn in_work(&self) -> usize {
        self.shared.in_work.count()
    }

    /// Requests of ours waiting now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.pending.count()
    }

    /// Since when neither side waits for an answer of the other; none while one does.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let quiet = self.shared.pending.quiet_since()?;
        (self.in_work() == 0).then_some(quiet)
    }

    /// Whether the connection is over for requests of ours, and why.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.shared.pending.closed()
    }

    /// Refuses new requests of ours and fails those that wait.
    pub fn close(&self) {
        self.shared.pending.close(&CloseReason::Local);
    }

    /// Waits for the requests in work: `patience` for them to end by themselves, then the rest is
    /// cancelled; ending it and writing everything that is queued may take `mercy` longer. Answers how many
    /// requests of the peer were left without an answer.
    pub async fn finish(&self, patience: Duration, mercy: Duration) -> usize {
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            self.shared.in_work.cancel_all();
        }
        let _ = tokio::time::timeout(mercy, async {
            self.shared.tasks.wait().await;
            self.shared.outbox.flushed().await;
        })
        .await;
        self.shared.in_work.count()
    }

    fn offer(&self, text: String, route: Route) -> Result<(), Unsent> {
        self.shared.outbox.offer(text, route).inspect_err(|unsent| {
            if *unsent == Unsent::Full && self.shared.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("a peer does not read fast enough; notifications for it are being dropped");
            }
        })
    }

    fn not_sent(&self) -> McpError {
        McpError::NotSent(self.close_reason())
    }

    fn close_reason(&self) -> CloseReason {
        self.closed().unwrap_or_else(|| CloseReason::Broken("the peer stopped reading".to_owned()))
    }
}

impl Driver {
    /// Serves what arrives until the connection ends or [`Session::close`] was called and the transport
    /// stopped. Then everything of ours that waits has failed; requests of the peer may still be in work:
    /// see [`Session::finish`].
    pub async fn run(mut self, handler: Arc<dyn Handler>) -> CloseReason {
        let reason = loop {
            match self.arrivals.recv().await {
                Some(Arrival::Broken(reason)) => break CloseReason::Broken(reason),
                Some(arrival) => self.session.arrived(arrival, &handler),
                None => break CloseReason::Eof,
            }
        };
        self.session.shared.pending.close(&reason);
        reason
    }
}

impl Session {
    fn arrived(&self, arrival: Arrival, handler: &Arc<dyn Handler>) {
        match arrival {
            Arrival::Message(Message::Request(request)) => self.requested(request, handler),
            Arrival::Message(Message::Response(response)) => self.answered(response),
            Arrival::Message(Message::Notification(notification)) => self.notified(notification, handler),
            Arrival::Message(Message::UnattributedError(error)) => {
                tracing::warn!(%error, "the peer reported an error that answers no request");
            }
            Arrival::Malformed(Malformed::Response { id, reason })
                if self.shared.pending.answer(&id, Err(McpError::MalformedAnswer(reason.clone()))) => {}
            // Its id is one of ours, if any: an error under it would answer another request, of the peer's own.
            Arrival::Malformed(malformed @ Malformed::Response { .. }) => {
                tracing::warn!(%malformed, "dropped an answer that nobody waits for");
            }
            Arrival::Malformed(malformed) => {
                tracing::warn!(%malformed, "refused a message");
                // Nobody can be owed this answer so much that the connection should wait for it.
                let _ = self.offer(malformed.answer(), Route::Unrelated);
            }
            Arrival::Oversized { bytes, concerns } => self.oversized(bytes, concerns),
            Arrival::Lost { id, reason, taken } => {
                let error = if taken {
                    McpError::AnswerLost(reason)
                } else {
                    McpError::NotSent(CloseReason::Broken(reason))
                };
                self.shared.pending.answer(&id, Err(error));
            }
            Arrival::Broken(reason) => tracing::warn!(%reason, "the transport broke"),
        }
    }

    fn requested(&self, request: Request, handler: &Arc<dyn Handler>) {
        let Request { id, method, params } = request;
        let cancelled = match self.shared.in_work.enter(&id, self.shared.limits.in_work) {
            Ok(cancelled) => cancelled,
            Err(not_taken) => {
                let error = match not_taken {
                    NotTaken::Duplicate => {
                        ErrorObject::new(INVALID_REQUEST, "a request with this id is still in work")
                    }
                    NotTaken::TooMany => {
                        let limit = self.shared.limits.in_work;
                        let text = format!("{limit} requests are in work on this session; try again later");
                        chio_error(ErrorCode::KernelBusy, Some(&text), None)
                    }
                };
                let _ = self.offer(jsonrpc::error_text(Some(&id), &error), Route::Answer(id));
                return;
            }
        };
        let request = Incoming { id: id.clone(), method, params, cancelled: cancelled.clone() };
        handler.arriving(&request);
        let session = self.clone();
        let handler = Arc::clone(handler);
        self.shared.tasks.spawn(async move {
            // A task of its own, so that a panic of the handler becomes an answer.
            let work = tokio::spawn(async move { handler.request(request).await });
            let outcome = work.await.unwrap_or_else(|_| {
                Err(ErrorObject::new(INTERNAL_ERROR, "an internal fault; the log on this side has more"))
            });
            // MCP: a cancelled request gets no answer. A caller that is gone may still read its pipe.
            if !matches!(cancelled.cause(), Some(CancelCause::Peer(_))) {
                let text = match &outcome {
                    Ok(result) => jsonrpc::result_text(&id, result.get()),
                    Err(error) => jsonrpc::error_text(Some(&id), error),
                };
                let _ = session.shared.outbox.send(text, Route::Answer(id.clone())).await;
            }
            session.shared.in_work.leave(&id);
        });
    }

    fn answered(&self, response: Response) {
        let answer: Answer = response.outcome.map_err(McpError::Refused);
        if !self.shared.pending.answer(&response.id, answer) {
            tracing::debug!(id = %response.id, "dropped an answer nobody waits for");
        }
    }

    fn notified(&self, notification: Notification, handler: &Arc<dyn Handler>) {
        match notification.method.as_str() {
            CANCELLED => self.cancelled_by_peer(notification.params.as_ref()),
            PROGRESS => self.progressed(notification.params.as_ref()),
            _ => handler.notification(notification),
        }
    }

    fn cancelled_by_peer(&self, params: Option<&Json>) {
        let Some(members) = params.and_then(|params| Members::parse(params.get()).ok()) else {
            return tracing::debug!("ignored a cancellation without readable parameters");
        };
        let Some(id) = members.get("requestId").and_then(|id| Id::from_json(id).ok()) else {
            return tracing::debug!("ignored a cancellation without a request id");
        };
        if !self.shared.in_work.cancel(&id, CancelCause::Peer(members.string("reason"))) {
            tracing::debug!(%id, "ignored a cancellation of a request that is not in work");
        }
    }

    fn progressed(&self, params: Option<&Json>) {
        let sink = params.and_then(|params| {
            let members = Members::parse(params.get()).ok()?;
            self.shared.pending.progress(members.get("progressToken")?)
        });
        match (sink, params) {
            (Some(sink), Some(params)) => sink(params),
            _ => tracing::debug!("dropped progress for a token that is not in use"),
        }
    }

    fn oversized(&self, bytes: u64, concerns: Concerns) {
        tracing::warn!(bytes, "a message is larger than this side accepts");
        let asked = match concerns {
            Concerns::Answer(id) => {
                self.shared.pending.answer(&id, Err(McpError::AnswerTooLarge { bytes }));
                return;
            }
            Concerns::Request(id) => Some(id),
            Concerns::Nobody | Concerns::Unknown => None,
        };
        let text = format!("a message of {bytes} bytes is larger than this side accepts");
        let error = ErrorObject::new(INVALID_REQUEST, text);
        let text = jsonrpc::error_text(asked.as_ref(), &error);
        let _ = self.offer(text, asked.map_or(Route::Unrelated, Route::Answer));
    }
}

/// A progress token that is in use until this is dropped.
pub struct LastingProgress {
    session: Session,
    token: u64,
}

impl LastingProgress {
    /// The token, for the `_meta.progressToken` of a request.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }
}

impl Drop for LastingProgress {
    fn drop(&mut self) {
        self.session.shared.pending.remove_lasting(self.token);
    }
}

/// Withdraws a request that nobody waits for any more, whatever way its future ended.
struct Waiting<'a> {
    session: &'a Session,
    id: u64,
    sent: AtomicBool,
    /// Where the request went, and so its withdrawal.
    route: Route,
    cancellable: bool,
}

impl Waiting<'_> {
    fn give_up(&self, reason: &str) {
        let was_waiting = self.session.shared.pending.forget(self.id);
        if was_waiting && self.sent.load(Ordering::Relaxed) && self.cancellable {
            let text = jsonrpc::notification_text(CANCELLED, Some(&cancelled_params(self.id, reason)));
            let _ = self.session.offer(text, self.route.clone());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.give_up("no longer wanted");
    }
}

fn set_progress_token(params: Option<&Json>, id: u64) -> Result<String, McpError> {
    let invalid = |error: serde_json::Error| McpError::InvalidParams(error.to_string());
    let mut members =
        params.map_or(Ok(Members::default()), |params| Members::parse(params.get())).map_err(invalid)?;
    let meta = members.get("_meta").map(str::to_owned).unwrap_or_else(|| "{}".to_owned());
    let mut meta = Members::parse(&meta).map_err(invalid)?;
    meta.set("progressToken", id.to_string());
    let meta = meta.to_text();
    members.set("_meta", meta);
    Ok(members.to_text())
}
