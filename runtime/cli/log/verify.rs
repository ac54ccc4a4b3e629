//! `chio log verify`: checks what somebody's log handed out, with nothing but the text.

use chio_core::checkpoint::{body_hash, verify};
use chio_core::keys::PublicKey;
use chio_json::{PublicKeyHex, strict};
use chio_spec::KernelCheckpoint;
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::{Colour, Output};
use crate::cli::receipt::examine;
use crate::cli::words::plain;
use crate::cli::{input, signers};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Proof bundles or checkpoints: a file, - for standard input, or the JSON itself
    #[arg(value_name = "FILE|-")]
    proof: String,
    /// Key that must have signed; can be repeated [default: the key of this home]
    #[arg(long = "key", value_name = "HEX", value_parser = signers::public_key)]
    keys: Vec<PublicKey>,
    /// Further key that is trusted; can be repeated
    #[arg(long = "trust-issuer", value_name = "HEX", value_parser = signers::public_key)]
    issuers: Vec<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What was found about one bundle or checkpoint.
#[derive(Debug, Serialize)]
struct Checked {
    /// `valid`, `integrity_only` or `invalid`.
    verdict: &'static str,
    /// What it is, in words.
    what: String,
    reasons: Vec<String>,
}

impl Checked {
    fn answer(&self) -> Answer {
        match self.verdict {
            "valid" => Answer::Yes,
            "integrity_only" => Answer::Undecided,
            _ => Answer::No,
        }
    }
}

impl Verify {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let trusted = signers::of_receipts(home, &self.keys, &self.issuers)?;
        let checked = check_all(&input::text(&self.proof)?, &trusted);
        let answer = checked.iter().map(Checked::answer).max().unwrap_or(Answer::No);
        let mut out = Output::new();
        if self.json {
            match checked.as_slice() {
                [one] => out.json(one)?,
                several => out.json(&several)?,
            }
            return Ok(answer);
        }
        for one in &checked {
            let (word, colour) = match one.answer() {
                Answer::Yes => ("valid", Colour::Good),
                Answer::Undecided => ("integrity only", Colour::Open),
                Answer::No => ("invalid", Colour::Bad),
            };
            out.line(format!("{}  {}", out.paint(colour, word), plain(&one.what)))?;
            for reason in &one.reasons {
                out.line(format!("  {}", plain(reason)))?;
            }
        }
        if answer == Answer::Undecided {
            eprintln!("name the kernel's key with --key to prove the origin too");
        }
        Ok(answer)
    }
}

fn check_all(text: &str, trusted: &[PublicKeyHex]) -> Vec<Checked> {
    let unreadable = |reason: String| {
        vec![Checked { verdict: "invalid", what: "the text".to_owned(), reasons: vec![reason] }]
    };
    let values = match input::values(text) {
        Ok(values) if values.is_empty() => return unreadable("there is nothing in it to verify".to_owned()),
        Ok(values) => values,
        Err(error) => return unreadable(format!("it cannot be read: {error}")),
    };
    let mut previous: Option<KernelCheckpoint> = None;
    let mut checked = Vec::with_capacity(values.len());
    for value in &values {
        match strict::from_str::<KernelCheckpoint>(value) {
            Ok(checkpoint) => {
                checked.push(statement(&checkpoint, previous.as_ref(), trusted));
                previous = Some(checkpoint);
            }
            Err(_) => checked.push(bundle(value, trusted)),
        }
    }
    checked
}

fn bundle(text: &str, trusted: &[PublicKeyHex]) -> Checked {
    let finding = examine(text, trusted);
    let mut reasons = finding.reasons;
    let mut verdict = finding.verdict;
    if finding.included.is_none() {
        verdict = "invalid";
        reasons.insert(
            0,
            "it is neither a checkpoint nor a proof bundle; chio receipt verify checks receipts".to_owned(),
        );
    }
    let id = finding.id.unwrap_or_else(|| "(no id)".to_owned());
    Checked { verdict, what: format!("receipt {id} in the log"), reasons }
}

/// One checkpoint, and whether it follows the one before it in the input where their numbers say so.
fn statement(
    checkpoint: &KernelCheckpoint,
    previous: Option<&KernelCheckpoint>,
    trusted: &[PublicKeyHex],
) -> Checked {
    let body = &checkpoint.body;
    let what = format!(
        "checkpoint {} over {} receipts, root {}",
        body.checkpoint_seq, body.tree_size, body.merkle_root
    );
    let mut reasons = Vec::new();
    if let Err(fault) = verify(checkpoint) {
        reasons.push(fault.to_string());
    }
    let before =
        previous.filter(|before| before.body.checkpoint_seq.checked_add(1) == Some(body.checkpoint_seq));
    if let Some(before) = before {
        if body_hash(&before.body).ok() != body.previous_checkpoint_sha256 {
            reasons.push(format!(
                "it does not name checkpoint {} as the one before it",
                before.body.checkpoint_seq
            ));
        }
        if before.body.batch_end_seq.checked_add(1) != Some(body.batch_start_seq) {
            reasons.push(format!("it does not begin where checkpoint {} ends", before.body.checkpoint_seq));
        }
    }
    let verdict = if !reasons.is_empty() {
        "invalid"
    } else if trusted.contains(&body.kernel_key) {
        "valid"
    } else {
        reasons.push(format!("signed by {}: embedded key: integrity, not origin", body.kernel_key));
        "integrity_only"
    };
    Checked { verdict, what, reasons }
}
