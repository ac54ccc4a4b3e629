//! A home folder of one test, and the program run in it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest that one command may take. The machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// A home folder that is gone when the test is over.
pub struct Home {
    folder: TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The folder of all state.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A folder beside it, for files of the test.
    pub fn side(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in this home, with nothing of ours in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(chio());
        command.args(arguments).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHIO_") {
                command.env_remove(name);
            }
        }
        command.env("CHIO_HOME", self.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), PATIENCE)
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(ran.status.success(), "chio {} failed: {ran:?}", arguments.join(" "));
        ran.stdout
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.ok(arguments);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// The exit code of a command.
    pub fn code(&self, arguments: &[&str]) -> i32 {
        let ran = self.run(arguments);
        ran.status.code().unwrap_or_else(|| panic!("killed: {ran:?}"))
    }

    /// Every receipt in the log, oldest first.
    pub fn receipts(&self) -> Vec<Value> {
        match self.json(&["receipt", "list", "--json"]) {
            Value::Array(receipts) => receipts,
            other => panic!("no array: {other}"),
        }
    }

    /// Every receipt in the log as the text that was signed.
    pub fn receipt_texts(&self) -> Vec<String> {
        let listed = self.ok(&["receipt", "list", "--json"]);
        let texts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&listed).unwrap();
        texts.iter().map(|text| text.get().to_owned()).collect()
    }

    /// Examines the whole log, which must be in order, and gives the number of its receipts.
    pub fn fsck(&self) -> u64 {
        let ran = self.run(&["log", "fsck", "--json"]);
        assert_eq!(ran.status.code(), Some(0), "the log is not in order: {ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["clean"], true, "{report}");
        report["receipts"].as_u64().unwrap()
    }

    /// Verifies every receipt one by one, as a user would.
    pub fn verify_each(&self) {
        for receipt in self.receipts() {
            let id = receipt["id"].as_str().unwrap();
            assert_eq!(self.code(&["receipt", "verify", id]), 0, "receipt {id} does not verify");
        }
    }
}

/// The built program.
pub fn chio() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chio"))
}

/// Runs a command to its end; one that takes longer than `patience` is killed, and the test fails.
pub fn finish(mut command: Command, patience: Duration) -> Ran {
    // Files, because a full pipe would stop a command that nobody reads yet.
    let mut stdout = tempfile::tempfile().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if started.elapsed() > patience {
            let _ = child.kill();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (stdout, stderr) = (content(&mut stdout), content(&mut stderr));
    let Some(status) = status else {
        panic!("{command:?} did not end within {patience:?}\nstdout: {stdout}\nstderr: {stderr}");
    };
    Ran { status, stdout, stderr }
}

fn content(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}
