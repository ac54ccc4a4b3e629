//! The bounded way to the writer.
//!
//! Work that has not begun is refused when the queue is full: the caller can say "busy" and nothing is lost. Work that
//! records what has happened already waits for room instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::batch::{Batch, Fault, Request};
use crate::error::StoreError;

/// How many bytes may wait at most, besides one request of any size.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What travels to the writer.
pub(super) type Queued = Box<dyn Job>;

/// A request of any kind, with whoever waits for its answer.
pub(super) trait Job: Send {
    fn bytes(&self) -> usize;
    /// Whether the work most likely changes nothing; see [`Request::only_looks`].
    fn only_looks(&self) -> bool;
    /// Does the work. An error ends the transaction.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;
    /// Whether somebody waits for the commit.
    fn is_waiting(&self) -> bool;
    /// Answers: with the result of the work, or with the reason why the transaction failed.
    fn answer(self: Box<Self>, failure: Option<&StoreError>);
}

struct Pending<R: Request> {
    request: Option<R>,
    answer: Option<Result<R::Answer, StoreError>>,
    /// `None` once it was used.
    reply: Option<oneshot::Sender<Result<R::Answer, StoreError>>>,
    weight: Weight,
}

impl<R: Request> Pending<R> {
    fn reply(&mut self, answer: Result<R::Answer, StoreError>) {
        if let Some(reply) = self.reply.take() {
            // A caller that is gone has cancelled; what was committed stays.
            drop(reply.send(answer));
        }
    }
}

impl<R: Request> Job for Pending<R> {
    fn bytes(&self) -> usize {
        self.weight.bytes
    }

    fn only_looks(&self) -> bool {
        self.request.as_ref().is_some_and(Request::only_looks)
    }

    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let only_looks = request.only_looks();
        let answer = match request.apply(batch) {
            Ok(answer) => Ok(answer),
            Err(Fault::Request(error)) => Err(error),
            Err(Fault::Transaction(error)) => return Err(error),
        };
        if only_looks && !batch.changes.dirty {
            // It has seen nothing but what is durable, and changed nothing: there is no commit to wait for.
            self.reply(answer);
        } else {
            self.answer = Some(answer);
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.reply.is_some()
    }

    fn answer(mut self: Box<Self>, failure: Option<&StoreError>) {
        let answer = match (failure, self.answer.take()) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Some(answer)) => answer,
            // Answered already; a transaction that succeeded applied every request.
            (None, None) => Err(StoreError::Poisoned { reason: "a request was skipped".to_owned() }),
        };
        self.reply(answer);
    }
}

/// The bytes a request holds, counted until it is dropped.
struct Weight {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Weight {
    fn new(bytes: usize, waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, waiting: Arc::clone(waiting) }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The callers' end.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Queued>,
    waiting: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Queue {
    pub(super) fn new(capacity: usize, shared: Arc<Shared>) -> (Self, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { sender, waiting: Arc::default(), shared }, receiver)
    }

    /// Hands over a request that may be refused while much else waits.
    pub(super) async fn offer<R: Request>(&self, request: R) -> Result<R::Answer, StoreError> {
        request.check()?;
        if self.waiting.load(Ordering::Relaxed) > WAITING_BYTES {
            return Err(StoreError::Busy { reason: "too many bytes wait to be written".to_owned() });
        }
        let (job, answer) = self.pend(request);
        self.sender.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                StoreError::Busy { reason: "too many requests wait to be written".to_owned() }
            }
            mpsc::error::TrySendError::Closed(_) => self.closed(),
        })?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Hands over a request that must not be refused, however long it has to wait.
    pub(super) async fn insist<R: Request>(&self, request: R) -> Result<R::Answer, StoreError> {
        request.check()?;
        let (job, answer) = self.pend(request);
        self.sender.send(job).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?
    }

    fn pend<R: Request>(&self, request: R) -> (Queued, oneshot::Receiver<Result<R::Answer, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let weight = Weight::new(request.bytes(), &self.waiting);
        (Box::new(Pending { request: Some(request), answer: None, reply: Some(reply), weight }), answer)
    }

    fn closed(&self) -> StoreError {
        self.shared
            .poisoned()
            .unwrap_or_else(|| StoreError::Poisoned { reason: "the writer thread is gone".to_owned() })
    }
}
