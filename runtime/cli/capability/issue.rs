//! `chio capability issue`: the local authority hands out authority.

use std::path::PathBuf;

use chio_core::capability::{CapabilityTemplate, issue};
use chio_core::keys::PublicKey;
use chio_spec::{CapabilityId, ChioScope, Constraint};
use clap::{Args, ValueHint};

use super::grants::{self, ToolOperation};
use super::hand_out;
use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::home::Home;
use crate::cli::keys::{self, Role};
use crate::cli::{moment, policy, signers};

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// Public key of the only caller that may use the capability
    #[arg(long, value_name = "HEX", value_parser = signers::public_key)]
    subject: PublicKey,
    /// Server that owns the tools; * for every server
    #[arg(long, value_name = "ID")]
    server: Option<String>,
    /// Tool to allow, * for every tool of the server; can be repeated
    #[arg(long = "tool", value_name = "NAME", requires = "server")]
    tools: Vec<String>,
    /// Resource to allow: a URI, or a prefix followed by *; can be repeated
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<String>,
    /// Prompt to allow: a name, or a prefix followed by *; can be repeated
    #[arg(long = "prompt", value_name = "NAME")]
    prompts: Vec<String>,
    /// What may be done with the tools; can be repeated [default: invoke]
    #[arg(long = "operation", value_name = "OPERATION")]
    operations: Vec<ToolOperation>,
    /// How long the capability is valid, in seconds or as 10m, 2h, 1d
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = moment::parse_span)]
    ttl: u64,
    /// How often each tool may be called in all
    #[arg(long, value_name = "N")]
    max_invocations: Option<u32>,
    /// Let the holder pass everything on, narrowed
    #[arg(long)]
    delegate: bool,
    /// Ask for a proof that the caller holds the subject's key, with each call of the tools
    #[arg(long)]
    dpop: bool,
    /// Condition on the arguments of the tools, as TYPE=VALUE or JSON; can be repeated
    #[arg(long = "constraint", value_name = "CONSTRAINT", value_parser = grants::constraint)]
    constraints: Vec<Constraint>,
    /// Policy whose limit on validity holds [default: policy.yaml of the home folder, if there is one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Print the token and nothing else
    #[arg(long)]
    json: bool,
}

impl Issue {
    pub(super) fn run(self, home: &Home) -> Result<Answer, Failure> {
        let scope = self.scope()?;
        self.check_ttl(home)?;
        let now = moment::now();
        let expires_at =
            now.checked_add(self.ttl).ok_or_else(|| Failure::new("--ttl lies too far in the future"))?;
        let authority = keys::load_or_create(home, Role::Authority)?;
        let token = issue(
            &authority,
            CapabilityTemplate {
                id: new_id()?,
                subject: self.subject.hex(),
                scope,
                issued_at: now,
                expires_at,
                delegation_chain: Vec::new(),
            },
        )
        .doing("issuing the capability")?;
        hand_out(&token, self.json)?;
        Ok(Answer::Yes)
    }

    fn scope(&self) -> Result<ChioScope, Failure> {
        let operations = grants::tool_operations(&self.operations, self.delegate);
        let mut tools = Vec::with_capacity(self.tools.len());
        for tool in &self.tools {
            let server = self.server.as_deref().unwrap_or_default();
            let mut grant =
                grants::tool(server, tool, operations.clone())?.with_constraints(self.constraints.clone());
            if let Some(limit) = self.max_invocations {
                grant = grant.with_max_invocations(limit);
            }
            if self.dpop {
                grant = grant.with_dpop_required(true);
            }
            tools.push(grant);
        }
        if tools.is_empty() && self.resources.is_empty() && self.prompts.is_empty() {
            return Err(Failure::new("the capability would allow nothing")
                .hint("name what it allows: --server ID --tool NAME, --resource URI or --prompt NAME"));
        }
        Ok(ChioScope::new()
            .with_grants(tools)
            .with_resource_grants(
                self.resources.iter().map(|uri| grants::resource(uri, self.delegate)).collect(),
            )
            .with_prompt_grants(
                self.prompts.iter().map(|name| grants::prompt(name, self.delegate)).collect(),
            ))
    }

    /// The operator's policy limits what the authority issues. Where nobody wrote one, the command itself is the
    /// operator's word.
    fn check_ttl(&self, home: &Home) -> Result<(), Failure> {
        if self.ttl == 0 {
            return Err(Failure::new("a capability with --ttl 0 would never be valid")
                .hint("leave --ttl out for an hour"));
        }
        let Some(policy) = policy::written(home, self.policy.as_deref())? else { return Ok(()) };
        let limit = policy.max_capability_ttl();
        if self.ttl > limit {
            let asked = self.ttl;
            return Err(Failure::new(format_args!(
                "--ttl {asked} is longer than the {limit} seconds that {} allows",
                policy.source()
            ))
            .hint("raise `kernel.max_capability_ttl` there, or ask for less"));
        }
        Ok(())
    }
}

/// A new id for a capability.
pub(super) fn new_id() -> Result<CapabilityId, Failure> {
    CapabilityId::new(format!("cap-{}", uuid::Uuid::now_v7())).doing("naming the capability")
}
