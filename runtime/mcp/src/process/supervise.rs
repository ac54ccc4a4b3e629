//! The supervisor: what runs between us and a wrapped server.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a command as the root of a tree, and ends the whole tree when the command exits, when this
/// process gets SIGTERM, SIGINT or SIGHUP, or when nobody can read its standard output any more. The
/// `chio` binary calls this for its hidden subcommand, with the arguments after it; a leading `--` is
/// skipped.
///
/// The exit status is the command's own; 127 when the program does not exist and 126 when it cannot be
/// executed.
#[must_use]
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    arguments.next_if(|argument| argument == "--");
    let Some(program) = arguments.next() else {
        eprintln!("chio supervise: no command was given; write it after `--`");
        return ExitCode::from(2);
    };
    run(&program, arguments)
}

#[cfg(not(unix))]
fn run(_: &OsString, _: impl Iterator<Item = OsString>) -> ExitCode {
    eprintln!("chio supervise: this operating system is not supported yet");
    ExitCode::FAILURE
}

#[cfg(unix)]
fn run(program: &OsString, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    unix::run(program, arguments)
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags};
    use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
    use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
    use tokio::sync::oneshot;

    use crate::process::{GRACE, NOT_EXECUTABLE, NOT_FOUND, tree};

    /// How often the tree is looked at again while it ends; exits of our own children wake us at once.
    const LOOK_AGAIN: Duration = Duration::from_millis(50);

    /// How long SIGKILL is repeated for what does not die.
    const GIVE_UP: Duration = Duration::from_secs(3);

    pub(super) fn run(program: &OsString, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        // Before anything is started: an orphan made before this would be lost.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            eprintln!("chio supervise: cannot adopt orphans ({error}); daemons of the server may survive it");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let code = match runtime {
            Ok(runtime) => runtime.block_on(watch(program, arguments)),
            Err(error) => Err(error),
        };
        match code {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("chio supervise: {error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn watch(program: &OsString, arguments: impl Iterator<Item = OsString>) -> io::Result<u8> {
        // Listen before starting, so that no signal falls between.
        let mut child_ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let lifeline = watch_lifeline();

        // A group of its own, so that it can be signalled where processes cannot be listed.
        let started = Command::new(program).args(arguments).process_group(0).spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                eprintln!("chio: cannot start the tool server `{}`: {error}", program.to_string_lossy());
                let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
        };
        let root =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        // Exits are collected below for all our children alike. std's handle neither kills nor waits.
        drop(child);

        let mut tree = Tree { root, status: None };
        tokio::pin!(lifeline);
        loop {
            tokio::select! {
                _ = child_ended.recv() => {
                    tree.reap();
                    if tree.status.is_some() {
                        break;
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => break,
                _ = &mut lifeline => break,
            }
        }
        // Whoever reads our output should see its end as soon as the server's processes are gone.
        release_stdio();
        tree.end(&mut child_ended).await;
        Ok(tree.status.map_or(128 + 15, exit_status))
    }

    /// The processes below us.
    struct Tree {
        root: Pid,
        status: Option<WaitStatus>,
    }

    impl Tree {
        /// Collects every exit that waits, of the root and of adopted orphans alike.
        fn reap(&mut self) {
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                if pid == self.root && (status.exited() || status.signaled()) {
                    self.status = Some(status);
                }
            }
        }

        /// SIGTERM to all, then after [`GRACE`] SIGKILL to all until nothing is left. What starts anew
        /// in between is found and signalled too.
        async fn end(&mut self, child_ended: &mut SignalStream) {
            let kill_at = Instant::now() + GRACE;
            let mut terminated = Vec::new();
            loop {
                self.reap();
                let alive = self.alive();
                if alive.is_empty() {
                    // The last ones may have died since they were collected, and the root's status counts.
                    self.reap();
                    return;
                }
                let now = Instant::now();
                if now < kill_at {
                    for pid in alive.into_iter().filter(|pid| !terminated.contains(pid)).collect::<Vec<_>>() {
                        let _ = rustix::process::kill_process(pid, Signal::TERM);
                        // A stopped process would take no notice until it is continued.
                        let _ = rustix::process::kill_process(pid, Signal::CONT);
                        terminated.push(pid);
                    }
                } else if now < kill_at + GIVE_UP {
                    for pid in alive {
                        let _ = rustix::process::kill_process(pid, Signal::KILL);
                    }
                } else {
                    // Another user's processes, or some that hang in the operating system.
                    eprintln!(
                        "chio supervise: {} processes of the tool server cannot be killed",
                        alive.len()
                    );
                    return;
                }
                let _ = tokio::time::timeout(LOOK_AGAIN, child_ended.recv()).await;
            }
        }

        #[cfg(target_os = "linux")]
        fn alive(&self) -> Vec<Pid> {
            tree::descendants()
        }

        /// Without a list of processes, the root stands for its group.
        #[cfg(not(target_os = "linux"))]
        fn alive(&self) -> Vec<Pid> {
            if rustix::process::test_kill_process_group(self.root).is_ok() {
                vec![self.root]
            } else {
                Vec::new()
            }
        }
    }

    /// Fires when the reading end of our standard output is closed, which is when our caller has dropped
    /// the server or is gone.
    fn watch_lifeline() -> oneshot::Receiver<()> {
        let (gone, lifeline) = oneshot::channel();
        let parent = rustix::process::getppid();
        std::thread::spawn(move || {
            let stdout = io::stdout();
            loop {
                // No event is asked for: errors and hang-ups are always reported.
                let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
                let patience = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
                match rustix::event::poll(&mut watched, Some(&patience)) {
                    Ok(0) | Err(rustix::io::Errno::INTR) => {}
                    Ok(_) => break,
                    Err(error) => {
                        eprintln!("chio supervise: cannot watch the caller: {error}");
                        break;
                    }
                }
                // A second thread of the same rope, for output that is not a pipe.
                if rustix::process::getppid() != parent {
                    break;
                }
            }
            let _ = gone.send(());
        });
        lifeline
    }

    fn release_stdio() {
        if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(&null);
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    }

    fn exit_status(status: WaitStatus) -> u8 {
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        u8::try_from(code.unwrap_or(1)).unwrap_or(u8::MAX)
    }
}
