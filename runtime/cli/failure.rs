//! How a command ends: with one of three answers, or with a failure that says what to do next.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// What a command found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// It was done, it is allowed, it is valid.
    Yes,
    /// It cannot be decided with what is at hand, for example because nothing vouches for a key.
    Undecided,
    /// It is denied or invalid.
    No,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::Yes => 0,
            Answer::No => 2,
            Answer::Undecided => 3,
        })
    }
}

/// Why a command could not answer. It ends with exit code 1.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure in one sentence.
    pub(crate) fn new(message: impl fmt::Display) -> Failure {
        Failure { error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Says what to do next; the innermost hint stays.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint.get_or_insert_with(|| hint.to_string());
        self
    }

    /// Says what was attempted.
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> Failure {
        self.error = self.error.context(doing.to_string());
        self
    }

    /// The whole failure as one text.
    pub(crate) fn message(&self) -> String {
        let mut text = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Many errors repeat their cause in their own words already.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        text
    }

    /// Prints the failure and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        let (red, bold, plain) =
            if paints(&stderr) { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}error:{plain} {}\n", self.message());
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{bold}hint:{plain} {hint}\n"));
        }
        // Nobody is left to tell when even this cannot be printed.
        drop(stderr.write_all(text.as_bytes()));
        ExitCode::FAILURE
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { error: error.into(), hint: None }
    }
}

/// Adds context and hints to results.
pub(crate) trait OrFail<T> {
    /// Says what was attempted, as words that a colon can follow.
    fn doing(self, doing: impl fmt::Display) -> Result<T, Failure>;
    /// Says what to do next.
    fn hint(self, hint: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> OrFail<T> for Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(doing))
    }

    fn hint(self, hint: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| error.into().hint(hint))
    }
}

/// Whether colours are welcome: on a terminal, unless `NO_COLOR` is set to anything (no-color.org).
pub(crate) fn paints(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
