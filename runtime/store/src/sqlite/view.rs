//! Revocations and stops in memory, so that the kernel can ask without touching the disk.
//!
//! The view follows the database: the writer brings it up to date inside every transaction that finds it behind, and a
//! watcher thread does so for a process that only listens. Revocations are never undone, so a hit here is final; a miss
//! may be a moment old, which is why an admission looks again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::Connection;
use tokio::sync::broadcast;

use super::state::StateRow;
use crate::error::StoreError;
use crate::log::{Revocation, Stops};

/// A receiver further behind than this is told so and has to ask again.
const BROADCAST: usize = 1_024;

#[derive(Debug)]
pub(super) struct View {
    inner: RwLock<Inner>,
    /// Held while bringing the view up to date, so that nothing is announced twice.
    refreshing: Mutex<()>,
    announce: broadcast::Sender<Revocation>,
}

#[derive(Debug, Default)]
struct Inner {
    control: u64,
    last_seq: u64,
    revoked: HashSet<String>,
    stops: Arc<Stops>,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            inner: RwLock::default(),
            refreshing: Mutex::default(),
            announce: broadcast::Sender::new(BROADCAST),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.announce.subscribe()
    }

    pub(super) fn is_revoked(&self, id: &str) -> bool {
        self.read(|inner| inner.revoked.contains(id))
    }

    pub(super) fn stops(&self) -> Arc<Stops> {
        self.read(|inner| Arc::clone(&inner.stops))
    }

    /// Takes over everything committed up to `row` that is not known yet.
    pub(super) fn refresh(&self, connection: &Connection, row: &StateRow) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let (control, last_seq) = self.read(|inner| (inner.control, inner.last_seq));
        if control >= row.control {
            return Ok(());
        }
        let fresh = revocations_after(connection, last_seq)?;
        let stops = Arc::new(read_stops(connection)?);
        {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            inner.control = row.control;
            inner.stops = stops;
            for (seq, revocation) in &fresh {
                inner.last_seq = *seq;
                inner.revoked.insert(revocation.capability_id.clone());
            }
        }
        for (_, revocation) in fresh {
            // Nobody listening is fine.
            drop(self.announce.send(revocation));
        }
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn revocations_after(connection: &Connection, seq: u64) -> Result<Vec<(u64, Revocation)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, capability_id, reason, revoked_at FROM revocations WHERE seq > ?1 ORDER BY seq",
    )?;
    let rows = statement.query_map([seq], |row| {
        Ok((
            row.get(0)?,
            Revocation { capability_id: row.get(1)?, reason: row.get(2)?, revoked_at: row.get(3)? },
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_stops(connection: &Connection) -> Result<Stops, StoreError> {
    let mut stops = Stops::default();
    let mut statement = connection.prepare_cached("SELECT agent, stopped_at FROM stops")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match row.get(0)? {
            Some(agent) => drop(stops.agents.insert(agent, row.get(1)?)),
            None => stops.everything = Some(row.get(1)?),
        }
    }
    Ok(stops)
}
