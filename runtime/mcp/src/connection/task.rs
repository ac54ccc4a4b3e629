//! A tool call that the server runs as a task.
//!
//! The server answers at once with the task, and a second request waits for its result. Whoever gives the call
//! up ends the task too, also one whose making was not yet answered: what runs on at the server, runs for
//! somebody.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use chio_json::Json;

use crate::connection::relay::TaskCall;
use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::session::{ProgressSink, RequestOptions};
use crate::upstream::{REQUEST_TIMEOUT, Upstream};

/// The member of `_meta` that names the task a message belongs to.
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// How long a server may take to say which task it made, once nobody wants it any more.
const LATE_TASK: Duration = Duration::from_secs(30);

/// Calls a tool as a task and waits for its result. Dropping the future cancels the task.
pub(super) async fn call(
    upstream: &Arc<Upstream>,
    params: &Json,
    task: &TaskCall,
    progress: Option<ProgressSink>,
) -> Result<Json, McpError> {
    let abandoned = CancellationToken::new();
    let guard: DropGuard = abandoned.clone().drop_guard();
    let progress = progress.map(|sink| upstream.lasting_progress(sink));
    let mut members = Members::parse(params.get()).map_err(|error| invalid(&error))?;
    let ttl = u64::try_from(task.ttl.as_millis()).unwrap_or(u64::MAX);
    members.set("task", format!(r#"{{"ttl":{ttl}}}"#));
    if let Some(progress) = &progress {
        let meta = members.get("_meta").unwrap_or("{}").to_owned();
        let mut meta = Members::parse(&meta).map_err(|error| invalid(&error))?;
        meta.set("progressToken", progress.token().to_string());
        members.set("_meta", meta.to_text());
    }
    let params = members.to_json().map_err(|error| McpError::InvalidParams(error.to_string()))?;
    let (upstream, task) = (Arc::clone(upstream), task.clone());
    // A task of its own, which goes on to withdraw the server's when this future is dropped.
    let running = tokio::spawn(async move {
        let _progress = progress;
        run(&upstream, &params, &task, &abandoned).await
    });
    let result = running.await.unwrap_or(Err(McpError::Cancelled));
    guard.disarm();
    result
}

async fn run(
    upstream: &Arc<Upstream>,
    params: &Json,
    task: &TaskCall,
    abandoned: &CancellationToken,
) -> Result<Json, McpError> {
    let making = upstream.request("tools/call", Some(params), RequestOptions::default());
    tokio::pin!(making);
    let made = tokio::select! {
        made = &mut making => made?,
        () = abandoned.cancelled() => match tokio::time::timeout(LATE_TASK, making).await {
            Ok(made) => made?,
            Err(_) => return Err(McpError::Cancelled),
        },
    };
    let members = Members::parse(made.get())
        .map_err(|error| McpError::MalformedAnswer(format!("the task: {error}")))?;
    let Some(state) = members.get("task") else {
        // It did at once what it was asked.
        return Ok(made);
    };
    let id = Members::parse(state).ok().and_then(|state| state.string("taskId"));
    let id = id.ok_or_else(|| McpError::MalformedAnswer("the task has no `taskId`".to_owned()))?;
    let _watch = task.status.as_ref().map(|status| upstream.watch_task(&id, Arc::clone(status)));
    if let (Some(status), Ok(state)) = (&task.status, Json::from_text(state.to_owned())) {
        status(&state);
    }
    let named = Json::from_text(format!(r#"{{"taskId":{}}}"#, quote(&id)))
        .map_err(|error| McpError::InvalidParams(error.to_string()))?;
    tokio::select! {
        // In this order, so that a task that nobody wants is withdrawn before it is waited for.
        biased;
        () = abandoned.cancelled() => {
            let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
            if let Err(error) = upstream.request("tasks/cancel", Some(&named), options).await {
                tracing::debug!(%error, "the tool server did not cancel a task");
            }
            Err(McpError::Cancelled)
        }
        result = upstream.request("tasks/result", Some(&named), RequestOptions::default()) => {
            without_task(&result?)
        }
    }
}

/// The result without the server's name for its task, which means nothing to anybody else.
fn without_task(result: &Json) -> Result<Json, McpError> {
    let broken = |error: String| McpError::MalformedAnswer(format!("the result of the task: {error}"));
    let mut members = Members::parse(result.get()).map_err(|error| broken(error.to_string()))?;
    let Some(meta) = members.get("_meta").map(str::to_owned) else { return Ok(result.clone()) };
    // What is no object is somebody else's to judge.
    let Ok(mut meta) = Members::parse(&meta) else { return Ok(result.clone()) };
    meta.remove(RELATED_TASK);
    if meta.is_empty() {
        members.remove("_meta");
    } else {
        members.set("_meta", meta.to_text());
    }
    members.to_json().map_err(|error| broken(error.to_string()))
}

fn invalid(error: &serde_json::Error) -> McpError {
    McpError::InvalidParams(error.to_string())
}
