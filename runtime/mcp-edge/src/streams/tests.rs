//! The log, driven without tasks: what is pushed, what connections take, what survives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chio_mcp::channel::{Arrival, Channel, Departures, Outbox, Route};
use chio_mcp::jsonrpc::{self, Id};
use proptest::prelude::*;
use tokio::sync::mpsc::Receiver;

use super::event::frame;
use super::log::{Bounds, Connection, EventLog, First, NotOpened, OutOfWindow};
use super::{Undelivered, sequence_of};

const SESSION: &str = "ab-cd";

const BOUNDS: Bounds = Bounds {
    in_flight: 8,
    buffered_bytes: 64 * 1024,
    replay_events: 4,
    replay_bytes: 4096,
    backlog_events: 3,
    backlog_bytes: 2048,
};

struct Bench {
    log: EventLog,
    outbox: Outbox,
    departures: Departures,
    _arrivals: Receiver<Arrival>,
}

impl Bench {
    fn new(bounds: Bounds) -> Self {
        let (Channel { arrivals, outbox }, _, departures) = Channel::new(bounds.buffered_bytes);
        Self {
            log: EventLog::new(SESSION, bounds, &Undelivered::new(usize::MAX)),
            outbox,
            departures,
            _arrivals: arrivals,
        }
    }

    fn push(&mut self, text: String, route: Route) {
        self.outbox.offer(text, route).expect("room in the channel");
        self.log.push(self.departures.next_ready().unwrap());
    }

    fn open(&mut self, id: u64) -> Connection {
        self.log.open(&Id::number(id), true, None).unwrap()
    }

    fn answer(&mut self, id: u64) {
        let id = Id::number(id);
        self.push(jsonrpc::result_text(&id, "{}"), Route::Answer(id));
    }

    fn tell(&mut self, id: u64, what: &str) {
        self.push(jsonrpc::notification_text(what, None), Route::Within(Id::number(id)));
    }

    fn broadcast(&mut self, what: &str) {
        self.push(jsonrpc::notification_text(what, None), Route::Unrelated);
    }

    fn next(&mut self, connection: &mut Connection) -> Poll<Option<String>> {
        let next = self.log.next(connection, &Context::from_waker(Waker::noop()));
        next.map(|event| event.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    /// What can be taken now: sequence and data of each event, and whether the stream ended.
    fn drain(&mut self, connection: &mut Connection) -> (Vec<(u64, String)>, bool) {
        let mut events = Vec::new();
        loop {
            match self.next(connection) {
                Poll::Ready(Some(event)) => events.push(parse(&event)),
                Poll::Ready(None) => return (events, true),
                Poll::Pending => return (events, false),
            }
        }
    }

    /// What is free of the channel's bound.
    fn room(&self) -> usize {
        let mut room = 0;
        for step in [16 * 1024, 1024, 256] {
            while let Ok(()) = self.outbox.offer("x".repeat(step - 256), Route::Unrelated) {
                room += step;
            }
        }
        room
    }
}

fn parse(event: &str) -> (u64, String) {
    let mut id = None;
    let mut data = None;
    for line in event.trim_end().lines() {
        if let Some(text) = line.strip_prefix("id: ") {
            id = sequence_of(SESSION, text);
        } else if let Some(text) = line.strip_prefix("data:") {
            data = Some(text.trim().to_owned());
        }
    }
    (id.expect("every event has an id"), data.expect("every event has data"))
}

fn messages(events: &[(u64, String)]) -> Vec<&str> {
    events.iter().map(|(_, data)| data.as_str()).filter(|data| !data.is_empty()).collect()
}

fn note(what: &str) -> String {
    jsonrpc::notification_text(what, None)
}

#[test]
fn event_ids_are_split_at_the_last_hyphen_and_checked() {
    assert_eq!(sequence_of("ab-cd", "ab-cd-17"), Some(17));
    for wrong in [
        "ab-cd",
        "ab-cd-",
        "ab-cd-0",
        "ab-cd-01",
        "ab-cd-+1",
        "ab-cd--1",
        "ab-cd-1 ",
        "ab-cd-x",
        "ab-17",
        "other-17",
        "ab-cd-99999999999999999999",
        "",
        "-1",
        "17",
    ] {
        assert_eq!(sequence_of("ab-cd", wrong), None, "{wrong}");
    }
}

#[test]
fn events_are_one_line_of_data_whatever_the_text() {
    let text = String::from_utf8(frame("s", 3, "{\"a\":\r\n1}").to_vec()).unwrap();
    assert_eq!(text, "id: s-3\nevent: message\ndata: {\"a\":  1}\n\n");
    let priming = String::from_utf8(frame("s", 1, "").to_vec()).unwrap();
    assert_eq!(priming, "id: s-1\nretry: 1000\ndata: \n\n");
}

#[test]
fn what_some_parsers_take_for_a_line_break_is_escaped() {
    let text = String::from_utf8(frame("s", 3, "[\"a\u{85}b\u{2028}\u{2029}é\"]").to_vec()).unwrap();
    assert_eq!(text, "id: s-3\nevent: message\ndata: [\"a\\u0085b\\u2028\\u2029é\"]\n\n");
}

#[test]
fn the_answer_is_the_last_event_of_its_stream() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    bench.tell(1, "one");
    bench.answer(1);
    // Too late: the stream is over.
    bench.tell(1, "late");
    let (events, ended) = bench.drain(&mut connection);
    assert!(ended);
    assert_eq!(events[0].1, "", "the first event primes the stream");
    assert_eq!(messages(&events), [note("one"), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned()]);
    assert_eq!(bench.log.holding().dropped, 1);
    assert_eq!(bench.log.holding().pending_bytes, 0);
}

#[test]
fn an_answer_that_comes_first_is_taken_out_whole() {
    let mut bench = Bench::new(BOUNDS);
    let connection = bench.open(1);
    let context = Context::from_waker(Waker::noop());
    assert!(bench.log.first(&connection, &context).is_pending());
    bench.answer(1);
    let Poll::Ready(First::Answer(answer)) = bench.log.first(&connection, &context) else { panic!() };
    assert_eq!(answer.text, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert!(matches!(bench.log.first(&connection, &context), Poll::Ready(First::Nothing)));

    let mut connection = bench.open(2);
    bench.tell(2, "one");
    bench.answer(2);
    assert!(matches!(bench.log.first(&connection, &context), Poll::Ready(First::Other)));
    let (events, ended) = bench.drain(&mut connection);
    assert!(ended);
    // No number was spent on the answer that went out as JSON.
    assert_eq!(events[0].0, 1);
}

#[test]
fn every_message_is_on_one_stream_only() {
    let mut bench = Bench::new(BOUNDS);
    let mut listening = bench.log.listen(true).unwrap();
    let mut one = bench.open(1);
    let mut two = bench.open(2);
    bench.tell(1, "for-one");
    bench.tell(2, "for-two");
    bench.broadcast("for-all");
    bench.push(note("either"), Route::UnrelatedOr(Id::number(1)));
    assert_eq!(messages(&bench.drain(&mut one).0), [note("for-one")]);
    assert_eq!(messages(&bench.drain(&mut two).0), [note("for-two")]);
    assert_eq!(messages(&bench.drain(&mut listening).0), [note("for-all"), note("either")]);
}

#[test]
fn without_a_listener_related_messages_go_to_their_request_and_requests_to_the_newest() {
    let mut bench = Bench::new(BOUNDS);
    let mut one = bench.open(1);
    let mut two = bench.open(2);
    bench.push(note("either"), Route::UnrelatedOr(Id::number(1)));
    bench.push(note("gone"), Route::UnrelatedOr(Id::number(9)));
    let ask = |id| jsonrpc::request_text(&Id::number(id), "roots/list", None);
    bench.push(ask(7), Route::UnrelatedOr(Id::number(9)));
    bench.push(ask(8), Route::Unrelated);
    assert_eq!(messages(&bench.drain(&mut one).0), [note("either")]);
    assert_eq!(messages(&bench.drain(&mut two).0), [ask(7), ask(8)]);
    // What belongs to no request waits for a listener.
    let mut listening = bench.log.listen(true).unwrap();
    assert_eq!(messages(&bench.drain(&mut listening).0), [note("gone")]);
}

#[test]
fn what_nobody_listens_to_is_kept_up_to_a_bound_and_the_oldest_notification_goes_first() {
    let mut bench = Bench::new(BOUNDS);
    let ask = jsonrpc::request_text(&Id::number(7), "roots/list", None);
    bench.push(ask.clone(), Route::Unrelated);
    for number in 0..10 {
        bench.broadcast(&format!("n{number}"));
    }
    let mut listening = bench.log.listen(true).unwrap();
    let (events, ended) = bench.drain(&mut listening);
    assert!(!ended);
    assert_eq!(messages(&events), [ask, note("n7"), note("n8"), note("n9")]);
    assert_eq!(bench.log.holding().dropped, 7);
    // Bytes count as well.
    bench.log.leave(&listening);
    for _ in 0..3 {
        bench.broadcast(&"x".repeat(1500));
    }
    assert_eq!(bench.log.holding().dropped, 9);
}

#[test]
fn a_second_listener_is_refused_and_the_first_survives() {
    let mut bench = Bench::new(BOUNDS);
    let mut first = bench.log.listen(true).unwrap();
    bench.drain(&mut first);
    assert!(bench.log.listen(true).is_err());
    bench.broadcast("still");
    assert_eq!(messages(&bench.drain(&mut first).0), [note("still")]);
    bench.log.leave(&first);
    assert!(bench.log.listen(true).is_ok());
}

#[test]
fn a_broken_stream_is_resumed_beside_a_listener_and_from_any_event() {
    let mut bench = Bench::new(BOUNDS);
    let mut listening = bench.log.listen(true).unwrap();
    bench.drain(&mut listening);
    let mut connection = bench.open(1);
    bench.tell(1, "a");
    bench.tell(1, "b");
    let (events, _) = bench.drain(&mut connection);
    bench.log.leave(&connection);
    bench.answer(1);
    bench.broadcast("other");
    for (at, (sequence, _)) in events.iter().enumerate() {
        let mut resumed = bench.log.resume(*sequence).unwrap();
        let (replayed, ended) = bench.drain(&mut resumed);
        assert!(ended);
        let expected: Vec<_> = ["a", "b"].iter().skip(at).map(|what| note(what)).collect();
        assert_eq!(messages(&replayed)[..expected.len()], expected);
        assert_eq!(*messages(&replayed).last().unwrap(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!(messages(&replayed).len(), expected.len() + 1);
    }
    assert_eq!(messages(&bench.drain(&mut listening).0), [note("other")]);
}

#[test]
fn resuming_replaces_the_old_connection() {
    let mut bench = Bench::new(BOUNDS);
    let mut old = bench.open(1);
    let (events, _) = bench.drain(&mut old);
    let mut new = bench.log.resume(events[0].0).unwrap();
    bench.answer(1);
    assert_eq!(bench.drain(&mut old), (Vec::new(), true));
    // That the old connection ends takes nothing from the new one.
    bench.log.leave(&old);
    let (events, ended) = bench.drain(&mut new);
    assert!(ended);
    assert_eq!(messages(&events).len(), 1);
}

#[test]
fn an_event_that_was_handed_to_a_connection_that_broke_is_delivered_again() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    bench.answer(1);
    let Poll::Ready(Some(priming)) = bench.next(&mut connection) else { panic!() };
    let Poll::Ready(Some(answer)) = bench.next(&mut connection) else { panic!() };
    // The connection never asked for more, so nobody knows whether the answer went out.
    bench.log.leave(&connection);
    assert!(bench.log.holding().pending_bytes > 0);
    let mut resumed = bench.log.resume(parse(&priming).0).unwrap();
    let (events, ended) = bench.drain(&mut resumed);
    assert_eq!((events, ended), (vec![parse(&answer)], true));
    // A client that has it is not given it again.
    let mut again = bench.log.resume(parse(&answer).0).unwrap();
    assert_eq!(bench.drain(&mut again), (Vec::new(), true));
}

#[test]
fn replay_outside_the_window_is_refused() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    bench.answer(1);
    let (events, _) = bench.drain(&mut connection);
    assert!(bench.log.resume(events[0].0).is_ok());
    // Four newer events push both out.
    for id in 2..4 {
        let mut connection = bench.open(id);
        bench.answer(id);
        bench.drain(&mut connection);
    }
    for (sequence, _) in events {
        assert_eq!(bench.log.resume(sequence).unwrap_err(), OutOfWindow);
    }
    for never in [0, 7, u64::MAX] {
        assert_eq!(bench.log.resume(never).unwrap_err(), OutOfWindow, "{never}");
    }
    assert!(bench.log.resume(6).is_ok());
}

#[test]
fn a_get_stream_that_missed_nothing_resumes_after_other_streams_filled_the_window() {
    let mut bench = Bench::new(BOUNDS);
    let mut listener = bench.log.listen(true).unwrap();
    let (priming, _) = bench.drain(&mut listener);
    let mut call = bench.open(1);
    for _ in 0..20 {
        bench.tell(1, "progress");
        bench.drain(&mut call);
    }
    bench.log.leave(&listener);
    let mut listener = bench.log.resume(priming[0].0).expect("nothing of this stream was missed");
    bench.broadcast("news");
    let (news, _) = bench.drain(&mut listener);
    assert_eq!(messages(&news), [note("news")]);
    // Once an event of this stream has left the window, who lacks it is refused, and who has it is not.
    for _ in 0..20 {
        bench.tell(1, "progress");
        bench.drain(&mut call);
    }
    assert_eq!(bench.log.resume(priming[0].0).unwrap_err(), OutOfWindow);
    assert!(bench.log.resume(news[0].0).is_ok());
}

#[test]
fn a_request_in_flight_is_never_out_of_the_window() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    let (priming, _) = bench.drain(&mut connection);
    bench.tell(1, "early");
    bench.drain(&mut connection);
    bench.log.leave(&connection);
    // Everything that was delivered on it leaves the window.
    for id in 2..40 {
        let mut other = bench.open(id);
        bench.answer(id);
        bench.drain(&mut other);
    }
    let mut resumed = bench.log.resume(priming[0].0).expect("a request in flight can be resumed");
    assert_eq!(bench.drain(&mut resumed), (Vec::new(), false));
    bench.answer(1);
    let (events, ended) = bench.drain(&mut resumed);
    assert!(ended);
    assert_eq!(messages(&events).len(), 1);
}

#[test]
fn the_window_is_bounded_in_bytes_but_keeps_the_newest_event() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    let id = Id::number(1);
    bench.push(jsonrpc::result_text(&id, &format!("\"{}\"", "x".repeat(9000))), Route::Answer(id));
    let (events, _) = bench.drain(&mut connection);
    assert!(bench.log.resume(events[1].0).is_ok());
    // The priming event has left the window, but nothing after it has.
    let mut resumed = bench.log.resume(events[0].0).unwrap();
    assert_eq!(bench.drain(&mut resumed), (events[1..].to_vec(), true));
}

#[test]
fn a_stream_that_is_over_is_replayed_whole_or_not_at_all() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    for what in ["a", "b", "c", "d"] {
        bench.tell(1, what);
    }
    bench.answer(1);
    // Six events, of which four are retained: the second is the last one that left.
    let (events, _) = bench.drain(&mut connection);
    assert_eq!(bench.log.resume(events[0].0).unwrap_err(), OutOfWindow);
    for at in 1..6 {
        let mut resumed = bench.log.resume(events[at].0).unwrap();
        assert_eq!(bench.drain(&mut resumed), (events[at + 1..].to_vec(), true));
    }
    for id in 2..4 {
        let mut other = bench.open(id);
        bench.answer(id);
        bench.drain(&mut other);
    }
    for (sequence, _) in events {
        assert_eq!(bench.log.resume(sequence).unwrap_err(), OutOfWindow);
    }
}

#[test]
fn delivered_events_hold_no_room_and_undelivered_ones_do() {
    let all = Bench::new(BOUNDS).room();
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    bench.tell(1, &"x".repeat(4000));
    bench.answer(1);
    assert!(bench.log.holding().pending_bytes > 4000);
    bench.drain(&mut connection);
    assert_eq!(bench.log.holding().pending_bytes, 0);
    assert_eq!(bench.room(), all);
}

#[test]
fn notifications_leave_half_of_the_room_to_answers() {
    let mut bench = Bench::new(BOUNDS);
    let _slow = bench.open(1);
    for _ in 0..100 {
        bench.tell(1, &"x".repeat(1000));
    }
    let holding = bench.log.holding();
    assert!(holding.pending_bytes <= BOUNDS.buffered_bytes / 2, "{holding:?}");
    assert!(holding.dropped >= 60, "{holding:?}");
    let mut other = bench.open(2);
    bench.answer(2);
    assert_eq!(messages(&bench.drain(&mut other).0).len(), 1);
}

#[test]
fn small_notifications_leave_half_of_the_room_too() {
    let mut bench = Bench::new(BOUNDS);
    let _slow = bench.open(1);
    for _ in 0..200 {
        let text = jsonrpc::notification_text("x", None);
        if bench.outbox.offer(text, Route::Within(Id::number(1))).is_ok() {
            bench.log.push(bench.departures.next_ready().unwrap());
        }
    }
    let holding = bench.log.holding();
    assert!(holding.pending_bytes <= BOUNDS.buffered_bytes / 2, "{holding:?}");
    let room = bench.room();
    assert!(room >= BOUNDS.buffered_bytes / 2 - 1024, "{room} is left for answers");
}

#[test]
fn requests_are_refused_above_the_bounds_and_while_too_much_is_undelivered() {
    let mut bench = Bench::new(BOUNDS);
    let open = |bench: &mut Bench, id| bench.log.open(&Id::number(id), true, None).map(|_| ());
    for id in 0..8 {
        open(&mut bench, id).unwrap();
    }
    assert_eq!(open(&mut bench, 8), Err(NotOpened::TooMany));
    assert_eq!(open(&mut bench, 7), Err(NotOpened::InUse));
    let id = Id::number(0);
    bench.push(jsonrpc::result_text(&id, &format!("\"{}\"", "x".repeat(50_000))), Route::Answer(id));
    assert_eq!(open(&mut bench, 8), Err(NotOpened::Full));
    bench.log.close();
    assert_eq!(open(&mut bench, 9), Err(NotOpened::Over));
}

#[test]
fn requests_are_refused_while_too_much_is_undelivered_over_all_sessions() {
    let all = Undelivered::new(4096);
    let mut bench = Bench::new(BOUNDS);
    bench.log = EventLog::new(SESSION, BOUNDS, &all);
    let mut other = EventLog::new("other", BOUNDS, &all);
    let _slow = bench.open(1);
    let id = Id::number(1);
    bench.push(jsonrpc::result_text(&id, &format!("\"{}\"", "x".repeat(5000))), Route::Answer(id.clone()));
    assert_eq!(other.open(&id, true, None).unwrap_err(), NotOpened::AllFull);
    drop(bench);
    assert!(other.open(&id, true, None).is_ok(), "what a session held is free when it is gone");
}

#[test]
fn a_request_holds_its_room_until_it_is_answered_or_cancelled() {
    let all = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
    let mut bench = Bench::new(BOUNDS);
    for id in 1..3 {
        let room = std::sync::Arc::clone(&all).try_acquire_owned().ok();
        let connection = bench.log.open(&Id::number(id), true, room).unwrap();
        bench.log.leave(&connection);
    }
    assert_eq!(all.available_permits(), 0, "the calls go on without their clients");
    bench.answer(1);
    assert_eq!(all.available_permits(), 1);
    bench.log.cancel(&Id::number(2));
    assert_eq!(all.available_permits(), 2);
}

#[test]
fn an_answer_that_nobody_can_ask_for_is_dropped() {
    let mut bench = Bench::new(BOUNDS);
    // Left before it was told an id: before and after the answer.
    let early = bench.open(1);
    bench.log.leave(&early);
    assert_eq!(bench.log.idle(), None, "the call goes on");
    bench.tell(1, "x");
    bench.answer(1);
    let late = bench.open(2);
    bench.answer(2);
    bench.log.leave(&late);
    let holding = bench.log.holding();
    assert_eq!((holding.pending_bytes, holding.in_flight, holding.dropped), (0, 0, 3));
    assert!(bench.log.idle().is_some());
    // One that was told an id can come back, so its answer stays.
    let mut told = bench.open(3);
    let (priming, _) = bench.drain(&mut told);
    bench.log.leave(&told);
    bench.answer(3);
    let mut resumed = bench.log.resume(priming[0].0).unwrap();
    assert_eq!(messages(&bench.drain(&mut resumed).0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_ends_without_an_answer_and_its_id_may_be_used_again() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    let (priming, _) = bench.drain(&mut connection);
    bench.tell(1, "x");
    bench.log.cancel(&Id::number(1));
    assert_eq!(bench.drain(&mut connection), (Vec::new(), true));
    assert_eq!(bench.log.resume(priming[0].0).unwrap_err(), OutOfWindow);
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut again = bench.open(1);
    assert_eq!(bench.drain(&mut again).0.len(), 1);
    bench.log.cancel(&Id::number(99));
    assert_eq!(bench.log.holding().pending_bytes, 0);
}

#[test]
fn the_late_answer_of_a_cancelled_request_never_answers_a_new_one() {
    let mut bench = Bench::new(BOUNDS);
    let id = Id::number(1);
    let _left = bench.open(1);
    bench.log.cancel(&id);
    assert_eq!(bench.log.open(&id, true, None).unwrap_err(), NotOpened::InUse, "its answer may yet come");
    bench.push(jsonrpc::result_text(&id, "\"old\""), Route::Answer(id.clone()));
    let mut again = bench.open(1);
    bench.push(jsonrpc::result_text(&id, "\"new\""), Route::Answer(id));
    let (events, _) = bench.drain(&mut again);
    assert!(messages(&events).iter().all(|text| text.contains("new")), "{events:?}");
    assert_eq!(messages(&events).len(), 1);
}

#[test]
fn a_closed_log_gives_what_waits_and_ends_everything() {
    let mut bench = Bench::new(BOUNDS);
    let mut listening = bench.log.listen(true).unwrap();
    let mut one = bench.open(1);
    let mut two = bench.open(2);
    bench.answer(1);
    bench.log.close();
    let (events, ended) = bench.drain(&mut one);
    assert!(ended && messages(&events).len() == 1);
    assert!(bench.drain(&mut two).1);
    assert!(bench.drain(&mut listening).1);
}

#[test]
fn clients_that_cannot_read_priming_get_none() {
    let mut bench = Bench::new(BOUNDS);
    let mut listening = bench.log.listen(false).unwrap();
    bench.broadcast("x");
    let mut connection = bench.log.open(&Id::number(1), false, None).unwrap();
    bench.answer(1);
    for (connection, count) in [(&mut listening, 1), (&mut connection, 1)] {
        let (events, _) = bench.drain(connection);
        assert_eq!(events.len(), count);
        assert!(events.iter().all(|(_, data)| !data.is_empty()));
    }
}

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
