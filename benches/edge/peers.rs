//! What is measured beside the edge, and behind it: programs that nobody of us wrote, in pinned versions.
//!
//! They are installed once, below `target/peers`, and used again later. A gateway that cannot be installed is left out,
//! and named. The upstream has to be there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The other gateways, as far as they could be installed.
pub(crate) struct Peers {
    /// `mcp-proxy` 0.6.0 of the Rust registry.
    pub(crate) rust_proxy: Option<PathBuf>,
    /// `supergateway` 4.0.0 of npm.
    pub(crate) supergateway: Option<PathBuf>,
    /// A Python interpreter with `fastmcp` 4.0.11.
    pub(crate) fastmcp: Option<PathBuf>,
    /// What is missing, and why.
    pub(crate) skipped: Vec<String>,
}

impl Peers {
    pub(crate) fn none() -> Peers {
        Peers { rust_proxy: None, supergateway: None, fastmcp: None, skipped: Vec::new() }
    }

    pub(crate) fn install() -> Peers {
        let mut peers = Peers::none();
        peers.rust_proxy =
            peers.installed("mcp-proxy 0.6.0 (Rust)", "rust-mcp-proxy", "bin/mcp-proxy", |folder| {
                let package = ["mcp-proxy", "--version", "0.6.0", "--locked", "--no-default-features"];
                let mut command = cargo();
                command.arg("install").args(package).arg("--root").arg(folder);
                run(command.arg("--target-dir").arg(folder.join("target")))
            });
        let program = "node_modules/supergateway/dist/index.js";
        peers.supergateway = peers.installed("supergateway 4.0.0 (npm)", "supergateway", program, |folder| {
            let options = ["install", "--no-audit", "--no-fund", "--no-progress", "--prefix"];
            run(Command::new("npm").args(options).arg(folder).arg("supergateway@4.0.0"))
        });
        peers.fastmcp = peers.installed("fastmcp 4.0.11 (PyPI)", "fastmcp", "bin/python", |folder| {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "fastmcp==4.0.11"];
            run(Command::new(folder.join("bin/python")).args(pip))
        });
        peers
    }

    /// The program of a peer, installed unless it is there already.
    fn installed(
        &mut self,
        name: &str,
        folder: &str,
        program: &str,
        install: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Option<PathBuf> {
        let folder = root().join(folder);
        let (program, ready) = (folder.join(program), folder.with_extension("ready"));
        if program.exists() && fs::read_to_string(&ready).is_ok_and(|found| found == name) {
            return Some(program);
        }
        eprintln!("installing {name}");
        fs::create_dir_all(&folder).expect("a folder");
        match install(&folder) {
            Ok(()) => {
                fs::write(&ready, name).expect("a mark");
                Some(program)
            }
            Err(error) => {
                eprintln!("SKIPPED: {name} cannot be installed, so it is not measured: {error}");
                self.skipped.push(name.to_owned());
                None
            }
        }
    }
}

/// The MCP server behind every path, built.
pub(crate) fn upstream() -> PathBuf {
    let target = root().join("upstream");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/edge/upstream/Cargo.toml");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path", manifest]);
    run(command.arg("--target-dir").arg(&target)).expect("the upstream");
    target.join("release/echo-upstream")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a parent").join("peers")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
}
