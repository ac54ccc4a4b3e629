//! Which processes descend from us.

use std::collections::{HashMap, VecDeque};

use rustix::process::Pid;

/// Every living descendant of this process, ourselves and zombies excluded.
///
/// On Linux this reads `/proc`, where a subreaper finds everything that it or its children ever
/// started: an orphan's parent becomes the subreaper, whatever session or group it moved to. Elsewhere
/// nothing is known and the list is empty.
pub(super) fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    for stat in processes() {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut queue = VecDeque::from([rustix::process::getpid().as_raw_nonzero().get()]);
    while let Some(parent) = queue.pop_front() {
        // Removing as we go makes this end even if pids were reused between two reads.
        for stat in children.remove(&parent).unwrap_or_default() {
            queue.push_back(stat.pid);
            if !stat.zombie {
                found.extend(Pid::from_raw(stat.pid));
            }
        }
    }
    found
}

#[derive(Debug, PartialEq)]
struct Stat {
    pid: i32,
    parent: i32,
    zombie: bool,
}

fn processes() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| parse(&std::fs::read(entry.path().join("stat")).ok()?))
        .collect()
}

/// `/proc/PID/stat` is `pid (comm) state ppid …`, where comm may hold anything, closing parentheses too.
fn parse(stat: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(stat);
    let (pid, _) = text.split_once(' ')?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { pid: pid.parse().ok()?, parent, zombie: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_command_name_may_hold_anything() {
        let stat = parse(b"42 (a) R 1 (evil) S 7 42 42 0 -1").unwrap();
        assert_eq!(stat, Stat { pid: 42, parent: 7, zombie: false });
        assert!(parse(b"43 (x) Z 7 1").unwrap().zombie);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 (x"), None);
        assert_eq!(parse(b"1 (x) S"), None);
    }
}
