//! `chio capability inspect`: a token in words. Nothing is decided here; `verify` does that.

use chio_core::capability::{TimeStatus, VerifiedToken, time_status};
use chio_json::PublicKeyHex;
use chio_spec::{CapabilityToken, ChioScope, Constraint, Operation, ToolGrant};
use clap::Args;
use serde::Serialize;

use crate::cli::failure::{Answer, Failure};
use crate::cli::home::Home;
use crate::cli::output::Output;
use crate::cli::words::{Table, plain};
use crate::cli::{moment, signers};

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The capability: a file, - for standard input, or the JSON itself
    token: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    issuer: PublicKeyHex,
    issuer_trusted: bool,
    subject: PublicKeyHex,
    issued_at: u64,
    expires_at: u64,
    time_status: &'static str,
    ancestors: Vec<&'a str>,
    scope: &'a ChioScope,
    signature_valid: bool,
}

impl Inspect {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let token = super::token(&self.token)?;
        let view = token.view().map_err(Clone::clone)?;
        let now = moment::now();
        let mut out = Output::new();
        let signature = VerifiedToken::verify(&token);
        let issuer_trusted = signers::of_capabilities(home, &[])?.contains(&view.issuer);
        if self.json {
            out.json(&Report {
                id: view.id.as_str(),
                issuer: view.issuer,
                issuer_trusted,
                subject: view.subject,
                issued_at: view.issued_at,
                expires_at: view.expires_at,
                time_status: time_status(view.issued_at, view.expires_at, now).as_str(),
                ancestors: view.delegation_chain.iter().map(|link| link.capability_id.as_str()).collect(),
                scope: &view.scope,
                signature_valid: signature.is_ok(),
            })?;
            return Ok(Answer::Yes);
        }
        for line in description(view, now) {
            out.line(line)?;
        }
        match signature {
            Ok(_) if issuer_trusted => out.line("signature    holds; this home trusts the issuer")?,
            Ok(_) => out.line("signature    holds; the issuer is not one that this home trusts")?,
            Err(fault) => out.line(format!("signature    does not hold: {fault}"))?,
        }
        Ok(Answer::Yes)
    }
}

/// A token in words, line by line.
pub(super) fn description(token: &CapabilityToken, now: u64) -> Vec<String> {
    let mut lines = vec![
        format!("capability   {}", plain(&token.id)),
        format!("holder       {}", token.subject),
        format!("issuer       {}", token.issuer),
        format!(
            "valid        {} to {}, {}",
            moment::rfc3339(token.issued_at),
            moment::rfc3339(token.expires_at),
            left(token, now)
        ),
    ];
    if !token.delegation_chain.is_empty() {
        let ancestors: Vec<String> =
            token.delegation_chain.iter().map(|link| plain(&link.capability_id)).collect();
        lines.push(format!("passed on    from {}", ancestors.join(", then ")));
    }
    lines.push("allows".to_owned());
    let rows: Vec<Vec<String>> = grants(&token.scope);
    lines.extend(Table::default().lines(&rows).into_iter().map(|line| format!("  {line}")));
    lines
}

fn left(token: &CapabilityToken, now: u64) -> String {
    match time_status(token.issued_at, token.expires_at, now) {
        TimeStatus::Valid => format!("{} left", moment::span(token.expires_at.saturating_sub(now))),
        TimeStatus::Expired => format!("expired {} ago", moment::span(now.saturating_sub(token.expires_at))),
        TimeStatus::NotYetValid => format!("begins in {}", moment::span(token.issued_at.saturating_sub(now))),
    }
}

fn grants(scope: &ChioScope) -> Vec<Vec<String>> {
    let tools = scope.grants.iter().map(|grant| {
        let target = format!("{}/{}", plain(&grant.server_id), plain(&grant.tool_name));
        vec!["tool".to_owned(), target, operations(&grant.operations), limits(grant)]
    });
    let resources = scope
        .resource_grants
        .iter()
        .map(|grant| vec!["resource".to_owned(), plain(&grant.uri_pattern), operations(&grant.operations)]);
    let prompts = scope
        .prompt_grants
        .iter()
        .map(|grant| vec!["prompt".to_owned(), plain(&grant.prompt_name), operations(&grant.operations)]);
    let rows: Vec<_> = tools.chain(resources).chain(prompts).collect();
    if rows.is_empty() { vec![vec!["nothing".to_owned()]] } else { rows }
}

fn operations(operations: &[Operation]) -> String {
    operations.iter().map(|operation| operation.as_str()).collect::<Vec<_>>().join(", ")
}

fn limits(grant: &ToolGrant) -> String {
    let mut limits = Vec::new();
    if let Some(count) = grant.max_invocations {
        limits.push(format!("at most {count} calls"));
    }
    for (name, amount) in [("a call", &grant.max_cost_per_invocation), ("all calls", &grant.max_total_cost)] {
        if let Some(amount) = amount {
            limits.push(format!("at most {} {} for {name}", amount.units, amount.currency.as_str()));
        }
    }
    if grant.dpop_required == Some(true) {
        limits.push("proof of the key needed".to_owned());
    }
    limits.extend(grant.constraints.iter().map(constraint));
    limits.join("; ")
}

fn constraint(constraint: &Constraint) -> String {
    let Ok(value) = serde_json::to_value(constraint) else {
        return "a constraint that cannot be shown".to_owned();
    };
    let kind = value.get("type").and_then(serde_json::Value::as_str).unwrap_or("constraint");
    match value.get("value") {
        Some(value) => format!("{} {}", plain(kind), plain(&value.to_string())),
        None => plain(kind),
    }
}
