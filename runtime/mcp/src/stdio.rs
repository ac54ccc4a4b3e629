//! MCP's stdio framing: one JSON-RPC message per line, UTF-8, nothing else on the stream.
//!
//! Reading keeps at most one line of bounded length; a longer one is skipped while it streams by and
//! only the id is kept, so that the request in question can fail by name instead of by timeout. What
//! stands on a wrapped server's standard output without being JSON (banners, stray prints) is logged
//! and dropped: it must never reach the client as if it were protocol.

mod line;
mod skim;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::channel::{Arrival, Channel, Concerns, Departures};
use crate::jsonrpc::{Malformed, Message};

pub use line::{Line, Lines};

/// The default limit for one line, 16 MiB: the same as a frame of the native transport.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// The default bound of the texts that wait for a peer to read them, 32 MiB.
pub const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// A peer that takes nothing for this long while something waits for it is given up.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Texts that wait are written together up to this size, with one flush.
const BATCH_BYTES: usize = 64 * 1024;

/// Who is on the other side, which decides what becomes of lines that are not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client: it is told that the line could not be parsed.
    Client,
    /// A wrapped server: the line is logged and dropped.
    Server,
}

/// The tasks that move bytes between a pair of streams and a [`Channel`]. Dropping it stops both, closing
/// the streams.
#[derive(Debug)]
pub struct Pumps {
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Drop for Pumps {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl Pumps {
    /// Closes our writing end, so that the peer sees the end of input, and goes on reading.
    pub fn close_output(&self) {
        self.writer.abort();
    }
}

/// Speaks the stdio framing over a pair of byte streams. Must be called within a Tokio runtime.
pub fn attach<R, W>(reader: R, writer: W, side: Side) -> (Channel, Pumps)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (channel, arrived, departures) = Channel::new(QUEUE_BYTES);
    let reader = tokio::spawn(read(
        Lines::new(BufReader::with_capacity(64 * 1024, reader), MAX_LINE_BYTES),
        side,
        arrived,
    ));
    let writer = tokio::spawn(write(writer, departures));
    (channel, Pumps { reader, writer })
}

async fn read<R>(mut lines: Lines<R>, side: Side, arrived: mpsc::Sender<Arrival>)
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    let mut cut_off = false;
    loop {
        let arrival = match lines.next().await {
            Ok(None) => return,
            Ok(Some(Line::Text(text))) => match Message::parse(text) {
                Ok(message) => Arrival::Message(message),
                Err(Malformed::NotJson(reason)) if side == Side::Server => {
                    // The text itself may hold anything, secrets included, so only its shape is logged.
                    tracing::warn!(bytes = text.len(), %reason, "dropped a line that is not JSON from the wrapped server's standard output");
                    continue;
                }
                Err(malformed) => Arrival::Malformed(malformed),
            },
            Ok(Some(Line::NotText { bytes })) if side == Side::Server => {
                tracing::warn!(
                    bytes,
                    "dropped a line that is not UTF-8 from the wrapped server's standard output"
                );
                continue;
            }
            Ok(Some(Line::NotText { .. })) => {
                Arrival::Malformed(Malformed::NotJson("the line is not UTF-8".to_owned()))
            }
            Ok(Some(Line::TooLong { bytes, concerns })) => {
                // A client that waits for the answer to what nobody could read would wait for ever.
                cut_off = side == Side::Client && concerns == Concerns::Unknown;
                Arrival::Oversized { bytes, concerns }
            }
            Err(error) => Arrival::Broken(error.to_string()),
        };
        let over = matches!(arrival, Arrival::Broken(_));
        if arrived.send(arrival).await.is_err() || over {
            return;
        }
        if cut_off {
            let reason = "a message was too large, and whom it concerned could not be told".to_owned();
            // Nobody is left to tell when the session has ended by itself.
            let _ = arrived.send(Arrival::Broken(reason)).await;
            return;
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut departures: Departures) {
    while let Some(first) = departures.next().await {
        let mut bytes = Vec::new();
        frame(&mut bytes, &first.text);
        // A departure gives its room back when it is dropped, so they are kept until the flush below:
        // that is what `Outbox::flushed` waits for.
        let mut batch = vec![first];
        while bytes.len() < BATCH_BYTES {
            let Some(next) = departures.next_ready() else { break };
            frame(&mut bytes, &next.text);
            batch.push(next);
        }
        if let Err(error) = write_all(&mut writer, &bytes).await {
            tracing::debug!(%error, "the peer's input is closed");
            return;
        }
    }
}

/// Appends the text as one line. Line breaks between JSON tokens become spaces; within strings they cannot
/// occur, for JSON escapes them there.
fn frame(bytes: &mut Vec<u8>, text: &str) {
    let start = bytes.len();
    bytes.extend_from_slice(text.as_bytes());
    if let Some(line) = bytes.get_mut(start..) {
        for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    bytes.push(b'\n');
}

/// Writes and flushes, giving up on a peer that takes nothing for [`STALL_LIMIT`].
async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, mut bytes: &[u8]) -> std::io::Result<()> {
    let stalled = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the peer stopped reading");
    while !bytes.is_empty() {
        let count = tokio::time::timeout(STALL_LIMIT, writer.write(bytes)).await.map_err(stalled)??;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    tokio::time::timeout(STALL_LIMIT, writer.flush()).await.map_err(stalled)?
}
