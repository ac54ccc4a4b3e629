//! The process behind an upstream.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::error::McpError;
use crate::process::{Exit, ProcessHandle, ServerCommand};
use crate::stdio::Pumps;

/// How long to wait for the exit status of a server whose output has ended.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that we started, with the tasks that move its bytes.
pub(super) struct Wrapped {
    program: String,
    // Held only while the process is awaited, so that a second caller waits for the same end.
    handle: Mutex<(ProcessHandle, Option<Exit>)>,
    pumps: StdMutex<Option<Pumps>>,
}

impl Wrapped {
    pub(super) fn new(command: &ServerCommand, handle: ProcessHandle, pumps: Pumps) -> Self {
        Self {
            program: command.program().to_string_lossy().into_owned(),
            handle: Mutex::new((handle, None)),
            pumps: StdMutex::new(Some(pumps)),
        }
    }

    /// Closes the server's input, so that it can exit by itself, and ends what is left.
    pub(super) async fn stop(&self) -> Exit {
        if let Some(pumps) = self.pumps.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            pumps.close_output();
        }
        let mut handle = self.handle.lock().await;
        let exit = match &handle.1 {
            Some(exit) => exit.clone(),
            None => handle.0.stop().await,
        };
        handle.1 = Some(exit.clone());
        // Only now, for the reading end of its output is the server's lifeline.
        drop(self.pumps.lock().unwrap_or_else(PoisonError::into_inner).take());
        exit
    }

    /// How a server ended that did not live to be initialized.
    pub(super) async fn why_ended(&self) -> McpError {
        let mut handle = self.handle.lock().await;
        let exit = match &handle.1 {
            Some(exit) => Some(exit.clone()),
            None => tokio::time::timeout(STATUS_TIMEOUT, handle.0.wait()).await.ok(),
        };
        handle.1.clone_from(&exit);
        match exit {
            Some(Exit::NeverRan) => McpError::NotStarted {
                command: self.program.clone(),
                source: Arc::new(std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "the program does not exist or cannot be executed",
                )),
            },
            Some(Exit::Status(status)) => {
                McpError::NotInitialized { reason: format!("it exited with status {status}") }
            }
            Some(Exit::Unknown) => McpError::NotInitialized { reason: "it was killed".to_owned() },
            None => McpError::NotInitialized { reason: "it closed its output".to_owned() },
        }
    }
}
