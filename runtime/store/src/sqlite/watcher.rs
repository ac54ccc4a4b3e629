//! The thread that notices what other processes revoke and stop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Shared;
use super::readers::Readers;
use super::state::StateRow;
use crate::error::StoreError;

/// Ends the thread when dropped.
pub(super) struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(
        shared: Arc<Shared>,
        readers: Arc<Readers>,
        interval: Duration,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("chio-store-watcher".to_owned())
            .spawn(move || watch(&shared, &readers, interval, &stopped))
            .map_err(|error| StoreError::Unavailable {
                reason: format!("the watcher thread could not be started: {error}"),
                hint: "allow this user more threads",
            })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has no result; a panic in it was reported by its own hook.
            drop(thread.join());
        }
    }
}

fn watch(shared: &Shared, readers: &Readers, interval: Duration, stopped: &Receiver<()>) {
    let mut reported = false;
    while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let seen =
            readers.read_now(|connection| shared.view.refresh(connection, &StateRow::read(connection)?));
        match seen {
            Ok(()) => reported = false,
            // Admissions look for themselves, so nothing unsafe happens meanwhile. One line is enough.
            Err(error) if !reported => {
                tracing::warn!(%error, "revocations made by other processes cannot be read");
                reported = true;
            }
            Err(_) => {}
        }
    }
}
