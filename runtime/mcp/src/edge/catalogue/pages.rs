//! Long lists in pages, and the cursors between them.
//!
//! A traversal reads one snapshot, so that nothing is skipped or listed twice when a server changes its
//! list meanwhile. What a caller may see is asked anew for every page, and the cursor counts entries of
//! the snapshot, seen or not: a cursor is a place and never a permission. Cursors of other sessions, of
//! other lists and of forgotten snapshots are refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Entries on one page: more than most servers have together, for there are clients that read no other page.
const PAGE: usize = 1000;

/// Bytes of entries on one page; a page holds at least one entry.
const PAGE_BYTES: usize = 1 << 20;

/// How much of a page an entry takes.
pub(in crate::edge) trait Sizable {
    /// Its bytes as it is listed.
    fn bytes(&self) -> usize;
}

impl Sizable for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// Traversals under way at a time, per session and list; starting another one ends the oldest.
const SNAPSHOTS: usize = 4;

/// One list of a session, as its client walks through it.
#[derive(Debug)]
pub(in crate::edge) struct Pages<T> {
    /// Random, so that the cursor of another session or list is not one of this.
    secret: u64,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    next: u64,
    snapshots: VecDeque<(u64, Arc<[T]>)>,
}

/// One page, and where the next one starts.
#[derive(Debug)]
pub(in crate::edge) struct Page<T> {
    pub(in crate::edge) entries: Vec<T>,
    pub(in crate::edge) next: Option<String>,
}

impl<T: Clone + Sizable> Pages<T> {
    pub(in crate::edge) fn new() -> Self {
        Self { secret: secret(), state: Mutex::new(State { next: 0, snapshots: VecDeque::new() }) }
    }

    /// The first page of a new snapshot.
    pub(in crate::edge) fn first(&self, entries: Arc<[T]>, keep: impl Fn(&T) -> bool) -> Page<T> {
        let (page, rest) = take(&entries, 0, keep);
        let Some(place) = rest else { return Page { entries: page, next: None } };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next += 1;
        let number = state.next;
        if state.snapshots.len() >= SNAPSHOTS {
            state.snapshots.pop_front();
        }
        state.snapshots.push_back((number, entries));
        Page { entries: page, next: Some(self.cursor(number, place)) }
    }

    /// The page at a cursor; none when it is not one of this list.
    pub(in crate::edge) fn at(&self, cursor: &str, keep: impl Fn(&T) -> bool) -> Option<Page<T>> {
        let mut parts = cursor.split('-');
        let secret = u64::from_str_radix(parts.next()?, 16).ok()?;
        let number: u64 = parts.next()?.parse().ok()?;
        let place: usize = parts.next()?.parse().ok()?;
        if secret != self.secret || parts.next().is_some() {
            return None;
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, entries) = state.snapshots.iter().find(|(known, _)| *known == number)?;
        let (page, rest) = take(entries, place, keep);
        Some(Page { entries: page, next: rest.map(|place| self.cursor(number, place)) })
    }

    fn cursor(&self, snapshot: u64, place: usize) -> String {
        format!("{:016x}-{snapshot}-{place}", self.secret)
    }
}

/// Up to a page of the entries that pass, from a place on, and the place of the next one that does.
fn take<T: Clone + Sizable>(
    entries: &[T],
    from: usize,
    keep: impl Fn(&T) -> bool,
) -> (Vec<T>, Option<usize>) {
    let mut page = Vec::new();
    let mut bytes = 0;
    for (place, entry) in entries.iter().enumerate().skip(from).filter(|(_, entry)| keep(entry)) {
        bytes += entry.bytes();
        if page.len() == PAGE || (bytes > PAGE_BYTES && !page.is_empty()) {
            return (page, Some(place));
        }
        page.push(entry.clone());
    }
    (page, None)
}

fn secret() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    impl Sizable for u32 {
        fn bytes(&self) -> usize {
            4
        }
    }

    #[test]
    fn a_page_ends_by_bytes_too() {
        let pages = Pages::new();
        let large = || "x".repeat(PAGE_BYTES / 2);
        let first = pages.first((0..3).map(|_| large()).collect(), |_| true);
        assert_eq!(first.entries.len(), 2);
        assert_eq!(pages.at(&first.next.unwrap(), |_| true).unwrap().entries.len(), 1);
        let huge = pages.first([large() + &large() + "x", large()].into_iter().collect(), |_| true);
        assert_eq!(huge.entries.len(), 1);
    }

    #[test]
    fn a_traversal_reads_one_snapshot_and_only_what_passes() {
        let pages = Pages::new();
        let even = |n: &u32| n.is_multiple_of(2);
        let first = pages.first((0..6000).collect(), even);
        assert_eq!(first.entries, (0..2000).step_by(2).collect::<Vec<_>>());
        let second = pages.at(first.next.as_deref().unwrap(), even).unwrap();
        assert_eq!(second.entries, (2000..4000).step_by(2).collect::<Vec<_>>());
        // Another traversal does not disturb it, and what may be seen is asked for each page.
        pages.first((10_000..20_000).collect(), even);
        let third = pages.at(second.next.as_deref().unwrap(), |n| *n == 5999).unwrap();
        assert_eq!((third.entries, third.next), (vec![5999], None));
        assert!(pages.first((0..1000).collect(), |_: &u32| true).next.is_none());
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let pages = Pages::new();
        let cursor = pages.first((0..1001).collect(), |_: &u32| true).next.unwrap();
        assert!(Pages::<u32>::new().at(&cursor, |_| true).is_none());
        let beyond = format!("{cursor}9999");
        assert!(pages.at(&beyond, |_| true).unwrap().entries.is_empty());
        for bad in ["", "x", "0-1-2", "-", &format!("{cursor}-1"), &cursor.replace("-1-", "-7-")] {
            assert!(pages.at(bad, |_| true).is_none(), "{bad}");
        }
        // Only so many are remembered.
        for _ in 0..SNAPSHOTS {
            pages.first((0..1001).collect(), |_: &u32| true);
        }
        assert!(pages.at(&cursor, |_| true).is_none());
    }
}
