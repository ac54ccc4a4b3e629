//! Open files: each connection is one, and each server that runs as a process is some.
//!
//! Many systems let a process have 1024 unless it asks for more. An edge that runs out of them cannot open its
//! receipts and start its servers either, so it asks for what its limits need, and where that is not to be had it takes
//! fewer connections. It asks for no more than that, because servers inherit the limit and some programs are slow, or
//! break, with a very high one.

use chio_config::McpLimits;

/// The pipes of a server that runs as a process, and what its start needs beside them for a moment.
const PER_PROCESS: u64 = 4;

/// The store, the log, keys, name lookups, and connections to servers and issuers.
const OTHERS: u64 = 256;

/// The connections that can be served; a warning says so when they are fewer than the limits allow.
pub(super) fn connections(limits: &McpLimits) -> u64 {
    let others = limits.processes.saturating_mul(PER_PROCESS).saturating_add(OTHERS);
    let Some(possible) = system::raise(limits.connections.saturating_add(others)) else {
        return limits.connections;
    };
    let fitting = fitting(limits.connections, others, possible);
    if fitting < limits.connections {
        tracing::warn!(
            "this process may have {possible} open files, so {fitting} connections are served at a time instead of {}; \
             raise its hard limit (ulimit -Hn, LimitNOFILE of systemd), or lower `mcp.limits.connections`",
            limits.connections
        );
    }
    fitting
}

/// As many of the wanted connections as fit beside the others. A quarter of the files is theirs in any case: too few are
/// better than none, and not everything else is open at the same time.
fn fitting(wanted: u64, others: u64, possible: u64) -> u64 {
    wanted.min(possible.saturating_sub(others).max(possible / 4)).max(1)
}

#[cfg(unix)]
mod system {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// Lets this process have so many open files, or as many as it may, and answers how many; `None` where nothing
    /// limits them.
    pub(super) fn raise(wanted: u64) -> Option<u64> {
        let limit = getrlimit(Resource::Nofile);
        let current = limit.current?;
        let reachable = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
        if reachable <= current {
            return Some(current);
        }
        let raised = Rlimit { current: Some(reachable), maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => Some(reachable),
            // Some systems have a bound below the hard limit that they do not tell.
            Err(_) => Some(current),
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// Nothing limits them.
    pub(super) fn raise(_: u64) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn connections_leave_room_for_everything_else() {
        for (wanted, possible, expected) in [
            (10_000, 20_000, 10_000),
            (10_000, 10_768, 10_000),
            (10_000, 10_000, 9_232),
            (10_000, 1024, 256),
            (100, 1024, 100),
            (10_000, 256, 64),
            (10_000, 0, 1),
        ] {
            assert_eq!(fitting(wanted, 768, possible), expected, "{wanted} {possible}");
        }
    }
}
