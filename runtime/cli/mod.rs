//! The command line: what can be asked, and what the answer's exit code means.
//!
//! Three conventions hold for every command, so that scripts can rely on them:
//!
//! * Data goes to standard output, everything else to standard error.
//! * The exit code is 0 for yes, 1 for an error (wrong usage included), 2 for "denied" or "invalid", and 3 for "cannot be
//!   decided with what is at hand". A check that fails never looks like a program that failed.
//! * Every option can be given as an environment variable, `CHIO_` and its name. That is done in one place
//!   ([`with_environment`]), so no option can be forgotten.

mod banner;
mod capability;
mod check;
mod configuration;
mod demo;
mod failure;
mod home;
mod init;
mod input;
mod keys;
mod log;
mod logging;
mod manifest;
mod mcp;
mod moment;
mod node;
mod output;
mod policy;
mod receipt;
mod serve;
mod server_id;
mod shutdown;
mod signers;
mod stop;
mod store;
mod words;
mod wrap;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use chio_mcp::process::{SUPERVISE, supervise};
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use self::failure::{Answer, Failure, OrFail};
use self::home::Home;

/// Decides every call of an agent to a tool, and leaves a signed receipt for each.
#[derive(Debug, Parser)]
#[command(
    name = "chio",
    version,
    long_version = concat!(env!("CARGO_PKG_VERSION"), "\nspecification ", env!("CHIO_SPEC_DIGEST")),
    max_term_width = 110,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 ok, 1 error, 2 denied or invalid, 3 cannot be decided.\n\
                  Every option can be set as an environment variable: --max-invocations is CHIO_MAX_INVOCATIONS."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Everywhere";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of all state: keys, policy, receipts [default: ./.chio when it exists, else ~/.chio]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", value_hint = ValueHint::DirPath)]
    home: Option<PathBuf>,
    /// Least severe log messages shown: error, warn, info, debug, trace, off, or filter directives
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "LEVEL", env = "CHIO_LOG")]
    log_level: Option<String>,
    /// Form of log messages
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORM")]
    log_format: Option<logging::Format>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand before a stdio MCP server: govern every call, and leave a receipt for each
    Wrap(wrap::Wrap),
    /// See it work on a real server, in a few seconds
    Demo(demo::Demo),
    /// Serve tools over Chio's own transport
    Serve(serve::Serve),
    /// Ways to speak MCP
    #[command(subcommand)]
    Mcp(mcp::Mcp),
    /// Tell what would be decided about a call, without making it
    Check(check::Check),
    /// Issue, narrow, look at, check and revoke capabilities
    #[command(subcommand)]
    Capability(capability::Command),
    /// List, show, check and follow receipts
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// Make checkpoints, prove and examine the log of receipts
    #[command(subcommand)]
    Log(log::Command),
    /// Sign and check the manifests of tool servers
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Emergency stop: deny every call from now on, or those of one agent
    Stop(stop::Whom),
    /// Lift an emergency stop
    Resume(stop::Whom),
    /// Write keys and a policy to edit; no other command needs it
    Init(init::Init),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the program on its arguments.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|command| command == SUPERVISE) {
        // Not a command for people: the process between us and a wrapped server, which must be small and start fast.
        return supervise(arguments.into_iter().skip(2));
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli) {
        Ok(answer) => answer.into(),
        Err(failure) => failure.report(),
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = with_environment(Cli::command()).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))
}

/// Help and version are answers; anything else that the parser says is wrong usage, which is exit code 1 here, because
/// 2 means "denied".
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when even this cannot be printed.
    drop(error.print());
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(cli: Cli) -> Result<Answer, Failure> {
    let Cli { global, command } = cli;
    let home = Home::resolve(global.home.clone())?;
    let configured = match command {
        Command::Wrap(_) | Command::Serve(_) | Command::Mcp(_) => configuration::read(&home)?,
        _ => None,
    };
    logging::start(&global, configured.map(|configuration| configuration.logging))?;
    match command {
        Command::Wrap(wrap) => serving(wrap.run(&home)),
        Command::Mcp(command) => serving(command.run(&home)),
        Command::Demo(demo) => serving(demo.run(&home)),
        Command::Serve(serve) => serving(serve.run(&home)),
        Command::Check(check) => check.run(&home),
        Command::Capability(command) => capability::run(command, &home),
        Command::Receipt(command) => receipt::run(command, &home),
        Command::Log(command) => log::run(command, &home),
        Command::Manifest(command) => manifest::run(command, &home),
        Command::Stop(whom) => stop::stop(&whom, &home),
        Command::Resume(whom) => stop::resume(&whom, &home),
        Command::Init(init) => init.run(&home),
        Command::Completions { shell } => completions(shell),
    }
}

/// Runs a command that serves, on all cores, to its end.
fn serving(command: impl Future<Output = Result<Answer, Failure>>) -> Result<Answer, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("starting the runtime")?;
    let answer = runtime.block_on(command);
    // A thread may still wait for standard input; the process ends nevertheless.
    runtime.shutdown_background();
    answer
}

fn completions(shell: Shell) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chio", &mut script);
    let mut out = output::Output::new();
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Answer::Yes)
}

/// Gives every option its environment variable, in every command. Values are not shown in the help: it must not depend
/// on who asks. An empty variable counts as unset, as everywhere else on a system.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let Some(long) = argument.get_long() else { return argument };
        let own = argument.get_env().map(OsString::from);
        let variable =
            own.unwrap_or_else(|| format!("CHIO_{}", long.to_uppercase().replace('-', "_")).into());
        if std::env::var_os(&variable).is_some_and(|value| value.is_empty()) {
            return argument.env(None::<&'static str>);
        }
        // Once for each option of a program that parses its arguments once.
        let variable: &'static std::ffi::OsStr = Box::leak(variable.into_boxed_os_str());
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
        let argument = argument.env(variable).hide_env_values(true).hide_env(true);
        if is_switch { argument.value_parser(FalseyValueParser::new()) } else { argument }
    });
    command.mut_subcommands(with_environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        with_environment(Cli::command()).debug_assert();
    }
}
