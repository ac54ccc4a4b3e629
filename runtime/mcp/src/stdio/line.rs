//! Lines of bounded length from a byte stream.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::channel::Concerns;
use crate::stdio::skim::Skim;

/// Above this, the buffer of a long line is given back before the next one is read.
const KEPT_BUFFER: usize = 256 * 1024;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line within the limit, without its end and without surrounding white space; never empty.
    Text(&'a str),
    /// A line within the limit that is not UTF-8.
    NotText {
        /// Its length.
        bytes: usize,
    },
    /// A line above the limit; it was not kept.
    TooLong {
        /// Its length, without its end.
        bytes: u64,
        /// Whom it concerns, as far as it could be read on the way.
        concerns: Concerns,
    },
}

/// Reads lines of at most a given length. Empty lines are passed over, and a last line without an end
/// counts, for a peer that died after writing a message still said it.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    limit: usize,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, line: Vec::new() }
    }

    /// The next line, or `None` at the end of input. Not cancel-safe: a dropped future may have taken a
    /// part of a line with it.
    ///
    /// # Errors
    /// What the stream fails with.
    pub async fn next(&mut self) -> std::io::Result<Option<Line<'_>>> {
        loop {
            if self.line.capacity() > KEPT_BUFFER {
                self.line = Vec::new();
            }
            self.line.clear();
            match self.fill().await? {
                Filled::End if self.line.is_empty() => return Ok(None),
                Filled::TooLong { bytes, concerns } => return Ok(Some(Line::TooLong { bytes, concerns })),
                Filled::End | Filled::Line => {}
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let bytes = self.line.len();
        Ok(Some(match std::str::from_utf8(self.line.trim_ascii()) {
            Ok(text) => Line::Text(text),
            Err(_) => Line::NotText { bytes },
        }))
    }

    async fn fill(&mut self) -> std::io::Result<Filled> {
        let mut skim: Option<(Skim, u64)> = None;
        loop {
            let buffer = self.reader.fill_buf().await?;
            let end_of_input = buffer.is_empty();
            let line_end = buffer.iter().position(|byte| *byte == b'\n');
            let chunk = buffer.get(..line_end.unwrap_or(buffer.len())).unwrap_or_default();
            match &mut skim {
                Some((skim, bytes)) => {
                    skim.feed(chunk);
                    *bytes += chunk.len() as u64;
                }
                None if self.line.len() + chunk.len() > self.limit => {
                    let mut started = Skim::default();
                    started.feed(&self.line);
                    started.feed(chunk);
                    skim = Some((started, (self.line.len() + chunk.len()) as u64));
                    self.line = Vec::new();
                }
                None => self.line.extend_from_slice(chunk),
            }
            let consumed = chunk.len() + usize::from(line_end.is_some());
            self.reader.consume(consumed);
            if end_of_input || line_end.is_some() {
                return Ok(match skim {
                    Some((skim, bytes)) => Filled::TooLong { bytes, concerns: skim.concerns() },
                    None if end_of_input => Filled::End,
                    None => Filled::Line,
                });
            }
        }
    }
}

enum Filled {
    Line,
    End,
    TooLong { bytes: u64, concerns: Concerns },
}
