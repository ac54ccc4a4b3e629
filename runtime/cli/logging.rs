//! Log messages, on standard error.

use chio_config::{LogFormat, LogLevel, Logging};
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

/// Starts logging as the options say; where they say nothing, as `chio.yaml` says to commands that serve; else warnings
/// and worse, as text.
pub(crate) fn start(global: &Global, configured: Option<Logging>) -> Result<(), Failure> {
    let level = match (&global.log_level, configured) {
        (Some(level), _) => level.as_str(),
        (None, Some(Logging { level, .. })) => name(level),
        (None, None) => "warn",
    };
    let filter = EnvFilter::try_new(level)
        .doing(format_args!("reading the log level {level:?}"))
        .hint("write error, warn, info, debug, trace or off, or directives such as chio_kernel=debug")?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_json = match (global.log_format, configured) {
        (Some(format), _) => format == Format::Json,
        (None, Some(Logging { format, .. })) => format == LogFormat::Json,
        (None, None) => false,
    };
    if is_json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(paints(&std::io::stderr())).with_target(false).init();
    }
    Ok(())
}

fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}
