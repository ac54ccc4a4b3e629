//! Wrapped servers as child processes whose whole tree ends with us.
//!
//! A wrapped server is foreign code that starts what it likes: package runners that start servers,
//! servers that start browsers, daemons in sessions of their own. Left alone, these outlive their
//! caller and pile up. So the server is not our child but our grandchild: between us stands a small
//! supervisor, this same program re-executed, that adopts every orphan of the server (as child
//! subreaper on Linux) and ends the whole tree when the server exits, when it is told to, or when we
//! are gone, however we went.
//!
//! The lifeline is the server's own standard output: the supervisor watches the pipe's reading end,
//! which only we hold. It closes when we drop the server, exit, crash or are killed, so no signal has
//! to be sent and none can be missed. Nothing here needs `unsafe`.
//!
//! What this does not promise: a supervisor that is itself killed with SIGKILL cannot clean up. We then
//! kill its process group, which reaches all that did not leave it.
//!
//! The server's standard error is ours, inherited untouched: never lost, never buffered by us, and as
//! fast as whoever reads it.

mod supervise;
#[cfg(unix)]
mod tree;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::McpError;

pub use supervise::supervise;

/// The hidden subcommand of the `chio` binary that must call [`supervise`] with the arguments after it.
pub const SUPERVISE: &str = "supervise";

/// How long a tree may take to end after SIGTERM before it is killed.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long a server may take to exit by itself once its input is closed.
const EOF_GRACE: Duration = Duration::from_secs(1);

/// Exit status of the supervisor when the server's program does not exist, as in shells.
const NOT_FOUND: i32 = 127;
/// Exit status of the supervisor when the server's program cannot be executed, as in shells.
const NOT_EXECUTABLE: i32 = 126;

/// What to run, and with which differences from our own environment.
#[derive(Clone)]
pub struct ServerCommand {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    supervisor: Option<PathBuf>,
}

impl ServerCommand {
    /// A program with its arguments.
    pub fn new(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            directory: None,
            supervisor: None,
        }
    }

    /// Sets a variable in the server's environment, which otherwise is ours without the variables of Chio.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the server in another directory.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Names the program whose [`SUPERVISE`] subcommand stands between us and the server. Without it, that
    /// is the running program itself, which is right for `chio` and wrong for programs that embed this
    /// library.
    #[must_use]
    pub fn supervised_by(mut self, program: impl Into<PathBuf>) -> Self {
        self.supervisor = Some(program.into());
        self
    }

    /// The program, for messages.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Starts the server under a supervisor. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`McpError::NotStarted`] when not even the supervisor can be started. A program that does not exist
    /// shows later, as an exit: see [`ProcessHandle::wait`].
    pub fn spawn(&self) -> Result<WrappedProcess, McpError> {
        self.spawn_supervised().map_err(|source| self.not_started(source))
    }

    fn spawn_supervised(&self) -> std::io::Result<WrappedProcess> {
        let supervisor = match &self.supervisor {
            Some(program) => program.clone(),
            None => ourselves()?,
        };
        let mut command = Command::new(supervisor);
        command.arg(SUPERVISE).arg("--").arg(&self.program).args(&self.arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A group of its own: a Ctrl-C in our terminal must reach us alone, and we end the tree in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("the supervisor was started without pipes"));
        };
        Ok(WrappedProcess { handle: ProcessHandle { child }, stdin, stdout })
    }

    fn not_started(&self, source: std::io::Error) -> McpError {
        let command = self.program.to_string_lossy().into_owned();
        McpError::NotStarted { command, source: Arc::new(source) }
    }
}

impl fmt::Debug for ServerCommand {
    /// Without the values of the environment, which are where servers are told their secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("ServerCommand")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &names)
            .field("directory", &self.directory)
            .field("supervisor", &self.supervisor)
            .finish()
    }
}

/// The running program. Its file may have been replaced by another version since it was started; the system still
/// has the one that runs, whose supervisor is the one that fits.
fn ourselves() -> std::io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    let running = PathBuf::from("/proc/self/exe");
    Ok(if cfg!(target_os = "linux") && !file.exists() { running } else { file })
}

/// Whether a variable is one of our options: some are credentials, others tell where the keys are, and a
/// wrapped server has no business with any.
fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"CHIO_")
}

/// A running server: its pipes, and a handle to end it with. Dropping the pipes ends it too.
#[derive(Debug)]
pub struct WrappedProcess {
    /// Ends and awaits the process.
    pub handle: ProcessHandle,
    /// The server's standard input.
    pub stdin: ChildStdin,
    /// The server's standard output, and our end of the lifeline.
    pub stdout: ChildStdout,
}

/// The supervisor of a running server.
#[derive(Debug)]
pub struct ProcessHandle {
    child: Child,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its program does not exist or cannot be executed, so it never ran.
    NeverRan,
    /// It ended with this status, or was killed by a signal (128 + its number, as in shells).
    Status(i32),
    /// Its supervisor was killed, so that nothing is known.
    Unknown,
}

impl ProcessHandle {
    /// The process id of the supervisor, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the end of the server and of everything it started.
    pub async fn wait(&mut self) -> Exit {
        match self.child.wait().await {
            Ok(status) => exit(status),
            Err(error) => {
                tracing::warn!(%error, "cannot wait for the supervisor of a tool server");
                Exit::Unknown
            }
        }
    }

    /// Ends the tree and waits until nothing of it is left: a moment to exit by itself (its input must be
    /// closed by now), then SIGTERM, then after [`GRACE`] SIGKILL.
    pub async fn stop(&mut self) -> Exit {
        if let Ok(exit) = tokio::time::timeout(EOF_GRACE, self.wait()).await {
            return exit;
        }
        self.signal_supervisor();
        if let Ok(exit) = tokio::time::timeout(GRACE * 2, self.wait()).await {
            return exit;
        }
        tracing::warn!("the supervisor of a tool server did not end in time; killing its process group");
        self.kill_group();
        self.wait().await
    }

    #[cfg(unix)]
    fn signal_supervisor(&self) {
        // The pid cannot have been reused: the child is not yet awaited.
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    #[cfg(unix)]
    fn kill_group(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    #[cfg(unix)]
    fn pid(&self) -> Option<rustix::process::Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    }

    #[cfg(not(unix))]
    fn signal_supervisor(&self) {}

    #[cfg(not(unix))]
    fn kill_group(&mut self) {
        let _ = self.child.start_kill();
    }
}

fn exit(status: ExitStatus) -> Exit {
    match status.code() {
        Some(NOT_FOUND | NOT_EXECUTABLE) => Exit::NeverRan,
        Some(code) => Exit::Status(code),
        None => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::ServerCommand;

    #[test]
    fn what_a_server_is_told_in_its_environment_never_shows_when_it_is_printed() {
        let command = ServerCommand::new("server", ["--root"]).with_env("API_KEY", "s3cr3t");
        let shown = format!("{command:?}");
        assert!(shown.contains("API_KEY") && !shown.contains("s3cr3t"), "{shown}");
    }
}
