//! Servers that die and edges that restart leave clear errors and honest receipts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::python_1;
use crate::edge::{Edge, fixture, open_policy};
use crate::home::Home;
use crate::http::{Head, Session, call, open, read_body, text};
use crate::schema::Judge;
use crate::tee::Tee;
use crate::upstreams::{drive, text as said};

/// The receipt that a result names.
fn receipt_of<'a>(answer: &'a Value, receipts: &'a [Value]) -> &'a Value {
    let id = &answer["result"]["_meta"]["chio.dev/receiptId"];
    assert!(id.is_string(), "the answer names no receipt: {answer}");
    receipts.iter().find(|receipt| receipt["id"] == *id).unwrap_or_else(|| panic!("no receipt {id}"))
}

#[test]
fn a_server_that_dies_mid_call_leaves_an_incomplete_receipt_and_a_clear_error() {
    let home = Home::new();
    let edge = Edge::of_fixture(&home, json!({}), &open_policy(), None);
    let session = Session::open(&edge.address, None);
    let before = session.tool("pid", json!({}));
    let crashed = session.tool("crash", json!({}));
    assert_eq!(crashed["result"]["isError"], true, "{crashed}");
    assert_eq!(crashed["result"]["_meta"]["chio.dev/decision"], "incomplete", "{crashed}");
    let error = &crashed["result"]["_meta"]["chio.dev/error"];
    assert!(error["name"].is_string() && error["retry"]["guidance"].is_string(), "{crashed}");

    // It is started again when it is needed, after a pause that grows.
    let started = Instant::now();
    let after = loop {
        let after = session.tool("pid", json!({}));
        if after["result"]["isError"] != true && after.get("error").is_none() {
            break after;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the server never came back: {after}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_ne!(text(&before), text(&after));
    edge.end();
    let receipts = home.receipts();
    let receipt = receipt_of(&crashed, &receipts);
    assert_eq!(receipt["tool_name"], "crash");
    assert_eq!(receipt["decision"]["verdict"], "incomplete");
    home.verify_each();
}

#[test]
fn a_server_killed_from_outside_while_it_works_leaves_an_incomplete_receipt() {
    let home = Home::new();
    let edge = Edge::of_fixture(&home, json!({}), &open_policy(), None);
    let session = Session::open(&edge.address, None);
    let pid: i32 = text(&session.tool("pid", json!({}))).parse().unwrap();
    let working = session.clone();
    let waiting = std::thread::spawn(move || working.tool("sleep", json!({"millis": 60_000})));
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let killed = waiting.join().unwrap();
    assert_eq!(killed["result"]["isError"], true, "{killed}");
    edge.end();
    let receipts = home.receipts();
    assert_eq!(receipt_of(&killed, &receipts)["decision"]["verdict"], "incomplete");
    home.verify_each();
}

#[test]
fn after_a_restart_old_sessions_are_not_found_and_stock_clients_recover() {
    let (Some(python), Some(judge)) = (python_1(), Judge::load()) else { return };
    let home = Home::new();
    let edge = Edge::of_fixture(&home, json!({}), &open_policy(), None);
    let address = edge.address.clone();
    let tee = Tee::before(&address);
    let old = Session::open(&address, None);
    assert_eq!(text(&old.tool("echo", json!({"message": "before"}))), "before");
    edge.kill();

    let fixture = fixture(None);
    let policy = open_policy();
    let mut arguments = vec!["--policy", policy.to_str().unwrap(), "--server-id", "fixture", "--"];
    arguments.extend(fixture.iter().map(String::as_str));
    let edge = Edge::at(&home, &address, json!({}), &arguments);
    let gone = old.request(&call(1, "tools/list", json!({}))).send(&address);
    assert_eq!(gone.status(), 404, "{}", gone.text());
    assert_eq!(old.listen(None).send(&address).status(), 404);
    assert_eq!(old.delete().status(), 404);
    let seen = drive(&python, &tee.url(), None, &[], json!([{"call": ["echo", {"message": "after"}]}]));
    assert_eq!(said(&seen.answers[0]), "after");
    judge.approve(&tee);
    edge.end();
    home.verify_each();
}

#[test]
fn a_client_that_leaves_mid_call_does_not_cancel_it_and_finds_the_answer_later() {
    let home = Home::new();
    let edge = Edge::of_fixture(&home, json!({}), &open_policy(), None);
    let session = Session::open(&edge.address, None);
    let slow =
        session.request(&call(5, "tools/call", json!({"name": "sleep", "arguments": {"millis": 1500}})));
    let mut reader = open(&edge.address, &slow.bytes(&edge.address)).unwrap();
    let head = Head::read(&mut reader).unwrap().unwrap();
    assert!(head.is("text/event-stream"), "{head:?}");
    let mut begun = Vec::new();
    // The first event says where the stream can be resumed.
    let _ = read_body(&mut reader, &head, true, |_, content| {
        begun.extend_from_slice(content);
        if begun.ends_with(b"\n\n") { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    });
    drop(reader);
    let begun = String::from_utf8(begun).unwrap();
    let id =
        begun.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_else(|| panic!("no id: {begun}"));
    let resumed = session.listen(Some(id)).send(&edge.address);
    assert_eq!(resumed.status(), 200, "{}", resumed.text());
    assert_eq!(resumed.answer()["id"], 5);
    assert_eq!(text(&resumed.answer()), "slept");
    edge.end();
    assert_eq!(home.receipts()[0]["decision"]["verdict"], "allow");
}
