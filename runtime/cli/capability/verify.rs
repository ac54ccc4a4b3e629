//! `chio capability verify`: would a kernel that trusts these issuers admit the token?
//!
//! What the bytes prove is decided by the bytes. Where that needs something that is not at hand (an ancestor that nobody
//! presented, an issuer that nothing vouches for) the answer is "cannot be decided", never "yes".

use chio_core::capability::{
    AdmissionFault, DEFAULT_MAX_DEPTH, TimeStatus, VerifiedToken, admit, verify_chain,
};
use chio_core::keys::PublicKey;
use chio_json::{PublicKeyHex, Signed};
use chio_spec::CapabilityToken;
use chio_store::{SqliteStore, Store};
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::home::Home;
use crate::cli::output::{Colour, Output};
use crate::cli::words::plain;
use crate::cli::{input, moment, policy, signers, store};

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The capability: a file, - for standard input, or the JSON itself
    token: String,
    /// Capabilities that it was derived from, in any order [default: those that this home has seen]
    #[arg(long, value_name = "FILE")]
    ancestors: Vec<String>,
    /// Check as of this time: Unix seconds or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment::parse_moment)]
    at: Option<u64>,
    /// Key of a further issuer to trust, beside this home's own; can be repeated
    #[arg(long = "trust-issuer", value_name = "HEX", value_parser = signers::public_key)]
    issuers: Vec<PublicKey>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What was found out.
#[derive(Debug, Serialize)]
struct Report {
    verdict: &'static str,
    id: Option<String>,
    signature_valid: bool,
    delegation_chain_valid: bool,
    time_status: Option<&'static str>,
    issuer_key: Option<PublicKeyHex>,
    /// Whether the chain leads to a trusted issuer without widening; null when it was not asked.
    admitted: Option<bool>,
    /// The revoked id, if this home knows that the token or an ancestor is revoked.
    revoked: Option<String>,
    reasons: Vec<String>,
}

impl Verify {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let text = super::token_text(&self.token)?;
        let now = self.at.unwrap_or_else(moment::now);
        let trusted = signers::of_capabilities(home, &self.issuers)?;
        let known = self.known(home)?;
        let (answer, report) = judge(&text, now, &trusted, &known)?;

        let mut out = Output::new();
        if self.json {
            out.json(&report)?;
        } else {
            let (word, colour) = match answer {
                Answer::Yes => ("valid", Colour::Good),
                Answer::No => ("invalid", Colour::Bad),
                Answer::Undecided => ("cannot be decided", Colour::Open),
            };
            out.line(format!(
                "{}  {}",
                out.paint(colour, word),
                plain(report.id.as_deref().unwrap_or("(no id)"))
            ))?;
            for reason in &report.reasons {
                out.line(format!("  {}", plain(reason)))?;
            }
        }
        Ok(answer)
    }

    /// What is at hand besides the token itself.
    fn known(&self, home: &Home) -> Result<Known, Failure> {
        let mut presented = Vec::new();
        for argument in &self.ancestors {
            let values = input::values(&input::text(argument)?).map_err(Failure::new);
            for value in values.doing(format_args!("reading the ancestors in {argument}"))? {
                presented.push(Signed::from_text(value)?);
            }
        }
        // As a kernel of this home would have it; without a policy of its own, that is the default.
        let max_depth = match home.path() {
            Ok(_) => policy::written(home, None)?.map(|policy| policy.delegation_depth_limit()),
            Err(_) => None,
        };
        let max_depth = max_depth.unwrap_or(DEFAULT_MAX_DEPTH);
        Ok(Known { presented, store: store::open_existing(home)?, max_depth })
    }
}

/// Tokens and revocations at hand, and the longest chain that is accepted.
struct Known {
    presented: Vec<Signed<CapabilityToken>>,
    store: Option<SqliteStore>,
    max_depth: usize,
}

impl Known {
    fn token(&self, id: &str) -> Result<Option<Signed<CapabilityToken>>, Failure> {
        let presented =
            self.presented.iter().find(|token| token.view().is_ok_and(|token| token.id.as_str() == id));
        if let Some(token) = presented {
            return Ok(Some(token.clone()));
        }
        let Some(store) = &self.store else { return Ok(None) };
        match store::wait(async { Ok(store.token(id).await?) })? {
            Some(token) => Ok(Some(Signed::from_text(token.text.to_string())?)),
            None => Ok(None),
        }
    }

    fn revoked(&self, token: &CapabilityToken) -> Option<String> {
        let mut ids = vec![token.id.as_str()];
        ids.extend(token.delegation_chain.iter().map(|link| link.capability_id.as_str()));
        self.store.as_ref()?.first_revoked(&ids).map(str::to_owned)
    }
}

fn judge(text: &str, now: u64, trusted: &[PublicKeyHex], known: &Known) -> Result<(Answer, Report), Failure> {
    let chain = verify_chain(text, now, Some(known.max_depth));
    let mut report = Report {
        verdict: "invalid",
        id: None,
        signature_valid: chain.signature_valid,
        delegation_chain_valid: chain.delegation_chain_valid,
        time_status: chain.time_status.map(TimeStatus::as_str),
        issuer_key: chain.issuer_key,
        admitted: None,
        revoked: None,
        reasons: chain.reasons.clone(),
    };
    let token = Signed::<CapabilityToken>::from_text(text.to_owned())
        .map_err(|error| error.to_string())
        .and_then(|signed| VerifiedToken::verify(&signed).map_err(|fault| fault.to_string()));
    let token = match token {
        Ok(token) => token,
        Err(reason) => {
            note(&mut report, reason);
            return Ok((Answer::No, report));
        }
    };
    report.id = Some(token.token().id.to_string());
    report.revoked = known.revoked(token.token());
    if let Some(id) = &report.revoked {
        let reason = format!("capability {id} is revoked");
        note(&mut report, reason);
    }
    if !chain.valid() || report.revoked.is_some() {
        return Ok((Answer::No, report));
    }

    let mut ancestors = Vec::new();
    for link in &token.token().delegation_chain {
        let id = link.capability_id.as_str();
        let Some(ancestor) = known.token(id)? else {
            note(&mut report, format!("the ancestor {id} is not at hand; present it with --ancestors"));
            report.verdict = "undecided";
            return Ok((Answer::Undecided, report));
        };
        match VerifiedToken::verify(&ancestor) {
            Ok(ancestor) => ancestors.push(ancestor),
            Err(fault) => {
                note(&mut report, format!("ancestor {id}: {fault}"));
                return Ok((Answer::No, report));
            }
        }
    }
    let (answer, verdict) = match admit(&token, &ancestors, trusted, known.max_depth) {
        Ok(()) => {
            report.admitted = Some(true);
            (Answer::Yes, "valid")
        }
        Err(fault @ AdmissionFault::IssuerUntrusted { .. }) => {
            note(&mut report, format!("{fault}; name it with --trust-issuer if you trust it"));
            report.admitted = Some(false);
            (Answer::Undecided, "undecided")
        }
        Err(fault) => {
            note(&mut report, fault.to_string());
            report.admitted = Some(false);
            (Answer::No, "invalid")
        }
    };
    report.verdict = verdict;
    Ok((answer, report))
}

fn note(report: &mut Report, reason: String) {
    if !report.reasons.contains(&reason) {
        report.reasons.push(reason);
    }
}
