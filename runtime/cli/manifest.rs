//! `chio manifest`: what a tool server says about itself, signed by its publisher.

use std::path::PathBuf;

use chio_core::keys::PublicKey;
use chio_core::manifest::{ManifestReport, sign, verify};
use chio_json::{PublicKeyHex, canonical, strict};
use chio_spec::ToolManifest;
use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use super::failure::{Answer, Failure, OrFail};
use super::home::Home;
use super::output::{Colour, Output};
use super::words::plain;
use super::{input, keys, signers};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign a manifest with its publisher's key
    Sign(Sign),
    /// Check a signed manifest
    Verify(Verify),
}

pub(crate) fn run(command: Command, _home: &Home) -> Result<Answer, Failure> {
    match command {
        Command::Sign(command) => command.run(),
        Command::Verify(command) => command.run(),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The manifest (chio.manifest.v1): a file, - for standard input, or the JSON itself
    manifest: String,
    /// Key file of the publisher
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key: PathBuf,
}

impl Sign {
    fn run(self) -> Result<Answer, Failure> {
        let text = input::text(&self.manifest)?;
        let publisher = keys::open(&self.key)?;
        let manifest: ToolManifest = strict::from_str(&text)
            .doing("reading the manifest")
            .hint("a manifest is a JSON object of the form chio.manifest.v1")?;
        if manifest.public_key != publisher.public().hex() {
            return Err(Failure::new("the manifest's `public_key` is not the key that signs")
                .hint(format_args!("write {} there, or sign with the other key", publisher.public())));
        }
        let signed = sign(&publisher, manifest).doing("signing the manifest")?;
        let text = canonical::to_string(&signed)?;
        let report = verify(&text);
        if let (false, Some(reason)) = (report.valid(), report.reasons.first()) {
            return Err(Failure::new(reason).context("checking the manifest before it is handed out"));
        }
        Output::new().line(text)?;
        Ok(Answer::Yes)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The signed manifest: a file, - for standard input, or the JSON itself
    manifest: String,
    /// Key of a publisher to trust; can be repeated
    #[arg(long = "key", value_name = "HEX", value_parser = signers::public_key)]
    publishers: Vec<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    verdict: &'static str,
    structure_valid: bool,
    signature_valid: bool,
    embedded_public_key_valid: bool,
    embedded_public_key_matches_signer: bool,
    signer_key: Option<PublicKeyHex>,
    signer_trusted: bool,
    reasons: &'a [String],
}

impl Verify {
    fn run(self) -> Result<Answer, Failure> {
        let report = verify(input::text(&self.manifest)?.trim_ascii());
        let signer_trusted = report
            .signer_key
            .is_some_and(|signer| self.publishers.iter().any(|publisher| publisher.hex() == signer));
        let (answer, verdict, colour) = match (report.valid(), signer_trusted) {
            (false, _) => (Answer::No, "invalid", Colour::Bad),
            (true, true) => (Answer::Yes, "valid", Colour::Good),
            (true, false) => (Answer::Undecided, "integrity only", Colour::Open),
        };
        let mut out = Output::new();
        if self.json {
            out.json(&json(&report, verdict, signer_trusted))?;
            return Ok(answer);
        }
        let signer = report.signer_key.map_or_else(|| "nobody".to_owned(), |signer| signer.to_string());
        out.line(format!("{}  signed by {signer}", out.paint(colour, verdict)))?;
        for reason in &report.reasons {
            out.line(format!("  {}", plain(reason)))?;
        }
        if answer == Answer::Undecided {
            out.line("  embedded key: integrity, not origin; name the publisher's key with --key")?;
        }
        Ok(answer)
    }
}

fn json<'a>(report: &'a ManifestReport, verdict: &'static str, signer_trusted: bool) -> Report<'a> {
    Report {
        verdict,
        structure_valid: report.structure_valid,
        signature_valid: report.signature_valid,
        embedded_public_key_valid: report.embedded_public_key_valid,
        embedded_public_key_matches_signer: report.embedded_public_key_matches_signer,
        signer_key: report.signer_key,
        signer_trusted,
        reasons: &report.reasons,
    }
}
