//! What a client can still ask for when its connection broke.

use std::task::Poll;

use chio_mcp::channel::Route;
use chio_mcp::jsonrpc::{self, Id};

use super::super::log::OutOfWindow;
use super::{BOUNDS, Bench, messages, note, parse};

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
