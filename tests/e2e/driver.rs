//! The stock Python client, driven through a plan of steps: what it was answered comes back as JSON.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::home::{Home, chio, finish};

/// Longest that a plan may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one client saw.
#[derive(Debug)]
pub struct Session {
    /// The answer to each step, in order.
    pub answers: Vec<Value>,
    /// Requests of the server that reached the client.
    pub asked: Vec<Value>,
    /// What the program wrote to standard error.
    pub stderr: String,
}

/// A file of the `drivers` folder.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/drivers").join(name)
}

/// Starts `chio wrap` with these arguments from the stock client, and lets it take the steps.
pub fn drive(python: &Path, home: &Home, folder: &Path, wrap: &[&str], steps: Value) -> Session {
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let plan = json!({
        "command": chio(),
        "args": std::iter::once("wrap").chain(wrap.iter().copied()).collect::<Vec<_>>(),
        "env": {"CHIO_HOME": home.path(), "PATH": std::env::var("PATH").unwrap()},
        "cwd": folder,
        "stderr": stderr.path(),
        "steps": steps,
    });
    let mut command = Command::new(python);
    command.arg(file("client.py")).arg(plan.to_string());
    let ran = finish(command, PATIENCE);
    let stderr = std::fs::read_to_string(stderr.path()).unwrap();
    assert!(ran.status.success(), "the client failed: {}\nchio: {stderr}", ran.stderr);
    let mut report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
    let list = |value: Value| match value {
        Value::Array(list) => list,
        other => panic!("no list: {other}"),
    };
    Session { answers: list(report["answers"].take()), asked: list(report["asked"].take()), stderr }
}

/// The verdict of the published verifier on each receipt of a home.
pub fn foreign_verdicts(python: &Path, home: &Home) -> Vec<Value> {
    let receipts = home.side("receipts.json");
    std::fs::write(&receipts, home.ok(&["receipt", "list", "--json"])).unwrap();
    let mut command = Command::new(python);
    command.arg(file("verify.py")).arg(&receipts);
    let ran = finish(command, PATIENCE);
    assert!(ran.status.success(), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}
