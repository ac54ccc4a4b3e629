//! A running `chio mcp serve-http`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::home::Home;

/// Longest that an edge may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// An edge that is killed when it is dropped.
pub struct Edge {
    child: Child,
    pub address: String,
    stderr: Arc<Mutex<String>>,
}

/// The root of the repository, where `tests/mcp/fixture-command` is to be run.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The command that starts the fixture, with a record of its messages if there is a file for it.
pub fn fixture(record: Option<&Path>) -> Vec<String> {
    let line = std::fs::read_to_string(root().join("tests/mcp/fixture-command")).unwrap();
    let mut command: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if let Some(record) = record {
        command.extend(["--record".to_owned(), record.to_str().unwrap().to_owned()]);
    }
    command
}

/// The policy that lets everything through.
pub fn open_policy() -> PathBuf {
    root().join("tests/mcp/conformance-policy.yaml")
}

/// The policy that lets everything through but some tools.
pub fn policy_without(home: &Home, tools: &[&str]) -> PathBuf {
    let open = std::fs::read_to_string(open_policy()).unwrap();
    let file = home.side("policy.yaml");
    std::fs::write(&file, format!("guards:\n  tool_access:\n    block: [{}]\n{open}", tools.join(", ")))
        .unwrap();
    file
}

impl Edge {
    /// Starts an edge before the fixture, without authentication, and waits until it serves.
    pub fn of_fixture(home: &Home, config: Value, policy: &Path, record: Option<&Path>) -> Self {
        let fixture = fixture(record);
        let mut arguments = vec!["--policy", policy.to_str().unwrap(), "--server-id", "fixture", "--"];
        arguments.extend(fixture.iter().map(String::as_str));
        Self::start(home, config, &arguments)
    }

    /// Starts an edge with a configuration file and waits until it serves.
    pub fn start(home: &Home, config: Value, arguments: &[&str]) -> Self {
        Self::at(home, "127.0.0.1:0", config, arguments)
    }

    /// The same at an address of the test's choice.
    pub fn at(home: &Home, listen: &str, config: Value, arguments: &[&str]) -> Self {
        std::fs::create_dir_all(home.path()).unwrap();
        // JSON is YAML.
        std::fs::write(home.path().join("chio.yaml"), config.to_string()).unwrap();
        let mut command = home.command(&["mcp", "serve-http", "--listen", listen, "--json"]);
        command.args(arguments).current_dir(root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        keep(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (send, ready) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _ = send.send(lines.next());
            lines.for_each(drop);
        });
        let mut edge = Self { child, address: String::new(), stderr };
        let Ok(Some(Ok(line))) = ready.recv_timeout(PATIENCE) else {
            panic!("the edge did not get ready: {}", edge.stderr());
        };
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap_or_else(|| panic!("no address: {line}"));
        let address = url.trim_start_matches("http://");
        edge.address = address.split('/').next().unwrap().to_owned();
        edge
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end and waits until it has, so that its store is free and complete.
    pub fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "the edge did not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the edge ended with {status}: {}", self.stderr());
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
}
