//! How many failures one peer may cause before it has to wait. The secrets here cannot be guessed anyway; the limit keeps a
//! broken or hostile client from turning the edge into its signature oven.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::Extensions;

use crate::router::{self, Peer};

/// Length of a window, in seconds.
const WINDOW: u64 = 60;
/// Most peers that are told apart; the others share one count.
const MOST_PEERS: usize = 1024;

/// Counts failures by peer.
pub(super) struct Pace {
    /// Failures of one peer within one window.
    most: u32,
    windows: Mutex<HashMap<Option<IpAddr>, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    start: u64,
    failures: u32,
}

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { most, windows: Mutex::default() }
    }

    /// Seconds that this peer has to wait, if it has to.
    pub(super) fn wait(&self, peer: Option<IpAddr>, now: u64) -> Option<u64> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = || windows.get(&None).filter(|_| windows.len() >= MOST_PEERS);
        let window = windows.get(&network(peer)).or_else(shared)?;
        let end = window.start + WINDOW;
        (window.failures >= self.most && now < end).then(|| end - now)
    }

    /// Notes a failure.
    pub(super) fn failed(&self, peer: Option<IpAddr>, now: u64) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut peer = network(peer);
        if !windows.contains_key(&peer) && windows.len() >= MOST_PEERS {
            windows.retain(|_, window| now < window.start + WINDOW);
            if windows.len() >= MOST_PEERS {
                peer = None;
            }
        }
        let window = windows.entry(peer).or_insert(Window { start: now, failures: 0 });
        if now >= window.start + WINDOW {
            *window = Window { start: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
    }
}

/// Peers are counted by network, as everywhere.
fn network(peer: Option<IpAddr>) -> Option<IpAddr> {
    peer.map(router::network)
}

/// The address of a request's sender, where the edge that accepted it said so.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.0)
}
