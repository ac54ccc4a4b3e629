//! Lines in and lines out: split anywhere, huge, garbage, and slow readers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use chio_mcp::channel::{Arrival, Channel, Concerns, Route, Unsent};
use chio_mcp::jsonrpc::{Id, Malformed, Message};
use chio_mcp::stdio::{self, Line, Lines, MAX_LINE_BYTES, Side};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

const LIMIT: usize = 64;

/// What a reader makes of bytes that arrive in pieces.
async fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let (mut writer, reader) = tokio::io::duplex(16);
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    tokio::spawn(async move {
        for piece in pieces {
            writer.write_all(&piece).await.unwrap();
        }
    });
    let mut lines = Lines::new(BufReader::with_capacity(8, reader), LIMIT);
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        seen.push(match line {
            Line::Text(text) => text.to_owned(),
            Line::NotText { bytes } => format!("<{bytes} bytes>"),
            Line::TooLong { bytes, concerns } => format!("<{bytes} concerning {concerns:?}>"),
        });
    }
    seen
}

#[tokio::test]
async fn lines_are_found_wherever_they_are_split() {
    assert_eq!(
        lines(&[b"one\ntwo\r\n", b"\n  \n", b"thr", b"ee\nlast"]).await,
        ["one", "two", "three", "last"]
    );
    assert_eq!(lines(&[b""]).await, [""; 0]);
    assert_eq!(lines(&[b"a\xff\nb\n"]).await, ["<2 bytes>", "b"]);
    let exact = "x".repeat(LIMIT);
    assert_eq!(lines(&[exact.as_bytes(), b"\nnext\n"]).await, [exact, "next".to_owned()]);
}

#[tokio::test]
async fn a_line_too_long_is_skipped_and_names_whom_it_concerns() {
    let padding = "p".repeat(LIMIT);
    for (text, expected) in [
        (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"id":8,"t":"{padding}"}}}}"#), "Answer(7)"),
        (format!(r#"{{"result":{{"t":"{padding}\\\"}},{{","id":1}},"id" : "a\"b" }}"#), r#"Answer("a\"b")"#),
        (format!(r#"{{"id":7,"method":"m","params":{{"t":"{padding}"}}}}"#), "Request(7)"),
        (format!(r#"{{"method":"m","params":{{"t":"{padding}"}}}}"#), "Nobody"),
        (format!(r#"{{"method":"m","id":null,"params":{{"t":"{padding}"}}}}"#), "Unknown"),
        (format!(r#"{{"t":"{padding}"}}"#), "Unknown"),
        (format!(r#"[{{"id":7}},"{padding}"]"#), "Unknown"),
        (format!(r#"{{"id":{},"t":1}}"#, "9".repeat(200)), "Unknown"),
        (format!("{padding}{padding}"), "Unknown"),
    ] {
        let seen = lines(&[text.as_bytes(), b"\nnext\n"]).await;
        assert_eq!(seen, [format!("<{} concerning {expected}>", text.len()), "next".to_owned()]);
    }
}

proptest! {
    #[test]
    fn splitting_changes_nothing(text in "[ -~\n]{0,400}", cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&text.as_bytes()[from..cut]);
            from = cut;
        }
        pieces.push(&text.as_bytes()[from..]);
        let expected: Vec<String> = text.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let seen = runtime.block_on(lines(&pieces));
        prop_assert_eq!(seen.len(), text.split('\n').filter(|line| !line.trim_ascii().is_empty()).count());
        for (seen, expected) in seen.iter().zip(expected) {
            if !seen.starts_with('<') {
                prop_assert_eq!(seen, &expected);
            }
        }
    }
}

fn wire(side: Side) -> (Channel, tokio::io::DuplexStream, stdio::Pumps) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (reader, writer) = tokio::io::split(theirs);
    let (channel, pumps) = stdio::attach(reader, writer, side);
    (channel, ours, pumps)
}

#[tokio::test]
async fn garbage_of_a_server_is_dropped_and_garbage_of_a_client_is_reported() {
    let input = b"Listening on stdio\n\xff\xfe\n\n{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n[]\n";
    let (mut server, mut ours, _pumps) = wire(Side::Server);
    ours.write_all(input).await.unwrap();
    assert!(matches!(server.arrivals.recv().await, Some(Arrival::Message(Message::Notification(_)))));
    assert!(matches!(server.arrivals.recv().await, Some(Arrival::Malformed(Malformed::Batch))));

    let (mut client, mut ours, _pumps) = wire(Side::Client);
    ours.write_all(input).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(client.arrivals.recv().await, Some(Arrival::Malformed(Malformed::NotJson(_)))));
    }
    assert!(matches!(client.arrivals.recv().await, Some(Arrival::Message(_))));
}

/// Who waits for an answer must not wait for ever.
#[tokio::test]
async fn a_client_whose_message_cannot_be_attributed_is_cut_off() {
    for (side, over) in [(Side::Client, true), (Side::Server, false)] {
        let (mut channel, mut ours, _pumps) = wire(side);
        let writing = tokio::spawn(async move {
            ours.write_all("x".repeat(MAX_LINE_BYTES + 1).as_bytes()).await.unwrap();
            ours.write_all(b"\n{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n").await.ok();
            ours
        });
        let oversized = channel.arrivals.recv().await;
        assert!(matches!(oversized, Some(Arrival::Oversized { concerns: Concerns::Unknown, .. })));
        assert_eq!(matches!(channel.arrivals.recv().await, Some(Arrival::Broken(_))), over);
        drop(writing.await.unwrap());
        assert!(channel.arrivals.recv().await.is_none());
    }
}

#[tokio::test]
async fn the_limit_is_sixteen_mebibytes() {
    let (mut channel, mut ours, _pumps) = wire(Side::Client);
    let head = r#"{"jsonrpc":"2.0","id":5,"result":""#;
    let fitting = format!("{head}{}\"}}\n", "x".repeat(MAX_LINE_BYTES - head.len() - 2));
    let longer = format!("{head}{}\"}}\n", "x".repeat(MAX_LINE_BYTES - head.len() - 1));
    let writing = tokio::spawn(async move {
        ours.write_all(fitting.as_bytes()).await.unwrap();
        ours.write_all(longer.as_bytes()).await.unwrap();
        ours
    });
    assert!(matches!(channel.arrivals.recv().await, Some(Arrival::Message(Message::Response(_)))));
    let Some(Arrival::Oversized { bytes, concerns }) = channel.arrivals.recv().await else { panic!("taken") };
    assert_eq!((bytes, concerns), (MAX_LINE_BYTES as u64 + 1, Concerns::Answer(Id::number(5))));
    drop(writing.await.unwrap());
    assert!(channel.arrivals.recv().await.is_none());
}

#[tokio::test]
async fn a_message_is_one_line_whatever_white_space_it_holds() {
    let (channel, mut ours, _pumps) = wire(Side::Client);
    channel.outbox.send("{\"a\":\r\n1}".to_owned(), Route::Unrelated).await.unwrap();
    channel.outbox.send("{}".to_owned(), Route::Unrelated).await.unwrap();
    let mut written = [0; 13];
    ours.read_exact(&mut written).await.unwrap();
    assert_eq!(&written, b"{\"a\":  1}\n{}\n");
}

#[tokio::test]
async fn a_reader_that_stops_reading_fills_its_own_queue_only() {
    let (channel, _arrived, mut departures) = Channel::new(10_000);
    let text = "x".repeat(1_000);
    let mut queued = 0;
    let unsent = loop {
        match channel.outbox.offer(text.clone(), Route::Unrelated) {
            Ok(()) => queued += 1,
            Err(unsent) => break unsent,
        }
    };
    assert_eq!((queued, unsent), (7, Unsent::Full));
    // Whoever must be heard waits for room.
    let waiting = tokio::spawn({
        let outbox = channel.outbox.clone();
        async move { outbox.send("y".repeat(20_000), Route::Unrelated).await }
    });
    let flushed = tokio::time::timeout(Duration::from_millis(20), channel.outbox.flushed());
    assert!(flushed.await.is_err());
    for _ in 0..queued {
        departures.next().await.unwrap();
    }
    // A text above the whole bound passes alone.
    assert_eq!(departures.next().await.unwrap().text.len(), 20_000);
    waiting.await.unwrap().unwrap();
    channel.outbox.flushed().await;
    drop(departures);
    assert_eq!(channel.outbox.send(text.clone(), Route::Unrelated).await, Err(Unsent::Closed));
    assert_eq!(channel.outbox.offer(text, Route::Unrelated), Err(Unsent::Closed));
}
