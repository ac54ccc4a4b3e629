//! What is pushed reaches the one stream where it belongs, once and in order.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chio_mcp::channel::Route;
use chio_mcp::jsonrpc::{self, Id};

use super::super::event::frame;
use super::super::log::{First, NotOpened, OutOfWindow};
use super::super::sequence_of;
use super::{BOUNDS, Bench, messages, note};

fn ask(id: u64) -> String {
    jsonrpc::request_text(&Id::number(id), "roots/list", None)
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
fn a_request_of_the_server_that_comes_after_the_answer_reaches_the_client_elsewhere() {
    let mut bench = Bench::new(BOUNDS);
    let mut connection = bench.open(1);
    bench.answer(1);
    bench.push(ask(7), Route::Within(Id::number(1)));
    assert_eq!(messages(&bench.drain(&mut connection).0).len(), 1, "nothing follows the answer");
    // Where another request waits, that stream is read surely.
    let mut other = bench.open(2);
    bench.push(ask(8), Route::Within(Id::number(1)));
    assert_eq!(messages(&bench.drain(&mut other).0), [ask(8)]);
    let mut unrelated = bench.log.listen(true).unwrap();
    assert_eq!(messages(&bench.drain(&mut unrelated).0), [ask(7)]);
    assert_eq!(bench.log.holding().dropped, 0);
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
    bench.push(ask(7), Route::Unrelated);
    for number in 0..10 {
        bench.broadcast(&format!("n{number}"));
    }
    let mut listening = bench.log.listen(true).unwrap();
    let (events, ended) = bench.drain(&mut listening);
    assert!(!ended);
    assert_eq!(messages(&events), [ask(7), note("n7"), note("n8"), note("n9")]);
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
