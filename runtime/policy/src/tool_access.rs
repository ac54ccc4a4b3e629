//! The tool-access guard (`mcp-tool`): which tools may be called at all, and how large arguments may be.
//!
//! `block` wins over `allow`, `allow` over the default action. Without a written default, a policy that lists
//! allowed tools means only those, and one that only lists blocked tools means all others. Names are compared
//! exactly: MCP tool names are case-sensitive.

use chio_config::{DefaultAction, Located, ToolAccess};
use chio_spec::ReceiptRule;

use crate::effective::Origin;
use crate::{CallKind, Guard, GuardCall, GuardError, Verdict};

/// The guard `mcp-tool`, configured by `guards.tool_access`.
#[derive(Debug)]
pub struct ToolAccessGuard {
    block: Vec<Entry>,
    allow: Vec<Entry>,
    default_action: DefaultAction,
    default_rule: ReceiptRule,
    max_args_size: Option<(u64, ReceiptRule)>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    rule: ReceiptRule,
}

/// What the lists say about one tool.
enum Access<'a> {
    Named(&'a Entry, DefaultAction),
    Unnamed(DefaultAction),
}

impl ToolAccessGuard {
    /// The guard of a policy read from `source`, or of a built-in one if there is no source.
    #[must_use]
    pub fn new(options: &ToolAccess, source: Option<&str>) -> Self {
        let origin = Origin(source);
        let entries = |list: &[Located<String>], key: &str| -> Vec<Entry> {
            let entry = |(index, name): (usize, &Located<String>)| Entry {
                name: name.value.clone(),
                rule: origin.rule(format!("guards.tool_access.{key}[{index}]"), name),
            };
            list.iter().enumerate().map(entry).collect()
        };
        let default_action = default_action(options);
        Self {
            block: entries(&options.block, "block"),
            allow: entries(&options.allow, "allow"),
            default_rule: origin.rule("guards.tool_access.default_action".to_owned(), &default_action),
            default_action: default_action.value,
            max_args_size: options
                .max_args_size
                .as_ref()
                .map(|max| (max.value, origin.rule("guards.tool_access.max_args_size".to_owned(), max))),
        }
    }

    fn access(&self, tool: &str) -> Access<'_> {
        let names = |entry: &&Entry| entry.name == tool || entry.name == "*";
        if let Some(entry) = self.block.iter().find(names) {
            return Access::Named(entry, DefaultAction::Block);
        }
        match self.allow.iter().find(names) {
            Some(entry) => Access::Named(entry, DefaultAction::Allow),
            None => Access::Unnamed(self.default_action),
        }
    }
}

/// The default action in force, at the place it was written, if it was.
pub(crate) fn default_action(options: &ToolAccess) -> Located<DefaultAction> {
    let implied = match options.allow.is_empty() {
        true => DefaultAction::Allow,
        false => DefaultAction::Block,
    };
    options.default_action.unwrap_or(Located::nowhere(implied))
}

impl Guard for ToolAccessGuard {
    fn name(&self) -> &'static str {
        "mcp-tool"
    }

    fn check(&self, call: &GuardCall<'_>) -> Result<Verdict, GuardError> {
        let details = match call.kind {
            CallKind::Tool => match self.access(call.tool) {
                Access::Named(entry, DefaultAction::Allow) => format!("allowed by {}", entry.rule.id),
                Access::Unnamed(DefaultAction::Allow) => {
                    "no list names the tool; the default is to allow".to_owned()
                }
                Access::Named(entry, DefaultAction::Block) => {
                    let details =
                        format!("the tool {:?} is listed as {:?} under block", call.tool, entry.name);
                    return Ok(denied("the tool is not permitted by policy", &entry.rule, details));
                }
                Access::Unnamed(DefaultAction::Block) => {
                    let details = format!("no list names the tool {:?}; the default is to block", call.tool);
                    return Ok(denied("the tool is not permitted by policy", &self.default_rule, details));
                }
            },
            CallKind::Resource | CallKind::Prompt | CallKind::ClientRequest => "no tool is called".to_owned(),
        };
        if let Some((max, rule)) = &self.max_args_size
            && u64::try_from(call.args_size).unwrap_or(u64::MAX) > *max
        {
            let details = format!("the arguments have {} bytes, {max} are allowed", call.args_size);
            return Ok(denied("the arguments are larger than the policy permits", rule, details));
        }
        Ok(Verdict::Allow { details })
    }

    fn visible(&self, _server: &str, tool: &str) -> bool {
        matches!(
            self.access(tool),
            Access::Named(_, DefaultAction::Allow) | Access::Unnamed(DefaultAction::Allow)
        )
    }
}

fn denied(reason: &str, rule: &ReceiptRule, details: String) -> Verdict {
    Verdict::Deny { reason: reason.to_owned(), rule: Box::new(rule.clone()), details }
}
