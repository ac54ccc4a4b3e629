//! Log messages, on standard error.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::Global;
use super::failure::{Failure, OrFail, paints};

/// The form of a log message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line for people
    Text,
    /// One JSON object per line
    Json,
}

/// Starts logging as the options say: warnings and worse as text when they say nothing.
pub(crate) fn start(global: &Global) -> Result<(), Failure> {
    let level = global.log_level.as_deref().unwrap_or("warn");
    let filter = EnvFilter::try_new(level)
        .doing(format_args!("reading the log level {level:?}"))
        .hint("write error, warn, info, debug, trace or off, or directives such as chio_kernel=debug")?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.log_format.unwrap_or(Format::Text) {
        Format::Text => subscriber.with_ansi(paints(&std::io::stderr())).with_target(false).init(),
        Format::Json => subscriber.json().init(),
    }
    Ok(())
}
