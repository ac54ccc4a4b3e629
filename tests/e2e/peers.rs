//! Peers that nobody of us wrote, in pinned versions: Python environments and npm packages under `target/peers`, or in
//! the folder that the variable `CHIO_TEST_TOOLS` names.
//!
//! They are installed once, under a lock that tests of other processes respect too, and used again later.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::home::finish;

/// The stock MCP client and server library, and the published verifier of receipts.
const PYTHON: &[&str] = &["mcp==1.30.0", "chio-sdk==0.1.0"];

/// Stock MCP servers.
const NPM: &[&str] = &[
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-everything@2026.8.31",
];

/// Downloads can be slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// A Python interpreter that has the packages.
pub fn python() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED.get_or_init(|| python_with("python", PYTHON)).as_deref()
}

/// The folder whose `node_modules` holds the packages.
pub fn npm() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED.get_or_init(|| npm_with("npm", NPM)).as_deref()
}

/// A Python interpreter in an environment of its own, named `kind`, that has these packages.
pub fn python_with(kind: &str, packages: &[&str]) -> Option<PathBuf> {
    let install = |folder: &Path| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(folder.join("bin/python")).args(pip).args(packages))
    };
    installed(kind, packages, install).map(|folder| folder.join("bin/python"))
}

/// A folder of its own, named `kind`, whose `node_modules` holds these packages.
pub fn npm_with(kind: &str, packages: &[&str]) -> Option<PathBuf> {
    let install = |folder: &Path| {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let options = ["install", "--no-audit", "--no-fund", "--no-progress", "--prefix"];
        run(Command::new("npm").args(options).arg(folder).args(packages))
    };
    installed(kind, packages, install)
}

/// The folder of all peers.
pub fn root() -> PathBuf {
    match std::env::var_os("CHIO_TEST_TOOLS") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("peers"),
    }
}

/// The folder of one kind of peers, ready to be used.
fn installed(
    kind: &str,
    packages: &[&str],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Option<PathBuf> {
    let root = root();
    fs::create_dir_all(&root).unwrap();
    let lock = File::create(root.join(format!("{kind}.lock"))).unwrap();
    lock.lock().unwrap();

    let (folder, ready) = (root.join(kind), root.join(format!("{kind}.ready")));
    let wanted = packages.join("\n");
    if fs::read_to_string(&ready).is_ok_and(|found| found == wanted) && folder.exists() {
        return Some(folder);
    }
    let _ = fs::remove_file(&ready);
    let _ = fs::remove_dir_all(&folder);
    match install(&folder) {
        Ok(()) => {
            fs::write(&ready, wanted).unwrap();
            Some(folder)
        }
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!("the {kind} peers cannot be installed: {error}")
        }
        Err(error) => {
            // Not with `eprintln!`, whose output nobody sees of a test that passes.
            let mut stderr = std::io::stderr();
            let _ = writeln!(
                stderr,
                "SKIPPED: the {kind} peers cannot be installed, so they test nothing: {error}"
            );
            None
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let owned = std::mem::replace(command, Command::new("true"));
    let ran = finish(owned, PATIENCE);
    if ran.status.success() { Ok(()) } else { Err(ran.stderr) }
}
