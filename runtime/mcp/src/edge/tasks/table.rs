//! The tasks of one client session.
//!
//! The table is the session's own, and so is every id in it: a task of another session is, here, an id that
//! never was. What is kept is bounded by number and by bytes, and nothing is kept for ever: a finished task
//! stays for its time to live, counted from its end, so that a slow task is not gone before its result was
//! fetched. A running task is never forgotten, for its receipt is still to come; the policy's time limit
//! ends it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::watch;

use chio_json::Json;
use chio_spec::ServerId;

use crate::channel::Route;
use crate::jsonrpc::{ErrorObject, Id};
use crate::session::{CancelCause, Cancellation};

use super::moment::rfc3339;

/// Tasks of a session that run at a time.
pub(super) const MOST_RUNNING: usize = 64;
/// Tasks of a session that are known at a time.
pub(super) const MOST_KEPT: usize = 512;
/// Bytes of finished results that a session keeps; above, the oldest are forgotten before their time.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How long a finished task is kept when the client names no time.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);
/// The longest that a finished task is kept, whatever the client asks for.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a client should ask at most, in milliseconds.
const POLL_INTERVAL: u64 = 500;

/// The result of a task: what the call would have answered.
pub(super) type TaskOutcome = Result<Json, ErrorObject>;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Working,
    /// The client was asked for something that the task needs.
    InputRequired,
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Why there is no new task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("{0} tasks of this session are running; wait for one to end, or cancel one")]
    Running(usize),
    #[error("{0} tasks of this session are kept; ask for a shorter `ttl`, or wait for some to expire")]
    Kept(usize),
    #[error("this session is ending")]
    Closed,
}

/// Takes the state of a task whenever it changes.
pub(super) type OnChange = Box<dyn Fn(&Value) + Send + Sync>;

/// The table.
pub(super) struct Tasks {
    state: Mutex<State>,
    on_change: OnChange,
}

#[derive(Default)]
struct State {
    next: u64,
    by_id: HashMap<String, Task>,
    bytes: usize,
    closed: bool,
}

struct Task {
    number: u64,
    server: ServerId,
    status: Status,
    message: Option<String>,
    created: SystemTime,
    updated: SystemTime,
    ttl: Duration,
    /// Requests to the client that the task waits for.
    asking: usize,
    cancelled: Cancellation,
    /// `tasks/result` requests that wait, newest last: the streams on which the task can speak.
    listeners: Vec<Id>,
    ended: Option<Ended>,
    outcome: watch::Sender<Option<Arc<TaskOutcome>>>,
}

struct Ended {
    at: Instant,
    bytes: usize,
}

/// A task that was just made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) cancelled: Cancellation,
    pub(super) view: Value,
}

impl Tasks {
    pub(super) fn new(on_change: OnChange) -> Self {
        Self { state: Mutex::default(), on_change }
    }

    /// Makes a task that works. `ttl` is what the client asked for, in milliseconds.
    pub(super) fn create(&self, id: String, server: &ServerId, ttl: Option<u64>) -> Result<Made, Full> {
        let mut state = self.lock();
        if state.closed {
            return Err(Full::Closed);
        }
        let running = state.by_id.values().filter(|task| task.ended.is_none()).count();
        if running >= MOST_RUNNING {
            return Err(Full::Running(MOST_RUNNING));
        }
        if state.by_id.len() >= MOST_KEPT {
            return Err(Full::Kept(MOST_KEPT));
        }
        state.next += 1;
        let now = SystemTime::now();
        let task = Task {
            number: state.next,
            server: server.clone(),
            status: Status::Working,
            message: None,
            created: now,
            updated: now,
            ttl: ttl.map_or(DEFAULT_TTL, Duration::from_millis).min(LONGEST_TTL),
            asking: 0,
            cancelled: Cancellation::new(),
            listeners: Vec::new(),
            ended: None,
            outcome: watch::Sender::new(None),
        };
        let made = Made { cancelled: task.cancelled.clone(), view: task.view(&id), id: id.clone() };
        state.by_id.insert(id, task);
        Ok(made)
    }

    /// The state of a task; none for an id that is not one of this session.
    pub(super) fn view(&self, id: &str) -> Option<Value> {
        self.lock().by_id.get(id).map(|task| task.view(id))
    }

    /// The ids of all tasks, oldest first.
    pub(super) fn ids(&self) -> Arc<[String]> {
        let state = self.lock();
        let mut tasks: Vec<_> = state.by_id.iter().collect();
        tasks.sort_by_key(|(_, task)| task.number);
        tasks.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Whether an id is that of a task of this session.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Waits until a task has ended and its receipt is durable; answers its result. Until then the task may
    /// speak on the stream of the request `listener`.
    pub(super) async fn outcome(&self, id: &str, listener: &Id) -> Option<Arc<TaskOutcome>> {
        let mut outcome = {
            let mut state = self.lock();
            let task = state.by_id.get_mut(id)?;
            task.listeners.push(listener.clone());
            task.outcome.subscribe()
        };
        let _listening = Listening { tasks: self, id, listener };
        // Whoever waited gets the result, also of a task that is not kept any longer.
        outcome.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Waits until a task has ended.
    pub(super) async fn over(&self, id: &str) {
        let outcome = self.lock().by_id.get(id).map(|task| task.outcome.subscribe());
        if let Some(mut outcome) = outcome {
            let _ = outcome.wait_for(Option::is_some).await;
        }
    }

    /// Asks a task to end. Answers its status at that moment, and none for an unknown id.
    pub(super) fn cancel(&self, id: &str, reason: &str) -> Option<Status> {
        let state = self.lock();
        let task = state.by_id.get(id)?;
        if !task.status.is_final() {
            task.cancelled.cancel(CancelCause::Peer(Some(reason.to_owned())));
        }
        Some(task.status)
    }

    /// The task has ended.
    pub(super) fn end(&self, id: &str, status: Status, message: Option<String>, outcome: TaskOutcome) {
        let mut state = self.lock();
        let Some(task) = state.by_id.get_mut(id) else { return };
        let bytes = match &outcome {
            Ok(result) => result.get().len(),
            Err(error) => error.message.len() + error.data.as_ref().map_or(0, |data| data.get().len()),
        };
        task.status = status;
        task.message = message;
        task.updated = SystemTime::now();
        task.ended = Some(Ended { at: Instant::now(), bytes });
        task.outcome.send_replace(Some(Arc::new(outcome)));
        let view = task.view(id);
        state.bytes += bytes;
        state.shrink(id);
        drop(state);
        (self.on_change)(&view);
    }

    /// The task waits for an answer of the client as long as the returned value lives; none when it is not
    /// running.
    pub(super) fn asking(self: &Arc<Self>, id: &str) -> Option<Asking> {
        let view = {
            let mut state = self.lock();
            let task = state.by_id.get_mut(id).filter(|task| task.ended.is_none())?;
            task.asking += 1;
            task.set(Status::InputRequired).then(|| task.view(id))
        };
        if let Some(view) = view {
            (self.on_change)(&view);
        }
        Some(Asking { tasks: Arc::clone(self), id: id.to_owned() })
    }

    /// Where something belongs that a running task says.
    pub(super) fn route(&self, id: &str) -> Route {
        let state = self.lock();
        let listener = state.by_id.get(id).and_then(|task| task.listeners.last());
        listener.map_or(Route::Unrelated, |listener| Route::Within(listener.clone()))
    }

    /// Whether a task is running that is with a server.
    pub(super) fn has_running(&self, server: &ServerId) -> bool {
        self.lock().by_id.values().any(|task| task.ended.is_none() && task.server == *server)
    }

    /// The only running task that is with a server, if it is the only one.
    pub(super) fn only_one_with(&self, server: &ServerId) -> Option<String> {
        let state = self.lock();
        let mut running =
            state.by_id.iter().filter(|(_, task)| task.ended.is_none() && task.server == *server);
        match (running.next(), running.next()) {
            (Some((id, _)), None) => Some(id.clone()),
            _ => None,
        }
    }

    /// Makes no more tasks and cancels those that run.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for task in state.by_id.values().filter(|task| task.ended.is_none()) {
            task.cancelled.cancel(CancelCause::Closed);
        }
    }

    fn answered(&self, id: &str) {
        let view = {
            let mut state = self.lock();
            let Some(task) = state.by_id.get_mut(id) else { return };
            task.asking = task.asking.saturating_sub(1);
            let changed = task.ended.is_none() && task.asking == 0 && task.set(Status::Working);
            changed.then(|| task.view(id))
        };
        if let Some(view) = view {
            (self.on_change)(&view);
        }
    }

    /// The state, without what has expired.
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the table consistent.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let State { by_id, bytes, .. } = &mut *state;
        by_id.retain(|_, task| match &task.ended {
            Some(ended) if now.saturating_duration_since(ended.at) >= task.ttl => {
                *bytes -= ended.bytes;
                false
            }
            _ => true,
        });
        state
    }
}

impl State {
    /// Forgets the oldest results, but not the one of `newest`, until the rest is within bounds.
    fn shrink(&mut self, newest: &str) {
        while self.bytes > MOST_BYTES {
            let finished = self.by_id.iter().filter(|(id, _)| id.as_str() != newest);
            let finished = finished.filter_map(|(id, task)| Some((task.ended.as_ref()?.at, id)));
            let Some(oldest) = finished.min().map(|(_, id)| id.clone()) else { return };
            if let Some(Task { ended: Some(ended), .. }) = self.by_id.remove(&oldest) {
                self.bytes -= ended.bytes;
                tracing::warn!("forgot the result of a task before its time, for newer ones need the room");
            }
        }
    }
}

impl Task {
    /// Changes the status; answers whether it was another.
    fn set(&mut self, status: Status) -> bool {
        let changed = self.status != status;
        if changed {
            self.status = status;
            self.updated = SystemTime::now();
        }
        changed
    }

    /// The task as MCP's `Task`.
    fn view(&self, id: &str) -> Value {
        let mut view = json!({
            "taskId": id,
            "status": self.status.as_str(),
            "createdAt": rfc3339(self.created),
            "lastUpdatedAt": rfc3339(self.updated),
            "ttl": u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            "pollInterval": POLL_INTERVAL,
        });
        if let (Some(message), Some(view)) = (&self.message, view.as_object_mut()) {
            view.insert("statusMessage".to_owned(), message.as_str().into());
        }
        view
    }
}

/// A request to the client that a task waits for.
pub(in crate::edge) struct Asking {
    tasks: Arc<Tasks>,
    id: String,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.tasks.answered(&self.id);
    }
}

/// A `tasks/result` that waits.
struct Listening<'a> {
    tasks: &'a Tasks,
    id: &'a str,
    listener: &'a Id,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.tasks.lock().by_id.get_mut(self.id) {
            task.listeners.retain(|listener| listener != self.listener);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn server(name: &str) -> ServerId {
        ServerId::new(name).unwrap()
    }

    /// A table, and what it said about its tasks.
    fn table() -> (Arc<Tasks>, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let on_change = move |view: &Value| {
            heard.lock().unwrap().push(view["status"].as_str().unwrap().to_owned());
        };
        (Arc::new(Tasks::new(Box::new(on_change))), said)
    }

    fn result(bytes: usize) -> TaskOutcome {
        Ok(Json::from_value(&json!({"text": "x".repeat(bytes)})))
    }

    #[tokio::test]
    async fn a_task_is_input_required_exactly_while_the_client_is_asked() {
        let (tasks, said) = table();
        tasks.create("t".to_owned(), &server("s"), None).unwrap();
        let first = tasks.asking("t").unwrap();
        let second = tasks.asking("t").unwrap();
        assert_eq!(tasks.view("t").unwrap()["status"], "input_required");
        drop(first);
        assert_eq!(tasks.view("t").unwrap()["status"], "input_required");
        drop(second);
        assert_eq!(tasks.view("t").unwrap()["status"], "working");
        let late = tasks.asking("t").unwrap();
        tasks.end("t", Status::Completed, None, result(1));
        drop(late);
        assert!(tasks.asking("t").is_none());
        assert_eq!(*said.lock().unwrap(), ["input_required", "working", "input_required", "completed"]);
    }

    #[tokio::test]
    async fn what_a_task_says_goes_on_the_stream_of_who_waits_for_its_result() {
        let (tasks, _) = table();
        tasks.create("t".to_owned(), &server("s"), None).unwrap();
        assert_eq!(tasks.route("t"), Route::Unrelated);
        let waiting = {
            let tasks = Arc::clone(&tasks);
            tokio::spawn(async move { tasks.outcome("t", &Id::number(7)).await.is_some() })
        };
        tokio::task::yield_now().await;
        assert_eq!(tasks.route("t"), Route::Within(Id::number(7)));
        tasks.end("t", Status::Completed, None, result(1));
        assert!(waiting.await.unwrap());
        assert_eq!(tasks.route("t"), Route::Unrelated);
        assert!(tasks.outcome("t", &Id::number(8)).await.is_some());
        assert!(tasks.outcome("other", &Id::number(8)).await.is_none());
    }

    #[test]
    fn finished_tasks_expire_and_running_ones_do_not() {
        let (tasks, _) = table();
        for id in ["a", "b"] {
            let made = tasks.create(id.to_owned(), &server("s"), Some(20)).unwrap();
            assert_eq!(made.view["ttl"], 20);
        }
        tasks.end("a", Status::Completed, None, result(1));
        assert!(tasks.knows("a"));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!tasks.knows("a") && tasks.knows("b"));
        assert_eq!(tasks.lock().bytes, 0);
        let long = tasks.create("c".to_owned(), &server("s"), Some(u64::MAX)).unwrap();
        assert_eq!(long.view["ttl"], 24 * 60 * 60 * 1000);
    }

    #[test]
    fn tasks_are_bounded_by_number_and_by_bytes() {
        let (tasks, _) = table();
        for number in 0..MOST_KEPT {
            let id = number.to_string();
            tasks.create(id.clone(), &server("s"), None).unwrap();
            if number >= MOST_RUNNING - 1 {
                tasks.end(&id, Status::Completed, None, result(0));
            }
        }
        let full = tasks.create("more".to_owned(), &server("s"), None).unwrap_err();
        assert_eq!(full, Full::Kept(MOST_KEPT));

        let (tasks, _) = table();
        for number in 0..MOST_RUNNING {
            tasks.create(number.to_string(), &server("s"), None).unwrap();
        }
        let full = tasks.create("more".to_owned(), &server("s"), None).unwrap_err();
        assert_eq!(full, Full::Running(MOST_RUNNING));
        for number in 0..10 {
            tasks.end(&number.to_string(), Status::Completed, None, result(MOST_BYTES / 8));
        }
        assert!(tasks.lock().bytes <= MOST_BYTES);
        assert!(!tasks.knows("0") && tasks.knows("9") && tasks.knows("10"));
    }

    #[test]
    fn a_closed_session_cancels_what_runs_and_begins_nothing() {
        let (tasks, _) = table();
        let made = tasks.create("t".to_owned(), &server("s"), None).unwrap();
        tasks.close();
        assert_eq!(made.cancelled.cause(), Some(&CancelCause::Closed));
        assert_eq!(tasks.create("u".to_owned(), &server("s"), None).unwrap_err(), Full::Closed);
    }
}
