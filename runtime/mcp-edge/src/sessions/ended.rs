//! What is remembered of sessions that are over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use chio_policy::Identity;

use super::State;

/// How many are remembered.
const MOST: usize = 1000;

/// A session that is over.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) id: Arc<str>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) state: State,
    pub(crate) created_at: SystemTime,
    pub(crate) ended_at: SystemTime,
}

/// The newest sessions that are over, and how many there ever were.
#[derive(Debug, Default)]
pub(super) struct EndedRing {
    newest: VecDeque<Ended>,
    deleted: u64,
    expired: u64,
    closed: u64,
}

impl EndedRing {
    pub(super) fn push(&mut self, ended: Ended) {
        match ended.state {
            State::Deleted => self.deleted += 1,
            State::Expired => self.expired += 1,
            _ => self.closed += 1,
        }
        if self.newest.len() >= MOST {
            self.newest.pop_front();
        }
        self.newest.push_back(ended);
    }

    pub(super) fn newest(&self, limit: usize) -> Vec<Ended> {
        self.newest.iter().rev().take(limit).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }

    pub(super) fn state_of(&self, id: &str) -> Option<State> {
        self.newest.iter().rev().find(|ended| &*ended.id == id).map(|ended| ended.state)
    }

    /// How many ended in this state since the start.
    pub(super) fn count(&self, state: State) -> u64 {
        match state {
            State::Deleted => self.deleted,
            State::Expired => self.expired,
            State::Closed => self.closed,
            _ => 0,
        }
    }
}
