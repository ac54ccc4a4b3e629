//! `chio receipt show`: one receipt as a person reads it.

use chio_json::Signed;
use chio_spec::{Receipt, ReceiptMetadata};
use chio_store::Store;
use clap::Args;

use super::decision;
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::{Colour, Output};
use crate::cli::words::{plain, shorten};
use crate::cli::{moment, store};

/// Characters of the parameters that are shown to people.
const PARAMETERS_SHOWN: usize = 400;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the receipt
    id: String,
    /// Print the signed receipt, exactly as it is in the log
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let text = stored(home, &self.id)?;
        let mut out = Output::new();
        if self.json {
            out.line(text)?;
            return Ok(Answer::Yes);
        }
        let signed = Signed::<Receipt>::from_text(text)?;
        for line in lines(signed.view().map_err(Clone::clone)?, &out) {
            out.line(line)?;
        }
        Ok(Answer::Yes)
    }
}

/// The text of a receipt in this home's log.
pub(super) fn stored(home: &Home, id: &str) -> Result<String, Failure> {
    let unknown = || {
        Failure::new(format_args!("there is no receipt {id} in the log of this home"))
            .hint("chio receipt list shows what there is; --home names another home")
    };
    let store = store::open_existing(home)?.ok_or_else(unknown)?;
    let found = store::wait(async { store.receipt(id).await.map_err(store::explain) })?;
    found.map(|receipt| receipt.text).ok_or_else(unknown)
}

fn lines(receipt: &Receipt, out: &Output) -> Vec<String> {
    let (verdict, colour, reason) = decision(&receipt.decision);
    let called = plain(&format!("{}/{}", receipt.tool_server, receipt.tool_name));
    let mut lines = vec![
        format!("{}  {called}  {}", out.paint(colour, verdict), moment::rfc3339(receipt.timestamp)),
        format!("receipt      {}", plain(&receipt.id)),
    ];
    if !reason.is_empty() {
        lines.push(format!("reason       {}", plain(&reason)));
    }
    lines
        .push(format!("parameters   {}", plain(&shorten(receipt.action.parameters.get(), PARAMETERS_SHOWN))));
    lines.push(format!("capability   {}", plain(&receipt.capability_id)));
    let metadata = receipt.metadata.as_ref().and_then(|metadata| metadata.parse::<ReceiptMetadata>().ok());
    if let Some(metadata) = metadata {
        lines.extend(facts(&metadata));
    }
    lines.push(format!("policy       {}", plain(&receipt.policy_hash)));
    lines.push(format!("signed by    {}", receipt.kernel_key));
    if !receipt.evidence.is_empty() {
        lines.push("steps".to_owned());
    }
    for step in &receipt.evidence {
        let mark = if step.verdict { out.paint(Colour::Good, "ok") } else { out.paint(Colour::Bad, "no") };
        let details = step.details.as_deref().map(plain).unwrap_or_default();
        lines.push(format!("  {mark}  {:<20} {details}", plain(&step.guard_name)).trim_end().to_owned());
    }
    lines
}

fn facts(metadata: &ReceiptMetadata) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(attribution) = &metadata.attribution {
        lines.push(format!("holder       {}", attribution.subject_key));
    }
    if let Some(error) = &metadata.error {
        lines.push(format!("code         {} {}", error.code, plain(&error.name)));
    }
    if let Some(rule) = &metadata.rule {
        let place = match (&rule.file, rule.line, rule.column) {
            (Some(file), Some(line), Some(column)) => format!(" at {}:{line}:{column}", plain(file)),
            (Some(file), ..) => format!(" in {}", plain(file)),
            (None, ..) => " of the built-in policy".to_owned(),
        };
        lines.push(format!("rule         {}{place}", plain(&rule.id)));
    }
    if let Some(request) = &metadata.request {
        lines.push(format!("request      {} over {}", plain(&request.id), plain(&request.surface)));
    }
    if let Some(recovery) = &metadata.recovery {
        lines.push(format!(
            "admitted     {}, by a kernel that then ended",
            moment::rfc3339(recovery.intent_at)
        ));
    }
    lines
}
