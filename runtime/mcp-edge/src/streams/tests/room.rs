//! What takes of the bounds, and what gives it back.

use chio_mcp::channel::Route;
use chio_mcp::jsonrpc::{self, Id};

use super::super::Undelivered;
use super::super::log::{EventLog, NotOpened};
use super::{BOUNDS, Bench, SESSION, messages};

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
