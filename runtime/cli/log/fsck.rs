//! `chio log fsck`: every receipt, node, checkpoint, intent and counter of this home's log.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use chio_core::keys::PublicKey;
use chio_json::{MerkleHash, PublicKeyHex};
use chio_store::{CheckpointVerifier, FsckReport, SqliteStore, verify_checkpoint};
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::{Colour, Output};
use crate::cli::words::plain;
use crate::cli::{signers, store};

#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Accept the database as it is, after a backup was restored on purpose: what it lacks stays lost
    #[arg(long)]
    re_anchor: bool,
    /// Key that must have signed the checkpoints; can be repeated [default: the key of this home]
    #[arg(long = "key", value_name = "HEX", value_parser = signers::public_key)]
    keys: Vec<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    clean: bool,
    re_anchored: bool,
    receipts: u64,
    nodes: u64,
    checkpoints: u64,
    open_intents: u64,
    revocations: u64,
    root: Option<MerkleHash>,
    problems: &'a [String],
}

impl Fsck {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        if !home.has_store() {
            return Err(Failure::new(format_args!("there is no log in {}", home.path()?.display()))
                .hint("--home names another home"));
        }
        let trusted = signers::of_receipts(home, &self.keys, &[])?;
        let found = examine(home.path()?, trusted, self.re_anchor)?;
        let mut out = Output::new();
        if self.json {
            out.json(&Report {
                clean: found.is_clean(),
                re_anchored: self.re_anchor && found.is_clean(),
                receipts: found.receipts,
                nodes: found.nodes,
                checkpoints: found.checkpoints,
                open_intents: found.open_intents,
                revocations: found.revocations,
                root: found.root,
                problems: &found.problems,
            })?;
        } else {
            self.print(&found, &mut out)?;
        }
        Ok(if found.is_clean() { Answer::Yes } else { Answer::No })
    }

    fn print(&self, found: &FsckReport, out: &mut Output) -> Result<(), Failure> {
        for problem in &found.problems {
            out.line(plain(problem))?;
        }
        let verdict = match (found.is_clean(), self.re_anchor) {
            (true, false) => out.paint(Colour::Good, "clean"),
            (true, true) => out.paint(Colour::Good, "clean, and anchored again"),
            (false, false) => out.paint(Colour::Bad, "not clean"),
            (false, true) => out.paint(Colour::Bad, "not clean, so it was not anchored again"),
        };
        out.line(format!(
            "{verdict}: {} receipts, {} checkpoints, {} open intents, {} revocations",
            found.receipts, found.checkpoints, found.open_intents, found.revocations
        ))?;
        if let Some(root) = found.root {
            out.line(format!("root {root}"))?;
        }
        Ok(())
    }
}

/// Examines the log on a thread of its own, and tells people from time to time that it still does.
fn examine(path: &Path, trusted: Vec<PublicKeyHex>, re_anchor: bool) -> Result<FsckReport, Failure> {
    let (done, waiting) = mpsc::channel();
    let folder = path.to_owned();
    std::thread::spawn(move || {
        let verify: CheckpointVerifier =
            Box::new(move |checkpoint, previous| verify_checkpoint(checkpoint, previous, &trusted));
        let found = if re_anchor {
            SqliteStore::re_anchor(&folder, &verify)
        } else {
            SqliteStore::examine(&folder, &verify)
        };
        // The receiver waits until it is told.
        drop(done.send(found));
    });
    let mut seconds = 0_u64;
    loop {
        match waiting.recv_timeout(Duration::from_secs(1)) {
            Ok(found) => return found.map_err(store::explain),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                seconds += 1;
                if std::io::stderr().is_terminal() || seconds.is_multiple_of(30) {
                    eprintln!("examining {} for {seconds} s", path.display());
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("the examination broke off"));
            }
        }
    }
}
