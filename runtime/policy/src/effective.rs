//! The policy in force: completed, identified and compiled.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chio_config::{
    ForbiddenPath, Kernel, Located, PolicyFile, PromptGrantRule, ResourceGrantRule, ToolGrantRule,
    ToolOperation,
};
use chio_json::{Sha256Hex, canonical};
use chio_spec::ReceiptRule;
use serde::Serialize;

use crate::grants::{DefaultGrant, default_grants};
use crate::paths::Protected;
use crate::tool_access::default_action;
use crate::{ForbiddenPathGuard, Guard, Identity, Pipeline, PolicyError, ToolAccessGuard};

/// The safe preset, embedded and read like any other policy.
const SAFE_PRESET: &str = include_str!("../presets/safe.yaml");

/// Name of the safe preset where a file name would stand.
const SAFE_PRESET_NAME: &str = "the safe preset";

/// How long synthesised grants are valid, in seconds, unless the kernel's limit is lower.
const SYNTHESISED_TTL: u64 = 300;

/// The policy in force: a policy file with every default filled in, its identity, and its guards.
///
/// Being immutable it is shared by reference; a new policy is a new value.
#[derive(Debug)]
pub struct EffectivePolicy {
    source: Option<String>,
    written: PolicyFile,
    protected: Vec<Protected>,
    policy: PolicyFile,
    yaml: String,
    hash: Sha256Hex,
    default_grants: Vec<DefaultGrant>,
    /// The grants of each identity, in the order of the policy.
    identity_grants: Vec<Vec<DefaultGrant>>,
    pipeline: Pipeline,
}

impl EffectivePolicy {
    /// The policy that holds when none is given: secrets, credential stores, `.git` and Chio's own state are
    /// forbidden, everything else is allowed and leaves a receipt.
    ///
    /// # Errors
    ///
    /// None in a released build: the preset is part of the program, and a test reads it.
    pub fn safe_preset() -> Result<Self, PolicyError> {
        Self::complete(PolicyFile::parse(SAFE_PRESET, SAFE_PRESET_NAME)?, None, Vec::new())
    }

    /// Reads a policy from YAML text. `source_name`, usually the file's path, is what errors and denials show.
    ///
    /// # Errors
    ///
    /// The first thing wrong with the policy, with file, line and column.
    pub fn parse(text: &str, source_name: &str) -> Result<Self, PolicyError> {
        Self::complete(PolicyFile::parse(text, source_name)?, Some(source_name.to_owned()), Vec::new())
    }

    /// The same policy with one more folder that no argument and no resource URI may name, whatever the policy says:
    /// neither its patterns nor its exceptions, nor that it has no forbidden-path guard at all. The folder need not
    /// exist; where it lies, also through symbolic links, is found out now. It is part of the policy's identity.
    ///
    /// # Errors
    ///
    /// Where the folder lies cannot be told, or it is the root.
    pub fn protecting(self, folder: &Path) -> Result<Self, PolicyError> {
        let found = Protected::find(folder)
            .map_err(|problem| PolicyError::Protected { folder: folder.to_owned(), problem })?;
        let mut protected = self.protected;
        match protected.iter_mut().find(|known| known.path() == found.path()) {
            Some(known) => known.merge(found),
            None => protected.push(found),
        }
        protected.sort_by(|a, b| a.path().cmp(b.path()));
        Self::complete(self.written, self.source, protected)
    }

    fn complete(
        written: PolicyFile,
        source: Option<String>,
        protected: Vec<Protected>,
    ) -> Result<Self, PolicyError> {
        let name = source.as_deref();
        let built_in = match &written.guards.forbidden_path {
            Some(ForbiddenPath { enabled: true, patterns: None, .. }) => built_in_patterns()?,
            _ => Vec::new(),
        };
        let mut guards: Vec<Box<dyn Guard>> = Vec::new();
        let nothing = ForbiddenPath { patterns: Some(Vec::new()), ..ForbiddenPath::default() };
        let options = written.guards.forbidden_path.as_ref().filter(|options| options.enabled);
        if let Some(options) = options.or_else(|| (!protected.is_empty()).then_some(&nothing)) {
            let guard = ForbiddenPathGuard::new(options, &built_in, name)?.protecting(protected.clone());
            guards.push(Box::new(guard));
        }
        if let Some(options) = written.guards.tool_access.as_ref().filter(|options| options.enabled) {
            guards.push(Box::new(ToolAccessGuard::new(options, name)));
        }
        let policy = with_defaults(written.clone(), built_in);
        let grants = &policy.capabilities.default;
        Ok(Self {
            default_grants: default_grants(grants, name.unwrap_or(SAFE_PRESET_NAME))?,
            identity_grants: (policy.capabilities.identities.iter())
                .map(|rule| default_grants(&rule.value.grants(), name.unwrap_or(SAFE_PRESET_NAME)))
                .collect::<Result<_, _>>()?,
            hash: identity(&policy, &protected)?,
            yaml: printed(&policy, &protected)?,
            source,
            written,
            protected,
            policy,
            pipeline: Pipeline::new(guards),
        })
    }

    /// The name under which the policy was read, or that of the preset.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(SAFE_PRESET_NAME)
    }

    /// The identity of the policy: SHA-256 of the canonical JSON of what is in force, with the
    /// [protected](Self::protecting) folders. Comments, the order of keys,
    /// the order of rules within a list and defaults written out or left out make no difference. The order of
    /// grants does: it decides which of them is charged first.
    #[must_use]
    pub fn hash(&self) -> Sha256Hex {
        self.hash
    }

    /// The policy with every default written out, as YAML; protected folders stand in comments. Read again, and
    /// protecting the same folders, it has the same hash.
    #[must_use]
    pub fn to_yaml(&self) -> &str {
        &self.yaml
    }

    /// The guards.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What callers that present no token are given: one scope for each distinct ttl, shortest first. Empty when the
    /// policy grants nothing.
    #[must_use]
    pub fn default_grants(&self) -> &[DefaultGrant] {
        &self.default_grants
    }

    /// What this caller is given when it presents no token: the grants of the first identity that describes it, else
    /// the default.
    #[must_use]
    pub fn grants_for(&self, identity: &Identity) -> &[DefaultGrant] {
        self.rule_for(identity)
            .and_then(|rule| self.identity_grants.get(rule))
            .unwrap_or(&self.default_grants)
    }

    /// The position of the first identity rule that describes this caller; none for whom the default is.
    #[must_use]
    pub fn rule_for(&self, identity: &Identity) -> Option<usize> {
        self.policy.capabilities.identities.iter().position(|rule| identity.is_described_by(&rule.value))
    }

    /// Whether the operator vouches that the tool changes nothing, so that no intent is needed before it is called.
    #[must_use]
    pub fn is_read_only(&self, server: &str, tool: &str) -> bool {
        let matches = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        self.kernel()
            .read_only_tools
            .iter()
            .any(|entry| matches(&entry.server, server) && matches(&entry.tool, tool))
    }

    /// The longest validity of a capability that the local authority issues, in seconds.
    #[must_use]
    pub fn max_capability_ttl(&self) -> u64 {
        self.kernel().max_capability_ttl
    }

    /// How many times a capability may be delegated.
    #[must_use]
    pub fn delegation_depth_limit(&self) -> usize {
        usize::try_from(self.kernel().delegation_depth_limit).unwrap_or(usize::MAX)
    }

    /// How long a tool may take to answer.
    #[must_use]
    pub fn tool_timeout(&self) -> Duration {
        Duration::from_secs(self.kernel().tool_timeout)
    }

    /// How long a tool that is called as a task may take.
    #[must_use]
    pub fn task_timeout(&self) -> Duration {
        Duration::from_secs(self.kernel().task_timeout)
    }

    /// The largest parameters, in bytes of canonical JSON, that a receipt keeps in clear.
    #[must_use]
    pub fn receipt_parameter_limit(&self) -> usize {
        usize::try_from(self.kernel().receipt_parameter_limit).unwrap_or(usize::MAX)
    }

    fn kernel(&self) -> &Kernel {
        &self.policy.kernel
    }
}

/// Where the rules of a policy were written: in a file, or nowhere an operator could open.
pub(crate) struct Origin<'a>(pub(crate) Option<&'a str>);

impl Origin<'_> {
    /// The identity of a rule for receipts and explanations.
    pub(crate) fn rule<T>(&self, id: String, written: &Located<T>) -> ReceiptRule {
        let mut rule = ReceiptRule::new(id);
        if let (Some(file), Some(line), Some(column)) = (self.0, written.line(), written.column()) {
            rule = rule.with_file(file.to_owned()).with_line(line).with_column(column);
        }
        rule
    }
}

/// The patterns in force when a policy names none: those of the safe preset, so that there is one list.
fn built_in_patterns() -> Result<Vec<Located<String>>, PolicyError> {
    let preset = PolicyFile::parse(SAFE_PRESET, SAFE_PRESET_NAME)?;
    Ok(preset.guards.forbidden_path.and_then(|options| options.patterns).unwrap_or_default())
}

/// The policy with nothing left to imply: guards that do not run are gone, lists are complete.
fn with_defaults(mut policy: PolicyFile, built_in: Vec<Located<String>>) -> PolicyFile {
    let guards = &mut policy.guards;
    guards.forbidden_path =
        guards.forbidden_path.take().filter(|options| options.enabled).map(|mut options| {
            let mut patterns = options.patterns.take().unwrap_or(built_in);
            patterns.append(&mut options.additional_patterns);
            options.patterns = Some(patterns);
            options
        });
    guards.tool_access = guards.tool_access.take().filter(|options| options.enabled).map(|mut options| {
        options.default_action = Some(default_action(&options));
        options
    });
    let default = &mut policy.capabilities.default;
    if let (true, Some(options)) = (default.tools.is_empty(), &guards.tool_access) {
        let ttl = SYNTHESISED_TTL.min(policy.kernel.max_capability_ttl);
        // In the order of their names, since the order of the allow list means nothing.
        let names: BTreeSet<&str> = options.allow.iter().map(|tool| tool.value.as_str()).collect();
        let grant = |tool: &str| ToolGrantRule {
            server: "*".to_owned(),
            tool: tool.to_owned(),
            operations: vec![ToolOperation::Invoke],
            ttl: Located::nowhere(ttl),
            constraints: Vec::new(),
            max_invocations: None,
        };
        default.tools = names.into_iter().map(grant).collect();
    }
    policy
}

fn printed(policy: &PolicyFile, protected: &[Protected]) -> Result<String, PolicyError> {
    let mut yaml: String =
        protected.iter().map(|folder| format!("# No policy opens {:?} to tools.\n", folder.path())).collect();
    yaml.push_str(&policy.to_yaml()?);
    Ok(yaml)
}

fn identity(policy: &PolicyFile, protected: &[Protected]) -> Result<Sha256Hex, PolicyError> {
    #[derive(Serialize)]
    struct Protecting<'a> {
        policy: PolicyFile,
        protected: Vec<&'a str>,
    }
    let mut policy = policy.clone();
    let as_set = |list: &mut Vec<Located<String>>| {
        list.sort_by(|a, b| a.value.cmp(&b.value));
        list.dedup();
    };
    if let Some(options) = &mut policy.guards.forbidden_path {
        options.patterns.iter_mut().for_each(as_set);
        as_set(&mut options.exceptions);
    }
    if let Some(options) = &mut policy.guards.tool_access {
        as_set(&mut options.allow);
        as_set(&mut options.block);
    }
    policy.kernel.read_only_tools.sort();
    policy.kernel.read_only_tools.dedup();
    let default = &mut policy.capabilities.default;
    sort_operations(&mut default.tools, &mut default.resources, &mut default.prompts);
    for rule in &mut policy.capabilities.identities {
        let rule = &mut rule.value;
        sort_operations(&mut rule.tools, &mut rule.resources, &mut rule.prompts);
    }
    let text = match protected {
        [] => canonical::to_string(&policy)?,
        folders => {
            let protected = folders.iter().map(Protected::path).collect();
            canonical::to_string(&Protecting { policy, protected })?
        }
    };
    Ok(chio_core::hash::sha256(text.as_bytes()))
}

fn sort_operations(
    tools: &mut [ToolGrantRule],
    resources: &mut [ResourceGrantRule],
    prompts: &mut [PromptGrantRule],
) {
    tools.iter_mut().for_each(|grant| sorted(&mut grant.operations));
    resources.iter_mut().for_each(|grant| sorted(&mut grant.operations));
    prompts.iter_mut().for_each(|grant| sorted(&mut grant.operations));
}

fn sorted<T: Ord>(list: &mut Vec<T>) {
    list.sort();
    list.dedup();
}
