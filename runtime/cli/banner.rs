//! What a serving command tells people when it starts: five lines, each worth reading.

use chio_core::capability::match_tool_grants;
use chio_policy::EffectivePolicy;
use chio_spec::Operation;

use super::home::Home;
use super::node::Node;
use super::words::plain;

/// Policy, key, store and the next command.
pub(crate) fn print(node: &Node, home: &Home) {
    eprintln!("policy  {}, sha256 {}", plain(node.policy().source()), node.policy().hash());
    eprintln!("key     {} signs the receipts", node.key().fingerprint());
    eprintln!("store   {}", node.home.join("chio.db").display());
    eprintln!("next    chio receipt tail{}", home.option());
}

/// The tools that callers without capabilities of their own are offered, and those that they are not.
pub(crate) fn tools<'a>(
    policy: &EffectivePolicy,
    server: &str,
    names: impl Iterator<Item = &'a str>,
) -> String {
    let (offered, hidden): (Vec<&str>, Vec<&str>) = names.partition(|name| offers(policy, server, name));
    let list = |names: &[&str]| match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", "),
    };
    format!(
        "tools   {} allowed: {}; {} hidden: {}",
        offered.len(),
        list(&offered),
        hidden.len(),
        list(&hidden)
    )
}

/// Whether the policy grants the tool, and no guard refuses it by its name alone.
fn offers(policy: &EffectivePolicy, server: &str, tool: &str) -> bool {
    let granted = policy
        .default_grants()
        .iter()
        .any(|grant| !match_tool_grants(&grant.scope, server, tool, Operation::Invoke).is_empty());
    granted && policy.pipeline().visible(server, tool)
}
