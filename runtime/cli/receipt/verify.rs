//! `chio receipt verify`: integrity and origin, told apart.
//!
//! A receipt carries the key that signed it, so by itself it only proves that nobody altered it since: anybody can sign
//! anything with a fresh key. The exit code is 0 only when the signer is one that the user trusts.

use std::path::Path;

use chio_core::keys::PublicKey;
use chio_core::receipt::{SignerTrust, trust, verify};
use chio_core::{checkpoint, merkle};
use chio_json::{PublicKeyHex, strict};
use chio_spec::{ReceiptId, ReceiptProofBundle};
use clap::Args;
use serde::Serialize;

use super::show::stored;
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::{Colour, Output};
use crate::cli::words::plain;
use crate::cli::{input, signers};

/// Findings shown one by one to people; of more, the bad ones and the sum.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Receipts or proof bundles: a file, - for standard input, the JSON itself, or the id of a receipt in this home
    #[arg(value_name = "FILE|ID|-")]
    receipt: String,
    /// Key that must have signed; can be repeated [default: the key of this home]
    #[arg(long = "key", value_name = "HEX", value_parser = signers::public_key)]
    keys: Vec<PublicKey>,
    /// Further key whose receipts are trusted; can be repeated
    #[arg(long = "trust-issuer", value_name = "HEX", value_parser = signers::public_key)]
    issuers: Vec<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What was found about one receipt, or one bundle of receipt, proof and checkpoint.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// `valid`, `integrity_only` or `invalid`.
    pub(crate) verdict: &'static str,
    /// The receipt's id, if it has one.
    pub(crate) id: Option<String>,
    /// Whether the key in the receipt signed it.
    pub(crate) signature_valid: bool,
    /// Whether the hash of the parameters is the one stated.
    pub(crate) parameter_hash_valid: bool,
    /// The decision.
    pub(crate) decision: Option<String>,
    /// The key in the receipt.
    pub(crate) signer_key: Option<PublicKeyHex>,
    /// Whether that key is a trusted one.
    pub(crate) signer_trusted: bool,
    /// For a bundle: whether the receipt is in the log that the signed checkpoint states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) included: Option<bool>,
    /// Why something above is not as it should be.
    pub(crate) reasons: Vec<String>,
}

impl Finding {
    /// What the finding means for the exit code.
    pub(crate) fn answer(&self) -> Answer {
        match self.verdict {
            "valid" => Answer::Yes,
            "integrity_only" => Answer::Undecided,
            _ => Answer::No,
        }
    }

    fn invalid(reason: String) -> Finding {
        Finding {
            verdict: "invalid",
            id: None,
            signature_valid: false,
            parameter_hash_valid: false,
            decision: None,
            signer_key: None,
            signer_trusted: false,
            included: None,
            reasons: vec![reason],
        }
    }
}

/// Several findings.
#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    valid: usize,
    integrity_only: usize,
    invalid: usize,
    receipts: &'a [Finding],
}

impl Verify {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let trusted = signers::of_receipts(home, &self.keys, &self.issuers)?;
        let text = self.text(home)?;
        let mut findings: Vec<Finding> = match input::values(&text) {
            Ok(values) => values.iter().map(|value| examine(value, &trusted)).collect(),
            Err(reason) => vec![Finding::invalid(format!("the text cannot be read: {reason}"))],
        };
        if findings.is_empty() {
            // Nothing was proven, and "valid" would say that something was.
            findings.push(Finding::invalid("there is no receipt in it".to_owned()));
        }
        let answer = findings.iter().map(Finding::answer).max().unwrap_or(Answer::No);
        let mut out = Output::new();
        match findings.as_slice() {
            [finding] if self.json => out.json(finding)?,
            findings if self.json => out.json(&Report {
                verdict: word(answer),
                valid: count(findings, Answer::Yes),
                integrity_only: count(findings, Answer::Undecided),
                invalid: count(findings, Answer::No),
                receipts: findings,
            })?,
            findings => print(findings, &mut out)?,
        }
        Ok(answer)
    }

    /// What is to be verified. A name that is no file may be the id of a receipt in the log.
    fn text(&self, home: &Home) -> Result<String, Failure> {
        let argument = self.receipt.as_str();
        let names_a_file = argument == "-" || argument.trim_ascii_start().starts_with(['{', '[']);
        if !names_a_file && !Path::new(argument).exists() && ReceiptId::new(argument).is_ok() {
            return stored(home, argument)
                .map_err(|failure| failure.context(format_args!("{argument} is no file either")));
        }
        input::text(argument)
    }
}

/// Verifies one receipt, or one bundle, against the keys that are trusted.
pub(crate) fn examine(text: &str, trusted: &[PublicKeyHex]) -> Finding {
    match strict::parse(text) {
        Ok(value) if value.get("receipt").is_some() => bundle(text, trusted),
        _ => receipt(text, trusted),
    }
}

fn receipt(text: &str, trusted: &[PublicKeyHex]) -> Finding {
    let report = verify(text);
    let trust = trust(&report, trusted);
    Finding {
        verdict: match trust {
            SignerTrust::Trusted => "valid",
            SignerTrust::IntegrityOnly => "integrity_only",
            SignerTrust::Invalid => "invalid",
        },
        id: strict::parse(text).ok().and_then(|value| Some(value.get("id")?.as_str()?.to_owned())),
        signature_valid: report.signature_valid,
        parameter_hash_valid: report.parameter_hash_valid,
        decision: report.decision,
        signer_key: report.signer_key,
        signer_trusted: trust == SignerTrust::Trusted,
        included: None,
        reasons: report.reasons,
    }
}

/// A bundle is as good as the weakest of its parts: the receipt, the checkpoint's signature, and the proof between them.
fn bundle(text: &str, trusted: &[PublicKeyHex]) -> Finding {
    let bundle: ReceiptProofBundle = match strict::from_str(text) {
        Ok(bundle) => bundle,
        Err(error) => return Finding::invalid(format!("the proof bundle cannot be read: {error}")),
    };
    let mut finding = receipt(bundle.receipt.text(), trusted);
    let mut included = true;
    if let Err(fault) = checkpoint::verify(&bundle.checkpoint) {
        included = false;
        finding.reasons.push(fault.to_string());
    }
    if let Err(fault) = merkle::verify_receipt(&bundle.receipt, &bundle.inclusion, &bundle.checkpoint.body) {
        included = false;
        finding.reasons.push(fault.to_string());
    }
    if !included {
        finding.verdict = "invalid";
    } else if finding.verdict == "valid" && !trusted.contains(&bundle.checkpoint.body.kernel_key) {
        finding.verdict = "integrity_only";
        finding.reasons.push("the checkpoint is signed by a key that nothing vouches for".to_owned());
    }
    finding.included = Some(included);
    finding
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "valid",
        Answer::Undecided => "integrity_only",
        Answer::No => "invalid",
    }
}

fn count(findings: &[Finding], answer: Answer) -> usize {
    findings.iter().filter(|finding| finding.answer() == answer).count()
}

fn print(findings: &[Finding], out: &mut Output) -> Result<(), Failure> {
    let few = findings.len() <= SHOWN;
    for finding in findings.iter().filter(|finding| few || finding.answer() != Answer::Yes) {
        let (mark, colour) = match finding.answer() {
            Answer::Yes => ("valid", Colour::Good),
            Answer::Undecided => ("integrity only", Colour::Open),
            Answer::No => ("invalid", Colour::Bad),
        };
        let id = finding.id.as_deref().map_or_else(|| "(no id)".to_owned(), plain);
        let decision = finding.decision.as_deref().unwrap_or("no decision");
        out.line(format!("{}  {id}  {decision}", out.paint(colour, mark)))?;
        if let Some(key) = finding.signer_key {
            let origin =
                if finding.signer_trusted { "a trusted key" } else { "embedded key: integrity, not origin" };
            out.line(format!("  signed by {key} ({origin})"))?;
        }
        if finding.included == Some(true) {
            out.line("  in the log of the signed checkpoint")?;
        }
        for reason in &finding.reasons {
            out.line(format!("  {}", plain(reason)))?;
        }
    }
    if findings.len() > 1 {
        let [valid, undecided, invalid] =
            [Answer::Yes, Answer::Undecided, Answer::No].map(|answer| count(findings, answer));
        out.line(format!("{valid} valid, {undecided} integrity only, {invalid} invalid"))?;
    }
    if findings.iter().any(|finding| finding.answer() == Answer::Undecided) {
        eprintln!("name the kernel's key with --key to prove the origin too");
    }
    Ok(())
}
