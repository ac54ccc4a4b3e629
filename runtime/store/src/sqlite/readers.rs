//! The connections that only read. Each is used by one blocking task at a time and given back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::schema;
use crate::error::StoreError;

/// Connections kept open for the next reader. More are opened when more read at once, and closed afterwards.
const IDLE: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    dir: PathBuf,
    busy_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(dir: PathBuf, busy_timeout: Duration) -> Self {
        Self { dir, busy_timeout, idle: Mutex::default() }
    }

    /// Runs `look` on one snapshot, away from the async threads.
    pub(super) async fn read<T, F>(self: &Arc<Self>, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || readers.read_now(look)).await;
        looked
            .unwrap_or_else(|error| Err(StoreError::Poisoned { reason: format!("a reader failed: {error}") }))
    }

    /// The same on this thread.
    pub(super) fn read_now<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_for_reading(&self.dir, self.busy_timeout)?,
        };
        let seen = {
            let snapshot = connection.unchecked_transaction()?;
            look(&snapshot)?
        };
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(seen)
    }

    /// Closes the connections that nobody reads with.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
