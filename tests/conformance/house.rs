//! The program under test, with a home folder of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A home folder that goes away with the test.
pub(crate) struct House {
    folder: tempfile::TempDir,
}

/// A serving program. Dropping it kills it, like a power cut.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl House {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the test's own beside the home folder.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The program, with nothing of the tester's own environment.
    pub(crate) fn chio(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chio"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHIO_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).env("CHIO_HOME", self.path("home")).current_dir(self.folder.path());
        command
    }

    /// Runs a command that must succeed and returns what it prints.
    pub(crate) fn print(&self, arguments: &[&str]) -> String {
        let output = self.chio(arguments).stdin(Stdio::null()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "chio {arguments:?}: {printed}{complaint}");
        printed
    }

    /// Runs a command that prints JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.print(arguments)).unwrap()
    }

    /// Starts `chio serve --demo` and waits until it listens.
    pub(crate) fn serve(&self, address: &str, options: &[&str]) -> Served {
        let arguments =
            [&["serve", "--listen", address, "--server-id", "demo", "--json"], options, &["--demo"]].concat();
        self.ready(&arguments, "listening")
    }

    /// Starts `chio mcp serve-http` with this configuration and waits until it listens.
    pub(crate) fn serve_http(&self, config: &Value) -> Served {
        std::fs::create_dir_all(self.path("home")).unwrap();
        // JSON is YAML.
        self.file("home/chio.yaml", &config.to_string());
        let mut served = self.ready(&["mcp", "serve-http", "--listen", "127.0.0.1:0", "--json"], "url");
        let url = served.address.strip_prefix("http://").unwrap();
        served.address = url.strip_suffix("/mcp").unwrap().to_owned();
        served
    }

    /// Starts a command and waits for the line that says, as this member, where it is to be found.
    fn ready(&self, arguments: &[&str], member: &str) -> Served {
        let mut child = self
            .chio(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("a line when it is ready");
        Served { child, address: ready[member].as_str().unwrap().to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
