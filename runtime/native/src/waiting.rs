//! Who waits for what on the client's side of a connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chio_json::Signed;
use chio_spec::{CapabilityId, CapabilityToken, RequestId, ToolCallChunk, ToolCallResponse};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::NativeError;

/// Answers of one call that may wait to be taken.
const ANSWERS_WAITING: usize = 64;

/// Revocation notices that a receiver may lag behind.
const NOTICES_WAITING: usize = 256;

/// The answers to one call: its chunks, then its response.
///
/// One connection has one order, so answers that are not taken hold up the answers to other calls. A stream that
/// nobody needs any more is dropped; the call itself goes on.
#[derive(Debug)]
pub struct CallStream {
    answers: mpsc::Receiver<Answer>,
    response: Option<ToolCallResponse>,
    next_index: u64,
    waiting: Arc<Waiting>,
}

#[derive(Debug)]
enum Answer {
    Chunk(ToolCallChunk),
    Response(ToolCallResponse),
}

impl CallStream {
    pub(crate) fn new(answers: Answers, waiting: Arc<Waiting>) -> Self {
        Self { answers: answers.0, response: None, next_index: 0, waiting }
    }

    /// The next chunk, or `None` once the response has arrived.
    ///
    /// # Errors
    /// [`NativeError::Unexpected`] when a chunk is out of order, or why the connection ended.
    pub async fn next_chunk(&mut self) -> Result<Option<ToolCallChunk>, NativeError> {
        if self.response.is_some() {
            return Ok(None);
        }
        match self.answers.recv().await {
            Some(Answer::Chunk(chunk)) if chunk.chunk_index == self.next_index => {
                self.next_index += 1;
                Ok(Some(chunk))
            }
            Some(Answer::Chunk(chunk)) => Err(NativeError::Unexpected(format!(
                "chunk {} of request {} came where chunk {} was due",
                chunk.chunk_index,
                chunk.id.as_str(),
                self.next_index
            ))),
            Some(Answer::Response(response)) => {
                self.response = Some(response);
                Ok(None)
            }
            None => Err(self.waiting.why_closed()),
        }
    }

    /// The response; chunks that were not taken are thrown away.
    ///
    /// # Errors
    /// Those of [`next_chunk`](Self::next_chunk).
    pub async fn response(mut self) -> Result<ToolCallResponse, NativeError> {
        while self.next_chunk().await?.is_some() {}
        self.response.take().ok_or(NativeError::ConnectionClosed)
    }
}

/// The receiving end that [`Waiting::expect_call`] hands out.
#[derive(Debug)]
pub(crate) struct Answers(mpsc::Receiver<Answer>);

/// Everybody who waits on one connection.
#[derive(Debug)]
pub(crate) struct Waiting {
    state: Mutex<Result<Open, NativeError>>,
    notices: broadcast::Sender<CapabilityId>,
}

/// An open connection. Answers without an id are given to those who ask in the order in which they asked.
#[derive(Debug, Default)]
pub(crate) struct Open {
    calls: HashMap<RequestId, mpsc::Sender<Answer>>,
    pub(crate) lists: VecDeque<oneshot::Sender<Vec<Signed<CapabilityToken>>>>,
    pub(crate) beats: VecDeque<oneshot::Sender<()>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { state: Mutex::new(Ok(Open::default())), notices: broadcast::channel(NOTICES_WAITING).0 }
    }
}

impl Waiting {
    /// Changes who waits, as long as the connection is open.
    pub(crate) fn open<T>(&self, change: impl FnOnce(&mut Open) -> T) -> Result<T, NativeError> {
        self.lock().as_mut().map(change).map_err(|why| why.clone())
    }

    /// Ends all waiting.
    pub(crate) fn close(&self, why: NativeError) {
        *self.lock() = Err(why);
    }

    pub(crate) fn why_closed(&self) -> NativeError {
        self.lock().as_ref().err().cloned().unwrap_or(NativeError::ConnectionClosed)
    }

    pub(crate) fn expect_call(&self, id: &RequestId) -> Result<Answers, NativeError> {
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING);
        self.open(|open| {
            if open.calls.contains_key(id) {
                return Err(NativeError::RequestIdInFlight(id.to_string()));
            }
            open.calls.insert(id.clone(), sender);
            Ok(Answers(answers))
        })?
    }

    pub(crate) fn forget_call(&self, id: &RequestId) {
        let _ = self.open(|open| open.calls.remove(id));
    }

    pub(crate) async fn chunk(&self, chunk: ToolCallChunk) -> Result<(), NativeError> {
        let call = self.open(|open| open.calls.get(&chunk.id).cloned())?;
        deliver(call, &chunk.id.clone(), Answer::Chunk(chunk)).await
    }

    pub(crate) async fn response(&self, response: ToolCallResponse) -> Result<(), NativeError> {
        let call = self.open(|open| open.calls.remove(&response.id))?;
        deliver(call, &response.id.clone(), Answer::Response(response)).await
    }

    pub(crate) fn list(&self, tokens: Vec<Signed<CapabilityToken>>) -> Result<(), NativeError> {
        let asked =
            self.open(|open| open.lists.pop_front())?.ok_or_else(|| unexpected("a capability list"))?;
        // Who asked may have stopped waiting.
        let _ = asked.send(tokens);
        Ok(())
    }

    pub(crate) fn beat(&self) -> Result<(), NativeError> {
        let asked = self.open(|open| open.beats.pop_front())?.ok_or_else(|| unexpected("a heartbeat"))?;
        let _ = asked.send(());
        Ok(())
    }

    pub(crate) fn notice(&self, id: CapabilityId) {
        // Without a receiver nobody wants to know.
        let _ = self.notices.send(id);
    }

    pub(crate) fn notices(&self) -> broadcast::Receiver<CapabilityId> {
        self.notices.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Result<Open, NativeError>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn deliver(
    call: Option<mpsc::Sender<Answer>>,
    id: &RequestId,
    answer: Answer,
) -> Result<(), NativeError> {
    let call = call.ok_or_else(|| unexpected(&format!("an answer to request {:?}", id.as_str())))?;
    // The stream may have been dropped; then nobody wants the answer.
    let _ = call.send(answer).await;
    Ok(())
}

fn unexpected(what: &str) -> NativeError {
    NativeError::Unexpected(what.to_owned())
}
