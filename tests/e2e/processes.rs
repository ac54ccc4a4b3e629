//! Processes and everything that they started, told by a mark in their environment, which all of them inherit.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// The variable that carries the mark.
pub const MARK: &str = "E2E_MARK";

/// The processes that carry the mark and are not dead yet. A zombie has ended; only its parent has not looked.
pub fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What cannot be read has just ended, or belongs to somebody else.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
            && !is_zombie(&entry.path())
        {
            found.push(pid);
        }
    }
    found
}

fn is_zombie(process: &Path) -> bool {
    // After the name, which stands in parentheses and may hold anything, comes the state.
    std::fs::read_to_string(process.join("stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['Z', 'X'])))
        .unwrap_or(true)
}

/// Waits until no process carries the mark.
pub fn all_gone(mark: &str) {
    eventually(&format!("processes marked {mark} are gone"), Duration::from_secs(20), || {
        marked(mark).is_empty()
    });
}

/// Kills one process, without a chance to clean up.
pub fn kill_9(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

/// Waits until `condition` holds; a test that waits for what never comes fails.
pub fn eventually(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
