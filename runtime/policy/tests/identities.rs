//! Which grants which caller is given.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use chio_policy::{EffectivePolicy, Identity};
use chio_spec::ReceiptCallerMethod;

const POLICY: &str = "
capabilities:
  default:
    tools: [{server: '*', tool: read}]
  identities:
    - {issuer: 'https://id.example', claims: {groups: admins}, tools: [{server: '*', tool: '*'}]}
    - {principal: 'https://id.example#*', scopes: [chio.invoke], tools: [{server: files, tool: write}]}
    - {client_id: robot}
";

fn caller(client: &str, scopes: &[&str], groups: &[&str]) -> Identity {
    let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Identity {
        issuer: Some("https://id.example".to_owned()),
        subject: Some("alice".to_owned()),
        client_id: Some(client.to_owned()),
        scopes: BTreeSet::from_iter(text(scopes)),
        claims: BTreeMap::from([("groups".to_owned(), text(groups))]),
        ..Identity::named(ReceiptCallerMethod::OauthBearer, "https://id.example#alice")
    }
}

fn tools(policy: &EffectivePolicy, identity: &Identity) -> Vec<String> {
    let grants = policy.grants_for(identity).iter().flat_map(|grant| &grant.scope.grants);
    grants.map(|grant| format!("{}/{}", grant.server_id.as_str(), grant.tool_name.as_str())).collect()
}

#[test]
fn the_first_identity_that_describes_the_caller_decides_and_nobody_else_gets_its_grants() {
    let policy = EffectivePolicy::parse(POLICY, "policy.yaml").unwrap();
    for (identity, expected) in [
        (Identity::anonymous(), vec!["*/read"]),
        (Identity::local(), vec!["*/read"]),
        (caller("app", &["chio.read"], &[]), vec!["*/read"]),
        (caller("app", &["chio.read", "chio.invoke"], &["users"]), vec!["files/write"]),
        (caller("app", &[], &["users", "admins"]), vec!["*/*"]),
        (caller("robot", &[], &[]), vec![]),
        // Another issuer's alice is not alice.
        (
            Identity {
                issuer: Some("https://evil.example".to_owned()),
                principal: "https://evil.example#alice".to_owned(),
                ..caller("app", &["chio.invoke"], &["admins"])
            },
            vec!["*/read"],
        ),
    ] {
        assert_eq!(tools(&policy, &identity), expected, "{identity:?}");
    }
}

#[test]
fn an_identity_without_a_condition_is_refused_with_its_place() {
    let text = "capabilities:\n  identities:\n    - {tools: [{server: '*', tool: '*'}]}\n";
    let error = EffectivePolicy::parse(text, "policy.yaml").unwrap_err().to_string();
    assert!(error.contains("policy.yaml:3:7") && error.contains("every caller"), "{error}");
}

#[test]
fn the_ttl_of_an_identitys_grants_is_bounded_too() {
    let text = "capabilities:\n  identities:\n    - {subject: a, client_requests: [{server: '*', method: roots/list, ttl: 99999}]}\n";
    let error = EffectivePolicy::parse(text, "policy.yaml").unwrap_err().to_string();
    assert!(error.contains("kernel.max_capability_ttl"), "{error}");
}

#[test]
fn client_requests_become_grants_of_exactly_their_method() {
    let text = "capabilities: {default: {client_requests: [{server: '*', method: sampling/createMessage}]}}";
    let policy = EffectivePolicy::parse(text, "policy.yaml").unwrap();
    assert_eq!(tools(&policy, &Identity::local()), ["*/sampling/createMessage"]);
    let unknown = "capabilities: {default: {client_requests: [{server: '*', method: '*'}]}}";
    assert!(EffectivePolicy::parse(unknown, "policy.yaml").is_err());
}

#[test]
fn resource_and_prompt_rules_can_name_their_server() {
    let text = "
capabilities:
  default:
    tools: [{server: files, tool: read}]
    resources: [{uri: 'file:///srv/*', server: files}, {uri: 'news:*'}]
    prompts: [{prompt: greet, server: chat}]
";
    let policy = EffectivePolicy::parse(text, "policy.yaml").unwrap();
    let found: Vec<_> = (policy.default_grants().iter())
        .map(|grant| {
            let (tools, resources, prompts) =
                (&grant.scope.grants, &grant.scope.resource_grants, &grant.scope.prompt_grants);
            (grant.server.as_deref(), tools.len(), resources.len(), prompts.len())
        })
        .collect();
    assert_eq!(found, [(None, 1, 1, 0), (Some("chat"), 0, 0, 1), (Some("files"), 0, 1, 0)]);
}
