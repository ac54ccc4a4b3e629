//! What an edge takes of the memory: idle, and for every session that a client holds open without using it.

use std::path::Path;
use std::time::Duration;

use crate::http::Connection;
use crate::paths::{self, Route, Upstream};
use crate::session::Session;

/// Sessions before the first look, so that what the first ones bring with them is not counted as theirs.
const FIRST: usize = 100;

/// Sessions between two looks.
const MORE: u32 = 1_000;

/// Memory of an edge, in KiB.
pub(crate) struct Memory {
    /// Started, asked once, idle.
    pub(crate) idle: u64,
    /// For each session.
    pub(crate) session: f64,
    /// For each session with an open stream for notifications, on a connection of its own.
    pub(crate) streaming: f64,
}

/// Opens sessions before edges of their own, whose sessions share one server: what is measured is the edge.
pub(crate) fn measure(upstream: &Upstream, folder: &Path) -> Memory {
    let route = paths::shared_edge(upstream, folder);
    let idle = settled(&route);
    let mut connection = Connection::open(route.endpoint.address).expect("a connection");
    let open = |connection: &mut Connection| {
        Session::open(&route.endpoint, connection).unwrap_or_else(|error| panic!("a session: {error}"))
    };
    for _ in 0..FIRST {
        open(&mut connection);
    }
    let before = settled(&route);
    let sessions: Vec<Session> = (0..MORE).map(|_| open(&mut connection)).collect();
    let after = settled(&route);

    let streams: Vec<Connection> = sessions
        .iter()
        .map(|session| {
            let mut connection = Connection::open(route.endpoint.address).expect("a connection");
            let status = connection.open_stream(&session.head("GET")).expect("a stream");
            assert_eq!(status, 200, "a stream was refused");
            connection
        })
        .collect();
    let with_streams = settled(&route);
    drop(streams);
    let slope = |to: u64| {
        f64::from(u32::try_from(to.saturating_sub(before)).expect("an amount of memory")) / f64::from(MORE)
    };
    Memory { idle, session: slope(after), streaming: slope(with_streams) }
}

/// The memory of an edge that has had a moment to do what remained.
fn settled(route: &Route) -> u64 {
    std::thread::sleep(Duration::from_secs(1));
    route.program.resident()
}
