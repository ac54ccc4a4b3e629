//! `chio capability attenuate`: the holder passes a capability on, narrowed, without asking anybody.
//!
//! The child starts as everything that its parent may pass on, and the options take away from it. The right to pass on
//! further is not inherited: it is asked for with `--delegate`.

use std::path::PathBuf;

use chio_core::capability::{Attenuate, attenuate};
use chio_core::keys::PublicKey;
use chio_spec::{ChioScope, Constraint, Operation, PromptGrant, ResourceGrant, ToolGrant, ToolName};
use clap::{Args, ValueHint};

use super::grants;
use super::hand_out;
use super::issue::new_id;
use crate::cli::failure::{Answer, Failure, OrFail};
use crate::cli::{keys, moment, signers};

#[derive(Debug, Args)]
pub(crate) struct Narrow {
    /// The capability to pass on: a file, - for standard input, or the JSON itself
    token: String,
    /// Key file of its holder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key: PathBuf,
    /// Public key of the new holder
    #[arg(long, value_name = "HEX", value_parser = signers::public_key)]
    subject: PublicKey,
    /// Keep this tool only; can be repeated
    #[arg(long = "tool", value_name = "NAME")]
    tools: Vec<String>,
    /// Keep the tools of this server only
    #[arg(long, value_name = "ID")]
    server: Option<String>,
    /// Keep this resource only; can be repeated
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<String>,
    /// Keep this prompt only; can be repeated
    #[arg(long = "prompt", value_name = "NAME")]
    prompts: Vec<String>,
    /// How long the child is valid, in seconds or as 10m, 2h, 1d [default: as long as its parent]
    #[arg(long, value_name = "SECONDS", value_parser = moment::parse_span)]
    ttl: Option<u64>,
    /// How often each tool may be called in all
    #[arg(long, value_name = "N")]
    max_invocations: Option<u32>,
    /// Further condition on the arguments of the tools, as TYPE=VALUE or JSON; can be repeated
    #[arg(long = "add-constraint", value_name = "CONSTRAINT", value_parser = grants::constraint)]
    constraints: Vec<Constraint>,
    /// Ask for a proof that the caller holds the subject's key, with each call of the tools
    #[arg(long)]
    dpop: bool,
    /// Let the new holder pass everything on in turn
    #[arg(long)]
    delegate: bool,
    /// Print the token and nothing else
    #[arg(long)]
    json: bool,
}

impl Narrow {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let parent = super::token(&self.token)?;
        let view = parent.view().map_err(Clone::clone)?;
        let holder = keys::open(&self.key)?;
        let now = moment::now();
        let expires_at = match self.ttl {
            Some(ttl) => {
                now.checked_add(ttl).ok_or_else(|| Failure::new("--ttl lies too far in the future"))?
            }
            None => view.expires_at,
        };
        let scope = self.scope(&view.scope)?;
        let request = Attenuate { id: new_id()?, subject: self.subject.hex(), scope, expires_at, now };
        let child = attenuate(&holder, &parent, request)
            .doing("passing the capability on")
            .hint("chio capability inspect shows what the parent allows")?;
        hand_out(&child, self.json)?;
        Ok(Answer::Yes)
    }

    fn scope(&self, parent: &ChioScope) -> Result<ChioScope, Failure> {
        let everything = self.tools.is_empty()
            && self.server.is_none()
            && self.resources.is_empty()
            && self.prompts.is_empty();
        let keeps_tools = everything || !self.tools.is_empty() || self.server.is_some();
        let mut scope = ChioScope::new();
        if keeps_tools {
            scope = scope.with_grants(self.tool_grants(parent)?);
        }
        let resources =
            if everything { inherited(&parent.resource_grants) } else { asked_resources(&self.resources) };
        let prompts =
            if everything { inherited(&parent.prompt_grants) } else { asked_prompts(&self.prompts) };
        scope = scope
            .with_resource_grants(resources.into_iter().filter_map(|grant| self.passed_on(grant)).collect())
            .with_prompt_grants(prompts.into_iter().filter_map(|grant| self.passed_on(grant)).collect());
        if scope == ChioScope::new() {
            return Err(Failure::new("nothing of the parent would be left, or may be passed on").hint(
                "only grants with the `delegate` operation can be passed on; see chio capability inspect",
            ));
        }
        Ok(scope)
    }

    fn tool_grants(&self, parent: &ChioScope) -> Result<Vec<ToolGrant>, Failure> {
        let mut grants = Vec::new();
        for origin in inherited(&parent.grants) {
            let Some(mut origin) = self.passed_on(origin) else { continue };
            if let Some(server) = &self.server {
                match origin.server_id.as_str() {
                    "*" => origin.server_id = grants::server_id(server)?,
                    own if own == server => {}
                    _ => continue,
                }
            }
            for constraint in &self.constraints {
                if !origin.constraints.contains(constraint) {
                    origin.constraints.push(constraint.clone());
                }
            }
            if let Some(limit) = self.max_invocations {
                origin.max_invocations = Some(limit);
            }
            if self.dpop {
                origin.dpop_required = Some(true);
            }
            if self.tools.is_empty() {
                grants.push(origin);
                continue;
            }
            for tool in &self.tools {
                let own = origin.tool_name.as_str();
                if own == "*" || own == tool {
                    let mut grant = origin.clone();
                    grant.tool_name =
                        ToolName::new(tool).doing(format_args!("reading the tool name {tool:?}"))?;
                    grants.push(grant);
                }
            }
        }
        for tool in &self.tools {
            if !grants.iter().any(|grant| grant.tool_name.as_str() == tool) {
                return Err(Failure::new(format_args!(
                    "no grant of the parent that may be passed on covers {tool:?}"
                ))
                .hint("chio capability inspect shows what the parent allows"));
            }
        }
        Ok(grants)
    }

    /// The grant as the child has it; none when its holder could do nothing with it.
    fn passed_on<G: Grant>(&self, mut grant: G) -> Option<G> {
        let operations = grant.operations_mut();
        operations.retain(|operation| *operation != Operation::Delegate);
        if operations.is_empty() {
            return None;
        }
        if self.delegate {
            operations.push(Operation::Delegate);
        }
        Some(grant)
    }
}

/// What the three kinds of grants have in common.
trait Grant: Clone {
    fn operations(&self) -> &[Operation];
    fn operations_mut(&mut self) -> &mut Vec<Operation>;
}

impl Grant for ToolGrant {
    fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn operations_mut(&mut self) -> &mut Vec<Operation> {
        &mut self.operations
    }
}

impl Grant for ResourceGrant {
    fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn operations_mut(&mut self) -> &mut Vec<Operation> {
        &mut self.operations
    }
}

impl Grant for PromptGrant {
    fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn operations_mut(&mut self) -> &mut Vec<Operation> {
        &mut self.operations
    }
}

/// The grants that may be passed on.
fn inherited<G: Grant>(grants: &[G]) -> Vec<G> {
    grants.iter().filter(|grant| grant.operations().contains(&Operation::Delegate)).cloned().collect()
}

fn asked_resources(uris: &[String]) -> Vec<ResourceGrant> {
    uris.iter().map(|uri| ResourceGrant::new(vec![Operation::Read], uri)).collect()
}

fn asked_prompts(names: &[String]) -> Vec<PromptGrant> {
    names.iter().map(|name| PromptGrant::new(vec![Operation::Get], name)).collect()
}
