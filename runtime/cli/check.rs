//! `chio check`: what would be decided about a call, without making it.
//!
//! The call goes through a real kernel with the policy in force, as a caller that presents no capability would make it;
//! only the tool server and the log are stand-ins that do and keep nothing. So the answer cannot differ from what
//! `chio wrap` would decide.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chio_json::Json;
use chio_kernel::{
    CallRequest, CallerSession, ChunkSink, Kernel, KernelError, KernelSettings, LocalAuthority, Outcome,
    Patience, StreamLimits, SystemClock, Target, ToolCall, ToolOutput, ToolServerConnection,
};
use chio_policy::{EffectivePolicy, Identity};
use chio_spec::{Decision, Receipt, ReceiptMetadata, ServerId, ToolDefinition, ToolName};
use chio_store::{MemoryStore, Store};
use clap::{Args, ValueHint};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::failure::{Answer, Failure, OrFail};
use super::home::Home;
use super::output::{Colour, Output};
use super::words::{Table, plain};
use super::{input, keys, policy, store};

/// Steps that only say that the stand-ins were reached.
const STAND_INS: [&str; 2] = ["admission", "dispatch"];

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Tool that would be called
    #[arg(long, value_name = "NAME")]
    tool: String,
    /// Its arguments: JSON, a file, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    params: String,
    /// Server that would be called; matters where the policy tells servers apart
    #[arg(long, value_name = "ID", default_value = "any-server")]
    server: String,
    /// Policy file [default: policy.yaml of the home folder, else the safe preset]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    decision: &'a Decision,
    code: Option<Code>,
    rule: Option<&'a RawValue>,
    steps: Vec<Step<'a>>,
    policy: &'a str,
    policy_hash: String,
}

#[derive(Serialize)]
struct Code {
    number: u16,
    name: &'static str,
}

#[derive(Serialize)]
struct Step<'a> {
    step: &'a str,
    passed: bool,
    details: Option<&'a str>,
}

impl Check {
    pub(crate) fn run(&self, home: &Home) -> Result<Answer, Failure> {
        let policy = Arc::new(policy::effective(home, self.policy.as_deref())?);
        let arguments = Json::from_text(input::text(&self.params)?).doing("reading --params")?;
        let server = ServerId::new(self.server.as_str()).doing("reading --server")?;
        let tool = ToolName::new(self.tool.as_str()).doing("reading --tool")?;
        let stopped = match store::open_existing(home)? {
            Some(store) => store.stops().everything.is_some(),
            None => false,
        };
        let outcome = store::wait(decide(Arc::clone(&policy), server, tool, arguments, stopped))?;
        let receipt = outcome.receipt.view().map_err(Clone::clone)?;
        let allowed = matches!(outcome.decision, Decision::Allow);
        let mut out = Output::new();
        if self.json {
            self.report(&outcome, receipt, &policy, &mut out)?;
        } else {
            print(&outcome, receipt, &policy, &mut out)?;
        }
        Ok(if allowed { Answer::Yes } else { Answer::No })
    }

    fn report(
        &self,
        outcome: &Outcome,
        receipt: &Receipt,
        policy: &EffectivePolicy,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let rule = metadata(receipt).rule.map(|rule| serde_json::value::to_raw_value(&rule)).transpose()?;
        out.json(&Report {
            decision: &outcome.decision,
            code: outcome.error.map(|code| Code { number: code.number(), name: code.name() }),
            rule: rule.as_deref(),
            steps: steps(receipt),
            policy: policy.source(),
            policy_hash: policy.hash().to_string(),
        })
    }
}

/// Lets a kernel that keeps nothing decide.
async fn decide(
    policy: Arc<EffectivePolicy>,
    server: ServerId,
    tool: ToolName,
    arguments: Json,
    stopped: bool,
) -> Result<Outcome, Failure> {
    let authority = Arc::new(keys::generate()?);
    let subject = keys::generate()?.public().hex();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let settings = KernelSettings {
        signing_key: Arc::new(keys::generate()?),
        trusted_issuers: BTreeSet::from([authority.public().hex()]),
        policy: Arc::clone(&policy),
        clock: Arc::new(SystemClock),
        stream_limits: StreamLimits::default(),
    };
    let kernel = Kernel::new(settings, Arc::clone(&store));
    if stopped {
        store.stop(None, kernel.now()).await?;
    }
    kernel.register(Arc::new(StandIn { id: server.clone(), tool: tool.clone() }));
    let target = Target::Tool(tool);
    let capability = LocalAuthority::new(authority, policy, subject, Identity::local())
        .capability_for(&target, &server, &kernel)?;
    let request = CallRequest {
        request_id: "check".to_owned(),
        surface: "check",
        caller: CallerSession::bound_to(subject),
        capability,
        ancestors: Vec::new(),
        dpop_proof: None,
        patience: Patience::Call,
        model: None,
        server_id: server,
        target,
        arguments,
        meta: None,
        result_limit: usize::MAX,
        chunks: None,
        cancel: CancellationToken::new(),
    };
    Ok(kernel.call(request).await)
}

/// A server that offers the one tool that is asked about, and does nothing.
struct StandIn {
    id: ServerId,
    tool: ToolName,
}

#[async_trait]
impl ToolServerConnection for StandIn {
    fn server_id(&self) -> &ServerId {
        &self.id
    }

    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError> {
        Ok(vec![ToolDefinition::new("A stand-in.", false, Json::null(), None, self.tool.clone())])
    }

    async fn invoke(&self, _call: &ToolCall, _chunks: &ChunkSink) -> Result<ToolOutput, KernelError> {
        Ok(ToolOutput::Value(Json::null()))
    }
}

fn metadata(receipt: &Receipt) -> ReceiptMetadata {
    receipt.metadata.as_ref().and_then(|metadata| metadata.parse().ok()).unwrap_or_default()
}

fn steps(receipt: &Receipt) -> Vec<Step<'_>> {
    let real = receipt.evidence.iter().filter(|step| !STAND_INS.contains(&step.guard_name.as_str()));
    real.map(|step| Step { step: &step.guard_name, passed: step.verdict, details: step.details.as_deref() })
        .collect()
}

fn print(
    outcome: &Outcome,
    receipt: &Receipt,
    policy: &EffectivePolicy,
    out: &mut Output,
) -> Result<(), Failure> {
    let called = plain(&format!("{}/{}", receipt.tool_server, receipt.tool_name));
    match &outcome.decision {
        Decision::Allow => out.line(format!("{}  {called}", out.paint(Colour::Good, "allow")))?,
        _ => out.line(format!("{}  {called}", out.paint(Colour::Bad, "deny")))?,
    }
    let rows: Vec<Vec<String>> = steps(receipt)
        .into_iter()
        .map(|step| {
            let (colour, mark) = if step.passed { (Colour::Good, "ok") } else { (Colour::Bad, "no") };
            vec![
                format!("  {}", out.paint(colour, mark)),
                plain(step.step),
                plain(step.details.unwrap_or_default()),
            ]
        })
        .collect();
    for line in Table::default().lines(&rows) {
        out.line(line)?;
    }
    if let Some(rule) = metadata(receipt).rule {
        let place = match (&rule.file, rule.line) {
            (Some(file), Some(line)) => format!("{}:{line}", plain(file)),
            _ => plain(policy.source()),
        };
        out.line(format!("rule    {} in {place}", plain(&rule.id)))?;
    }
    if let (Decision::Deny(deny), Some(code)) = (&outcome.decision, outcome.error) {
        out.line(format!(
            "told    the agent would read: {} (code {} {})",
            plain(&deny.reason),
            code.number(),
            code.name()
        ))?;
    }
    out.line(format!("policy  {}, sha256 {}", plain(policy.source()), policy.hash()))
}
