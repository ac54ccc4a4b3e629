//! The tasks of a server whose state somebody here follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chio_json::Json;

use crate::jsonrpc::Members;
use crate::session::ProgressSink;

/// Who follows which task, by the server's id of it.
#[derive(Clone, Default)]
pub(super) struct Watched {
    sinks: Arc<Mutex<HashMap<String, ProgressSink>>>,
}

/// Somebody follows a task until this is dropped.
pub(crate) struct TaskWatch {
    watched: Watched,
    task: String,
}

impl Watched {
    pub(super) fn watch(&self, task: &str, sink: ProgressSink) -> TaskWatch {
        self.lock().insert(task.to_owned(), sink);
        TaskWatch { watched: self.clone(), task: task.to_owned() }
    }

    /// Hands on the parameters of a `notifications/tasks/status`. Answers whether anybody follows the task.
    pub(super) fn tell(&self, params: Option<&Json>) -> bool {
        let Some(params) = params else { return false };
        let task = Members::parse(params.get()).ok().and_then(|members| members.string("taskId"));
        let sink = task.and_then(|task| self.lock().get(&task).cloned());
        sink.is_some_and(|sink| {
            sink(params);
            true
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ProgressSink>> {
        // Every critical section is one operation of the map.
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        self.watched.lock().remove(&self.task);
    }
}
