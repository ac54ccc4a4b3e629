//! Standard output, for data only.
//!
//! A reader that closes the pipe early (`chio receipt list | head`) has seen what it wanted: that is no failure, and it
//! must not change the exit code of a verification either. Any other failure to write is one, for example a full disk.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::failure::{Failure, OrFail, paints};

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    closed: bool,
    paints: bool,
}

impl Default for Output {
    fn default() -> Output {
        Output { closed: false, paints: paints(&std::io::stdout()) }
    }
}

impl Output {
    /// Standard output, with nothing written yet.
    pub(crate) fn new() -> Output {
        Output::default()
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes a text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.doing("writing to standard output"),
        }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        let line = line.as_ref();
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        text.push('\n');
        self.text(&text)
    }

    /// Writes a report as indented JSON.
    pub(crate) fn json(&mut self, report: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string_pretty(report).doing("writing the report as JSON")?)
    }

    /// A text in a colour, if colours are welcome.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.paints { format!("\x1b[{}m{text}\x1b[0m", colour.code()) } else { text.to_owned() }
    }
}

/// The few colours that carry a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Allowed, valid.
    Good,
    /// Denied, invalid.
    Bad,
    /// Neither.
    Open,
    /// Of less importance.
    Dim,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Colour::Good => "32",
            Colour::Bad => "31",
            Colour::Open => "33",
            Colour::Dim => "2",
        }
    }
}
