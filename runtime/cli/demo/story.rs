//! The demonstration, told step by step as it happens.

use std::ffi::OsString;

use chio_core::receipt::verify;
use chio_json::Signed;
use chio_spec::{Decision, Receipt, ReceiptMetadata};
use serde_json::Value;

use super::choose::{self, Choice};
use super::client::{CallAnswer, Client};
use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::node::Node;
use crate::cli::output::{Colour, Output};
use crate::cli::words::{plain, shorten};
use crate::cli::{log, receipt, store};

/// Characters of a tool's answer that are shown.
const PREVIEW: usize = 90;

/// Names of tools that are shown.
const NAMES: usize = 6;

/// One call and the receipt it left.
struct Made {
    receipt_id: String,
    receipt: Signed<Receipt>,
}

/// Tells the story to its end.
pub(super) async fn tell(
    node: &Node,
    client: &Client,
    command: &[OsString],
    kept_in: Option<&Home>,
    out: &mut Output,
) -> Result<Answer, Failure> {
    let shown: Vec<String> = command.iter().map(|word| plain(&word.to_string_lossy())).collect();
    let what =
        if shown.is_empty() { "a built-in server with three notes".to_owned() } else { shown.join(" ") };
    out.line(format!("Chio stands between an agent and {what}"))?;
    out.line(format!(
        "policy   {}: secrets and .git are out of reach, everything else leaves a receipt",
        node.policy().source()
    ))?;
    out.line(format!("key      {} signs the receipts", node.key().fingerprint()))?;

    step(out, 1, "The agent lists the tools")?;
    if !command.is_empty() {
        out.line("   starting the server; a package runner may download it first")?;
    }
    let name = client.initialize().await?;
    let tools = client.tools().await?;
    let hidden = client.all_tools().await?.len().saturating_sub(tools.len());
    let mut names: Vec<String> = tools
        .iter()
        .filter_map(|tool| tool.get("name").and_then(Value::as_str))
        .map(plain)
        .take(NAMES)
        .collect();
    if tools.len() > NAMES {
        names.push("…".to_owned());
    }
    out.line(format!(
        "   {}: {} tools offered, {hidden} hidden: {}",
        plain(&name),
        tools.len(),
        names.join(", ")
    ))?;

    step(out, 2, "It makes a call that the policy allows")?;
    let allowed = match choose::harmless(&tools, command) {
        Some(choice) => Some(make(node, client, &choice, out).await?),
        None => {
            out.line(
                "   left out: no tool of this server is known to do no harm, and none is tried out here",
            )?;
            None
        }
    };
    if let Some(Made { receipt, .. }) = &allowed
        && receipt.view().map_err(Clone::clone)?.decision != Decision::Allow
    {
        return Err(Failure::new("the call was not completed, so there is nothing to show")
            .hint("run the server by hand to see why; its messages stand above"));
    }

    step(out, 3, "It makes a call that the policy denies")?;
    let Some(choice) = choose::forbidden(&tools, command) else {
        return Err(Failure::new("the server offers no tools, so there is nothing to deny"));
    };
    let denied = make(node, client, &choice, out).await?;
    if !matches!(denied.receipt.view().map_err(Clone::clone)?.decision, Decision::Deny(_)) {
        return Err(Failure::new(format_args!("the call with {} was not denied", choose::SECRET)));
    }
    out.line("   the server never saw this call")?;

    step(out, 4, "Anybody can check the receipts, without asking this kernel")?;
    let made: Vec<&Made> = allowed.iter().chain([&denied]).collect();
    check(node, &made, out).await?;

    step(out, 5, "Somebody changes the record: the denied call becomes an allowed one")?;
    tamper(&denied, out)?;

    out.line("")?;
    let command = if shown.is_empty() { "CMD".to_owned() } else { shown.join(" ") };
    out.line(format!("That was all. To put Chio before this server for good:  chio wrap -- {command}"))?;
    if let Some(home) = kept_in {
        out.line(format!("The receipts are kept:  chio receipt list{}", home.option()))?;
    }
    Ok(Answer::Yes)
}

fn step(out: &mut Output, number: u8, what: &str) -> Result<(), Failure> {
    out.line("")?;
    out.line(format!("{number}. {what}"))
}

/// Makes a call, shows what the agent sees, and fetches the receipt.
async fn make(node: &Node, client: &Client, choice: &Choice, out: &mut Output) -> Result<Made, Failure> {
    let Choice { tool, arguments } = choice;
    out.line(format!("   call     {} {}", plain(tool), plain(&shorten(&arguments.to_string(), PREVIEW))))?;
    let CallAnswer { text, is_error, receipt_id } = client.call(tool, arguments).await?;
    let text = shorten(&plain(&text.lines().take(4).collect::<Vec<_>>().join(" · ")), PREVIEW);
    out.line(format!("   answer   {}{text}", if is_error { "error: " } else { "" }))?;
    let stored = node.kernel.store().receipt(&receipt_id).await.map_err(store::explain)?;
    let stored =
        stored.ok_or_else(|| Failure::new(format_args!("the receipt {receipt_id} is not in the log")))?;
    let receipt = Signed::<Receipt>::from_text(stored.text)?;
    let view = receipt.view().map_err(Clone::clone)?;
    match &view.decision {
        Decision::Deny(deny) => {
            let metadata: ReceiptMetadata =
                view.metadata.as_ref().and_then(|metadata| metadata.parse().ok()).unwrap_or_default();
            let rule = metadata.rule.map(|rule| format!(", rule {}", plain(&rule.id))).unwrap_or_default();
            let verdict = out.paint(Colour::Bad, "deny");
            out.line(format!("   receipt  {verdict} by {}{rule}", plain(&deny.guard)))?;
        }
        Decision::Allow => out.line(format!("   receipt  {}", out.paint(Colour::Good, "allow")))?,
        _ => out.line(format!("   receipt  {}", out.paint(Colour::Open, "the call did not complete")))?,
    }
    out.line(format!("            {}", out.paint(Colour::Dim, &plain(&receipt_id))))?;
    Ok(Made { receipt_id, receipt })
}

/// Verifies the receipts as a stranger would who knows the kernel's key: each within its bundle.
async fn check(node: &Node, made: &[&Made], out: &mut Output) -> Result<(), Failure> {
    let store = node.kernel.store();
    node.kernel.checkpoint().await?;
    let checkpoint = store.latest_checkpoint().await.map_err(store::explain)?;
    let checkpoint = checkpoint.ok_or_else(|| Failure::new("no checkpoint was made"))?;
    for Made { receipt_id, .. } in made {
        let bundle = log::bundle(&**store, receipt_id, &checkpoint).await?;
        let finding = receipt::examine(&bundle, &[node.key().hex()]);
        if finding.answer() != Answer::Yes || finding.included != Some(true) {
            return Err(Failure::new(format_args!(
                "the receipt {receipt_id} does not verify: {}",
                finding.reasons.join("; ")
            )));
        }
        let decision = finding.decision.as_deref().unwrap_or_default();
        let valid = out.paint(Colour::Good, "valid");
        out.line(format!(
            "   {valid}    {decision:<5} signature, parameters and signer hold; it is in the log"
        ))?;
    }
    out.line(format!(
        "   the log  {} receipts under root {}…, in signed checkpoint {}",
        checkpoint.tree_size,
        shorten_root(&checkpoint.root.to_string()),
        checkpoint.seq
    ))
}

fn shorten_root(root: &str) -> &str {
    root.get(..18).unwrap_or(root)
}

fn tamper(denied: &Made, out: &mut Output) -> Result<(), Failure> {
    let text = denied.receipt.text();
    let changed = text.replacen(r#""verdict":"deny""#, r#""verdict":"allow""#, 1);
    let report = verify(&changed);
    if changed == text || report.signature_valid {
        return Err(Failure::new("the changed copy was not caught"));
    }
    let caught = out.paint(Colour::Good, "caught");
    out.line(format!("   {caught}   {}", report.reasons.join("; ")))
}
