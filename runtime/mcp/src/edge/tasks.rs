//! Tasks: tool calls that outlive their request.
//!
//! They are the edge's own. A `tools/call` with `task` is answered at once, and one call of the kernel runs in the
//! background, so that one receipt states what really became of it. Where the server has tasks too, the call is one of
//! its tasks (the connection sees to that); its ids and states stay between us, for the client has ours. A task
//! belongs to its session: its id is random, and to everybody else it does not exist.

mod moment;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use chio_json::Json;
use chio_kernel::{Patience, Target};
use chio_spec::{Decision, ErrorCode, ServerId};

use crate::channel::Route;
use crate::connection::{Following, TaskCall};
use crate::edge::Edge;
use crate::edge::calls::{Call, Called, progress_params, supports_task};
use crate::edge::capabilities::Announced;
use crate::edge::catalogue::Pages;
use crate::edge::params::{Meta, Params, invalid};
use crate::edge::results::reason;
use crate::jsonrpc::{ErrorObject, INTERNAL_ERROR, Members};
use crate::registry::chio_error;
use crate::servers::Member;
use crate::session::{Cancellation, Incoming, ProgressSink, Session};
use crate::upstream::Upstream;

use table::{Asking, Made, Status, TaskOutcome, Tasks};

/// How often it is looked for a server's id that is just being learnt.
const LEARNING: u32 = 50;

const STATUS: &str = "notifications/tasks/status";

/// The tasks of a session, and what runs them.
pub(super) struct TaskBook {
    tasks: Arc<Tasks>,
    /// Our ids by what the servers call the same tasks.
    theirs: Arc<Mutex<HashMap<(ServerId, String), String>>>,
    running: TaskTracker,
    pages: Pages<String>,
}

/// What a `tools/call` asks for when it asks for a task.
pub(super) struct TaskAsked {
    ttl: Option<u64>,
}

impl TaskBook {
    pub(super) fn new(client: Session) -> Self {
        let tell = move |view: &Value| {
            // It names the task in its parameters, so it needs no related task beside.
            let _ = client.notify(STATUS, Some(&Json::from_value(view)), Route::Unrelated);
        };
        Self {
            tasks: Arc::new(Tasks::new(Box::new(tell))),
            theirs: Arc::default(),
            running: TaskTracker::new(),
            pages: Pages::new(),
        }
    }

    /// Cancels what runs; the answer waits until all of it has its receipt.
    pub(super) fn close(&self) -> impl Future<Output = ()> + use<> {
        self.tasks.close();
        self.running.close();
        let running = self.running.clone();
        async move { running.wait().await }
    }

    /// Where something belongs that a task says.
    pub(super) fn route(&self, task: &str) -> Route {
        self.tasks.route(task)
    }

    /// A task waits for the client as long as the answer lives.
    pub(super) fn asking(&self, task: &str) -> Option<Asking> {
        self.tasks.asking(task)
    }

    /// The only running task that is with a server.
    pub(super) fn only_one_with(&self, server: &ServerId) -> Option<String> {
        self.tasks.only_one_with(server)
    }

    /// Our id for the task that a server's related-task object names.
    pub(super) fn ours(&self, server: &ServerId, related: &str) -> Option<String> {
        let theirs = Members::parse(related).ok()?.string("taskId")?;
        let known = self.theirs.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(server.clone(), theirs)).cloned()
    }

    /// The same for a request of the server, which may overtake whoever is learning the server's id for the task.
    pub(super) async fn learnt(&self, server: &ServerId, related: &str) -> Option<String> {
        let mut left = LEARNING;
        loop {
            let ours = self.ours(server, related);
            if ours.is_some() || left == 0 || !self.tasks.has_running(server) {
                return ours;
            }
            left -= 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes note of what a server calls a task of ours, whenever it tells its state.
    fn learn(&self, server: &ServerId, task: &str) -> ProgressSink {
        let (known, server, task) = (Arc::clone(&self.theirs), server.clone(), task.to_owned());
        Arc::new(move |state: &Json| {
            let theirs = Members::parse(state.get()).ok().and_then(|state| state.string("taskId"));
            if let Some(theirs) = theirs {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.entry((server.clone(), theirs)).or_insert_with(|| task.clone());
            }
        })
    }

    fn end(&self, task: &str, status: Status, message: Option<String>, outcome: TaskOutcome) {
        self.tasks.end(task, status, message, outcome);
        self.theirs.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, ours| ours != task);
    }
}

impl Edge {
    /// Whether a `tools/call` asks for a task. A client that was not told of tasks is answered plainly, as MCP has
    /// it.
    pub(super) fn task_asked(&self, params: &Params<'_>) -> Result<Option<TaskAsked>, ErrorObject> {
        let announced = self.introduced.get().is_some_and(|introduced| introduced.announced.has("tasks"));
        if params.members.get("task").is_none() || !announced {
            return Ok(None);
        }
        let task = params.object("task")?;
        let task = Members::parse(task.get()).map_err(|error| invalid(&format!("`task`: {error}")))?;
        let ttl = match task.get("ttl") {
            None | Some("null") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                invalid("`task.ttl` must be a number of milliseconds, without fraction or sign")
            })?),
        };
        Ok(Some(TaskAsked { ttl }))
    }

    /// Makes a call that outlives its request.
    pub(super) fn begin_task(
        &self,
        request: &Incoming,
        member: &Member,
        target: Target,
        arguments: Json,
        meta: Meta,
        asked: &TaskAsked,
    ) -> Result<Json, ErrorObject> {
        let edge = self.handle()?;
        let Made { id, cancelled, view } = self
            .tasks
            .tasks
            .create(random_id()?, member.id(), asked.ttl)
            .map_err(|full| chio_error(ErrorCode::KernelBusy, Some(&full.to_string()), None))?;
        let (request_id, server) = (request.id.json().to_owned(), member.id().clone());
        let work = self.client.begin_work();
        self.tasks.running.spawn(async move {
            let _work = work;
            let run = {
                let (edge, id) = (Arc::clone(&edge), id.clone());
                let call = TaskRun { request_id, server, target, arguments, meta, cancelled };
                // A task of its own, so that a panic becomes an end.
                tokio::spawn(async move { edge.run_task(&id, call).await })
            };
            let (status, message, outcome) = run.await.unwrap_or_else(|_| {
                let text = "an internal fault; the log on this side has more";
                (Status::Failed, Some(text.to_owned()), Err(ErrorObject::new(INTERNAL_ERROR, text)))
            });
            edge.tasks.end(&id, status, message, outcome);
        });
        Ok(Json::from_value(&json!({"task": view})))
    }

    async fn run_task(&self, id: &str, run: TaskRun) -> (Status, Option<String>, TaskOutcome) {
        let TaskRun { request_id, server, target, arguments, meta, cancelled } = run;
        let failed = |error: ErrorObject| (Status::Failed, Some(error.message.clone()), Err(error));
        let Some(member) = self.settings.servers.get(&server) else {
            return failed(invalid("there is no such server"));
        };
        let upstream = self.reach(member, cancelled.token()).await;
        let following = self.task_following(id, member, upstream.as_ref().ok(), &target, &meta).await;
        let call = Call {
            request_id,
            member,
            upstream,
            target,
            arguments,
            meta,
            following,
            patience: Patience::Task,
            cancel: cancelled.token().clone(),
        };
        match self.govern(call).await {
            Err(error) => failed(error),
            Ok(called) => ended(&called, id),
        }
    }

    /// How the call is made, and what becomes of its progress.
    async fn task_following(
        &self,
        id: &str,
        member: &Member,
        upstream: Option<&Arc<Upstream>>,
        target: &Target,
        meta: &Meta,
    ) -> Following {
        let progress = meta.progress_token.clone().map(|token| self.task_progress(id, token));
        let is_task = match (target, upstream) {
            (Target::Tool(name), Some(upstream)) => is_task_of(upstream, name.as_str()).await,
            _ => false,
        };
        let task = is_task.then(|| TaskCall {
            ttl: self.settings.kernel.policy().task_timeout(),
            status: Some(self.tasks.learn(member.id(), id)),
        });
        Following { progress, task }
    }

    fn task_progress(&self, id: &str, token: String) -> ProgressSink {
        let (client, tasks, id) = (self.client.clone(), Arc::clone(&self.tasks.tasks), id.to_owned());
        Arc::new(move |progress: &Json| {
            if let Some(params) = progress_params(progress, &token, Some(&id)) {
                let _ = client.notify("notifications/progress", Some(&params), tasks.route(&id));
            }
        })
    }

    pub(super) fn get_task(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let id = Params::of(request)?.string("taskId")?;
        self.tasks.tasks.view(&id).map(|view| Json::from_value(&view)).ok_or_else(unknown_task)
    }

    pub(super) fn list_tasks(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let tasks = &self.tasks.tasks;
        let page = match Params::of(request)?.cursor()? {
            None => self.tasks.pages.first(tasks.ids(), |id| tasks.knows(id)),
            Some(cursor) => {
                let page = self.tasks.pages.at(&cursor, |id| tasks.knows(id));
                page.ok_or_else(|| invalid("there is no such cursor; ask for the first page again"))?
            }
        };
        let views: Vec<Value> = page.entries.iter().filter_map(|id| tasks.view(id)).collect();
        let mut result = json!({"tasks": views});
        if let (Some(next), Some(result)) = (page.next, result.as_object_mut()) {
            result.insert("nextCursor".to_owned(), next.into());
        }
        Ok(Json::from_value(&result))
    }

    /// Waits for the end of a task and answers what its call would have answered.
    pub(super) async fn task_result(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let id = Params::of(request)?.string("taskId")?;
        let outcome = tokio::select! {
            outcome = self.tasks.tasks.outcome(&id, &request.id) => outcome,
            () = request.cancelled.fired() => {
                return Err(chio_error(ErrorCode::CallCancelled, None, None));
            }
        };
        outcome.map_or_else(|| Err(unknown_task()), |outcome| outcome.as_ref().clone())
    }

    /// Cancels a task and answers its state, once the receipt says so too. A task that ended first was not
    /// cancelled.
    pub(super) async fn cancel_task(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let id = Params::of(request)?.string("taskId")?;
        let tasks = &self.tasks.tasks;
        let ended = |status: &str| invalid(&format!("the task cannot be cancelled: it is {status} already"));
        let status = tasks.cancel(&id, "tasks/cancel").ok_or_else(unknown_task)?;
        if status.is_final() {
            return Err(ended(status.as_str()));
        }
        tasks.over(&id).await;
        let view = tasks.view(&id).ok_or_else(unknown_task)?;
        match view.get("status").and_then(Value::as_str) {
            Some("cancelled") => Ok(Json::from_value(&view)),
            status => Err(ended(status.unwrap_or_default())),
        }
    }
}

/// What a task has to do.
struct TaskRun {
    request_id: String,
    server: ServerId,
    target: Target,
    arguments: Json,
    meta: Meta,
    cancelled: Cancellation,
}

/// How a task ended, and what `tasks/result` answers.
fn ended(called: &Called, id: &str) -> (Status, Option<String>, TaskOutcome) {
    let outcome = called.tool_answer(Some(id));
    let status = match (&called.outcome.decision, &outcome) {
        (Decision::Cancelled(_), _) => Status::Cancelled,
        (_, Ok(result)) if !is_error(result) => Status::Completed,
        _ => Status::Failed,
    };
    let message = match (&called.outcome.decision, &outcome) {
        (_, Err(error)) => Some(error.message.clone()),
        (Decision::Allow, Ok(_)) => None,
        _ => Some(reason(&called.outcome)),
    };
    (status, message, outcome)
}

fn is_error(result: &Json) -> bool {
    Members::parse(result.get()).is_ok_and(|result| result.get("isError") == Some("true"))
}

/// Whether a call of the tool as a task can be one of the server's own.
async fn is_task_of(upstream: &Upstream, tool: &str) -> bool {
    let announced = upstream.initialized().is_some_and(|initialized| {
        let owner = crate::servers::Owner::Session;
        Announced::of_server(&initialized.result, owner).is_ok_and(|announced| announced.has("tasks"))
    });
    if !announced {
        return false;
    }
    let Ok(list) = upstream.tools().await else { return false };
    list.get(tool).is_some_and(|tool| supports_task(&tool.definition))
}

/// The same for a task of another session, an expired one and one that never was.
fn unknown_task() -> ErrorObject {
    invalid("failed to retrieve task: task not found")
}

/// 128 random bits.
fn random_id() -> Result<String, ErrorObject> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| chio_error(ErrorCode::InternalError, Some(&error.to_string()), None))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
