//! What holds whatever happens in which order.

use std::collections::{BTreeMap, BTreeSet};

use chio_mcp::jsonrpc::Id;
use proptest::prelude::*;

use super::super::log::{Bounds, Connection, NotOpened, OutOfWindow};
use super::{BOUNDS, Bench};

#[derive(Clone, Debug)]
enum Step {
    Open(u64),
    Tell(u64),
    Answer(u64),
    Broadcast,
    Read(u64),
    Break(u64),
    Resume(u64, usize),
    Listen,
    ReadListener,
    BreakListener,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u64..6;
    prop_oneof![
        3 => id.clone().prop_map(Step::Open),
        4 => id.clone().prop_map(Step::Tell),
        2 => id.clone().prop_map(Step::Answer),
        3 => Just(Step::Broadcast),
        4 => id.clone().prop_map(Step::Read),
        2 => id.clone().prop_map(Step::Break),
        3 => (id, 0_usize..8).prop_map(|(id, back)| Step::Resume(id, back)),
        1 => Just(Step::Listen),
        2 => Just(Step::ReadListener),
        1 => Just(Step::BreakListener),
    ]
}

/// What a client knows of one of its requests.
#[derive(Default)]
struct Known {
    connection: Option<Connection>,
    seen: Vec<u64>,
    got: BTreeSet<String>,
    answered: bool,
    has_answer: bool,
    told_nothing_and_left: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever breaks whenever: no message reaches a stream that is not its own, numbers rise on every stream, an
    /// answer whose request can be named is always there, and a request in flight is never refused.
    #[test]
    fn nothing_crosses_and_no_answer_is_lost(steps in prop::collection::vec(step(), 1..200)) {
        let bounds = Bounds { backlog_events: 1000, backlog_bytes: 32 * 1024, buffered_bytes: 1024 * 1024, ..BOUNDS };
        let mut bench = Bench::new(bounds);
        let mut known: BTreeMap<u64, Known> = BTreeMap::new();
        let mut listener: Option<Connection> = None;
        let mut listened = Vec::new();
        let mut owner: BTreeMap<u64, u64> = BTreeMap::new();
        let mut serial = 0;
        for step in steps {
            match step {
                Step::Open(id) => {
                    let in_flight = known.get(&id).is_some_and(|known| !known.answered);
                    let opened = bench.log.open(&Id::number(id), true, None);
                    if in_flight {
                        prop_assert_eq!(opened.unwrap_err(), NotOpened::InUse);
                    } else {
                        known.insert(id, Known { connection: Some(opened.unwrap()), ..Known::default() });
                    }
                }
                Step::Tell(id) => {
                    serial += 1;
                    bench.tell(id, &format!("of-{id}/{serial}"));
                }
                Step::Answer(id) => {
                    if let Some(known) = known.get_mut(&id).filter(|known| !known.answered) {
                        known.answered = true;
                        bench.answer(id);
                    }
                }
                Step::Broadcast => {
                    serial += 1;
                    bench.broadcast(&format!("all/{serial}"));
                }
                Step::Read(id) => {
                    let Some(known) = known.get_mut(&id) else { continue };
                    let Some(mut connection) = known.connection.take() else { continue };
                    let (events, ended) = bench.drain(&mut connection);
                    for (sequence, data) in &events {
                        prop_assert!(known.seen.last().is_none_or(|last| last < sequence) || known.seen.contains(sequence));
                        prop_assert_eq!(*owner.entry(*sequence).or_insert(id), id, "an event changed its stream");
                        prop_assert!(
                            data.is_empty() || data.contains(&format!("of-{id}/")) || data.contains(&format!("\"id\":{id},")),
                            "{} on the stream of {}", data, id
                        );
                        known.has_answer |= data.contains("\"result\"");
                        known.got.insert(data.clone());
                        if !known.seen.contains(sequence) {
                            known.seen.push(*sequence);
                        }
                    }
                    prop_assert_eq!(ended, known.answered);
                    if ended {
                        bench.log.leave(&connection);
                        prop_assert!(known.has_answer, "the stream ended without its answer");
                    } else {
                        known.connection = Some(connection);
                    }
                }
                Step::Break(id) => {
                    let Some(known) = known.get_mut(&id) else { continue };
                    if let Some(connection) = known.connection.take() {
                        known.told_nothing_and_left |= known.seen.is_empty();
                        bench.log.leave(&connection);
                    }
                }
                Step::Resume(id, back) => {
                    let Some(known) = known.get_mut(&id) else { continue };
                    if known.seen.is_empty() {
                        continue;
                    }
                    let at = known.seen.len().saturating_sub(1 + back);
                    match bench.log.resume(known.seen[at]) {
                        Ok(connection) => {
                            known.seen.truncate(at + 1);
                            if let Some(old) = known.connection.replace(connection) {
                                bench.log.leave(&old);
                            }
                        }
                        Err(OutOfWindow) => {
                            prop_assert!(known.answered && known.has_answer, "refused although the answer is undelivered");
                        }
                    }
                }
                Step::Listen => match bench.log.listen(true) {
                    Ok(connection) => {
                        prop_assert!(listener.is_none());
                        listener = Some(connection);
                    }
                    Err(_) => prop_assert!(listener.is_some()),
                },
                Step::ReadListener => {
                    if let Some(connection) = &mut listener {
                        let (events, ended) = bench.drain(connection);
                        prop_assert!(!ended);
                        for (sequence, data) in events {
                            prop_assert!(listened.last().is_none_or(|last| *last < sequence));
                            prop_assert!(data.is_empty() || data.contains("all/"));
                            prop_assert!(!owner.contains_key(&sequence));
                            listened.push(sequence);
                        }
                    }
                }
                Step::BreakListener => {
                    if let Some(connection) = listener.take() {
                        bench.log.leave(&connection);
                    }
                }
            }
        }
        // Whoever knows one event of a request that was answered, and has not read its answer, can have it.
        for (id, known) in &mut known {
            if known.answered && !known.has_answer && !known.seen.is_empty() {
                let mut connection = bench.log.resume(*known.seen.last().unwrap()).unwrap();
                let (events, ended) = bench.drain(&mut connection);
                prop_assert!(ended && events.iter().any(|(_, data)| data.contains("\"result\"")), "{}", id);
            }
        }
    }
}
