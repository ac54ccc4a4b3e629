//! The policy in force: its identity, its grants, its preset, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use chio_policy::{CallKind, EffectivePolicy, GuardCall, GuardDenial, PipelineDecision, PolicyError};
use serde_json::json;

fn policy(text: &str) -> EffectivePolicy {
    EffectivePolicy::parse(text, "policy.yaml").unwrap()
}

fn refused(text: &str) -> String {
    EffectivePolicy::parse(text, "policy.yaml").unwrap_err().to_string()
}

fn scope_json(policy: &EffectivePolicy) -> Vec<(u64, String)> {
    let grants = policy.default_grants().iter();
    grants.map(|grant| (grant.ttl, serde_json::to_string(&grant.scope).unwrap())).collect()
}

const BASE: &str = "\
kernel:
  max_capability_ttl: 600
  read_only_tools: [{server: fs, tool: list}, {server: fs, tool: stat}]
guards:
  forbidden_path:
    patterns: ['**/a', '**/b', '**/c']
    exceptions: [x, y]
  tool_access:
    allow: [read, write]
    block: [rm, mv]
capabilities:
  default:
    resources: [{uri: '*', operations: [read, subscribe]}]
    prompts: [{prompt: '*'}]
";

#[test]
fn the_hash_ignores_form() {
    let base = policy(BASE).hash();
    for same in [
        // White space, comments, quotes and flow style.
        "# Title\nkernel:   {max_capability_ttl: 600, read_only_tools: [{tool: list, server: fs}, {server: 'fs', tool: \"stat\"}]}\nguards:\n    forbidden_path:\n        patterns:\n        - '**/a' # first\n        - \"**/b\"\n        - '**/c'\n        exceptions:\n        - x\n        - y\n    tool_access: {allow: [read, write], block: [rm, mv]}\ncapabilities: {default: {resources: [{uri: '*', operations: [read, subscribe]}], prompts: [{prompt: '*'}]}}\n",
        // Order of keys and of rules, rules written twice, patterns in either list, defaults written out.
        "capabilities:\n  default:\n    prompts: [{operations: [get], prompt: '*', ttl: 300}]\n    resources: [{operations: [subscribe, read, read], uri: '*'}]\nguards:\n  tool_access:\n    default_action: block\n    enabled: true\n    block: [mv, rm, mv]\n    allow: [write, read]\n  forbidden_path:\n    additional_patterns: ['**/a']\n    exceptions: [y, x]\n    patterns: ['**/c', '**/b', '**/a']\nkernel:\n  tool_timeout: 120\n  read_only_tools: [{server: fs, tool: stat}, {server: fs, tool: list}]\n  max_capability_ttl: 600\n",
    ] {
        assert_eq!(policy(same).hash(), base, "{same}");
    }
}

#[test]
fn the_hash_sees_meaning() {
    let base = policy(BASE).hash();
    for (from, to) in [
        ("600", "601"),
        ("tool: stat", "tool: star"),
        ("'**/c'", "'**/d'"),
        ("exceptions: [x, y]", "exceptions: [x]"),
        ("[rm, mv]", "[rm]"),
        ("block: [rm, mv]", "block: [rm, mv]\n    default_action: allow"),
        ("block: [rm, mv]", "block: [rm, mv]\n    max_args_size: 5"),
        ("block: [rm, mv]", "block: [rm, mv]\n    enabled: false"),
        ("[read, subscribe]", "[read]"),
        ("prompts: [{prompt: '*'}]", "prompts: [{prompt: '*', ttl: 200}]"),
    ] {
        let changed = BASE.replace(from, to);
        assert_ne!(changed, BASE);
        assert_ne!(policy(&changed).hash(), base, "{to}");
    }
    // A guard that does not run is no part of the policy, whatever its options.
    let absent = policy("guards: {}\n").hash();
    assert_eq!(policy("guards: {tool_access: {enabled: false, block: [x]}}\n").hash(), absent);
}

/// What is printed is a policy of its own, and the same one.
#[test]
fn what_is_printed_can_be_read() {
    for policy in [policy(BASE), EffectivePolicy::safe_preset().unwrap(), policy("kernel: {}")] {
        let again = EffectivePolicy::parse(policy.to_yaml(), "printed").unwrap();
        assert_eq!(again.hash(), policy.hash(), "{}", policy.to_yaml());
        assert_eq!(again.to_yaml(), policy.to_yaml());
    }
}

#[test]
fn the_preset() {
    let preset = EffectivePolicy::safe_preset().unwrap();
    println!("{}", preset.to_yaml());
    assert_eq!(preset.source(), "the safe preset");
    assert_eq!(
        scope_json(&preset),
        [(
            300,
            r#"{"grants":[{"operations":["invoke"],"server_id":"*","tool_name":"*"}],"prompt_grants":[{"operations":["get"],"prompt_name":"*"}],"resource_grants":[{"operations":["read","subscribe"],"uri_pattern":"*"}]}"#
                .to_owned()
        )]
    );
    assert_eq!(format!("{:?}", preset.pipeline()), r#"["forbidden-path"]"#);
    assert_eq!(preset.max_capability_ttl(), 3600);
    assert_eq!(preset.delegation_depth_limit(), 5);
    assert_eq!(preset.tool_timeout(), Duration::from_secs(120));
    assert_eq!(preset.receipt_parameter_limit(), 32768);
    assert!(!preset.is_read_only("fs", "read_file"));
    // Every pattern of the public default list is there; `**/pass/**` below the homes of users only.
    for pattern in [
        "**/.ssh/**",
        "**/id_rsa*",
        "**/id_ed25519*",
        "**/id_ecdsa*",
        "**/*.pem",
        "**/*.key",
        "**/*.p12",
        "**/*.pfx",
        "**/*.jks",
        "**/.aws/**",
        "**/.env",
        "**/.env.*",
        "**/.git-credentials",
        "**/.gitconfig",
        "**/.gnupg/**",
        "**/.kube/**",
        "**/.docker/**",
        "**/.npmrc",
        "**/.password-store/**",
        "~/pass/**",
        "**/.1password/**",
        "/etc/shadow",
        "/etc/passwd",
        "/etc/sudoers",
        "**/.git/**",
    ] {
        assert!(preset.to_yaml().contains(pattern), "{pattern} is missing");
    }
}

/// The preset's identity changes only on purpose: operators compare it.
#[test]
fn the_preset_keeps_its_hash() {
    let hash = EffectivePolicy::safe_preset().unwrap().hash().to_string();
    assert_eq!(hash, "1cd09b176bd2d719196825a6d1baa91bd880b8f2799daf5f9c3d06eb27a85996");
}

/// A folder to protect, with a file in it, under a name that no pattern knows; and a symbolic link to it.
fn state(test: &str) -> (PathBuf, PathBuf) {
    let base = std::env::temp_dir().join(format!("chio-policy-{}-{test}", std::process::id()));
    let (folder, link) = (base.join("state"), base.join("link"));
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    (folder, link)
}

fn denial(policy: &EffectivePolicy, path: &Path) -> Option<GuardDenial> {
    let arguments = json!({ "path": path });
    let call = GuardCall {
        server: "s",
        tool: "t",
        kind: CallKind::Tool,
        arguments: &arguments,
        args_size: 0,
        resource_uri: None,
        agent: "a",
    };
    match policy.pipeline().run(&call).decision {
        PipelineDecision::Deny(denial) => Some(*denial),
        PipelineDecision::Allow => None,
    }
}

#[test]
fn no_policy_opens_a_protected_folder() {
    let (folder, link) = state("opens");
    for text in [
        "guards: {}\n",
        "guards: {forbidden_path: {enabled: false}}\n",
        "guards: {forbidden_path: {patterns: []}}\n",
        "guards: {forbidden_path: {patterns: ['**/x'], exceptions: ['**', '**/*']}}\n",
        "guards: {tool_access: {allow: ['*']}}\n",
    ] {
        assert_eq!(denial(&policy(text), &folder.join("keys/kernel.key")), None, "{text}");
        // Named by its real path or by a link, before it exists or after.
        for named in [&folder, &link, &folder.join("../state")] {
            let policy = policy(text).protecting(named).unwrap();
            for path in [&folder, &folder.join("keys/kernel.key"), &folder.join("../state/policy.yaml")] {
                let denial = denial(&policy, path).unwrap_or_else(|| panic!("{text} {path:?}"));
                assert_eq!(denial.guard, "forbidden-path");
                assert_eq!(denial.reason, "the path is not permitted by policy");
                assert_eq!(denial.rule.unwrap().id, "guards.forbidden_path.protected[0]");
            }
            assert_eq!(denial(&policy, &folder.with_file_name("statement")), None);
        }
        let linked = policy(text).protecting(&link).unwrap();
        assert!(denial(&linked, &link.join("chio.db")).is_some(), "{text}");
        let missing = policy(text).protecting(&link.join("new/home")).unwrap();
        assert!(denial(&missing, &folder.join("new/home/keys")).is_some(), "{text}");
        assert!(denial(&missing, &link.join("new/home/keys")).is_some(), "{text}");
    }
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

#[test]
fn a_protected_folder_is_part_of_the_identity() {
    let (folder, link) = state("identity");
    for text in ["guards: {}\n", BASE] {
        let plain = policy(text);
        let protecting = policy(text).protecting(&folder).unwrap();
        assert_ne!(protecting.hash(), plain.hash());
        assert_ne!(policy(text).protecting(folder.parent().unwrap()).unwrap().hash(), protecting.hash());
        // The folder counts, not how it is called or how often it is said.
        assert_eq!(policy(text).protecting(&link).unwrap().hash(), protecting.hash());
        let twice = policy(text).protecting(&link).unwrap().protecting(&folder).unwrap();
        assert_eq!((twice.hash(), twice.to_yaml()), (protecting.hash(), protecting.to_yaml()));
        let other = Path::new("/srv/other");
        let both = |first: &Path, second: &Path| {
            policy(text).protecting(first).unwrap().protecting(second).unwrap().hash()
        };
        assert_eq!(both(&folder, other), both(other, &folder));
        // It is printed, and what is printed is the same policy again.
        assert!(protecting.to_yaml().contains(folder.to_str().unwrap()), "{}", protecting.to_yaml());
        let again = EffectivePolicy::parse(protecting.to_yaml(), "printed").unwrap();
        assert_eq!(again.hash(), plain.hash());
        let again = again.protecting(&folder).unwrap();
        assert_eq!((again.hash(), again.to_yaml()), (protecting.hash(), protecting.to_yaml()));
        assert_eq!(protecting.source(), "policy.yaml");
    }
    let refused = policy("guards: {}\n").protecting(Path::new("/")).unwrap_err().to_string();
    assert_eq!(refused, "the folder / cannot be kept from tools: every path lies in it; name another folder");
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

/// A policy that forbids paths without saying which uses the preset's list.
#[test]
fn built_in_patterns_are_those_of_the_preset() {
    let policy = policy("guards:\n  forbidden_path:\n    additional_patterns: ['**/mine']\n");
    assert!(policy.to_yaml().contains("**/.ssh/**") && policy.to_yaml().contains("**/mine"));
}

#[test]
fn grants_are_grouped_by_ttl() {
    let policy = policy(
        "capabilities:\n  default:\n    tools:\n      - {server: a, tool: t, ttl: 60, max_invocations: 2, constraints: [{type: path_prefix, value: /srv}, {type: governed_intent_required}]}\n      - {server: b, tool: '*', operations: [delegate, invoke]}\n    resources: [{uri: 'file:///srv/*', ttl: 60}]\n    prompts: [{prompt: p}]\n",
    );
    assert_eq!(
        scope_json(&policy),
        [
            (
                60,
                r#"{"grants":[{"constraints":[{"type":"path_prefix","value":"/srv"},{"type":"governed_intent_required"}],"max_invocations":2,"operations":["invoke"],"server_id":"a","tool_name":"t"}],"resource_grants":[{"operations":["read"],"uri_pattern":"file:///srv/*"}]}"#.to_owned()
            ),
            (
                300,
                r#"{"grants":[{"operations":["delegate","invoke"],"server_id":"b","tool_name":"*"}],"prompt_grants":[{"operations":["get"],"prompt_name":"p"}]}"#.to_owned()
            ),
        ]
    );
}

#[test]
fn grants_are_synthesised_from_the_allow_list() {
    let synthesised =
        policy("kernel: {max_capability_ttl: 100}\nguards: {tool_access: {allow: [a, b], block: [b]}}\n");
    assert_eq!(
        scope_json(&synthesised),
        [(
            100,
            r#"{"grants":[{"operations":["invoke"],"server_id":"*","tool_name":"a"},{"operations":["invoke"],"server_id":"*","tool_name":"b"}]}"#.to_owned()
        )]
    );
    // Not when tools are granted, not from a guard that does not run, and not from nothing.
    let explicit =
        "guards: {tool_access: {allow: [a]}}\ncapabilities: {default: {tools: [{server: s, tool: t}]}}\n";
    assert!(!scope_json(&policy(explicit))[0].1.contains("\"a\""));
    assert!(policy("guards: {tool_access: {enabled: false, allow: [a]}}\n").default_grants().is_empty());
    assert!(policy("guards: {tool_access: {block: [a]}}\n").default_grants().is_empty());
    assert!(policy("kernel: {}\n").default_grants().is_empty());
}

#[test]
fn read_only_tools() {
    let policy = policy(
        "kernel: {read_only_tools: [{server: fs, tool: list}, {server: docs, tool: '*'}, {server: '*', tool: ping}]}",
    );
    for (server, tool, expected) in [
        ("fs", "list", true),
        ("fs", "write", false),
        ("fs", "LIST", false),
        ("docs", "anything", true),
        ("other", "ping", true),
        ("other", "list", false),
    ] {
        assert_eq!(policy.is_read_only(server, tool), expected, "{server}/{tool}");
    }
}

#[test]
fn refusals_name_the_place() {
    assert_eq!(
        refused("guards:\n  forbidden_path:\n    additional_patterns:\n      - ok\n      - 'a[b'\n"),
        "policy.yaml:5:9: \"a[b\" is not a pattern: unclosed character class; missing ']'"
    );
    assert_eq!(
        refused("guards:\n  forbidden_path:\n    exceptions: ['{a']\n"),
        "policy.yaml:3:18: \"{a\" is not a pattern: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"
    );
    assert!(
        refused("guards:\n  forbidden_path:\n    patterns: ['']\n")
            .starts_with("policy.yaml:3:16: \"\" is not a pattern: the pattern is empty")
    );
    let unknown = refused(
        "capabilities:\n  default:\n    tools:\n      - server: a\n        tool: b\n        constraints:\n          - {type: path_perfix, value: /a}\n",
    );
    assert!(
        unknown.starts_with("policy.yaml:7:13: the constraint of type \"path_perfix\" is not valid: "),
        "{unknown}"
    );
    let wrong = refused(
        "capabilities: {default: {tools: [{server: a, tool: b, constraints: [{type: max_length, value: x}]}]}}",
    );
    assert!(wrong.contains("the constraint of type \"max_length\" is not valid"), "{wrong}");
    let long = refused(
        "kernel: {max_capability_ttl: 10}\ncapabilities: {default: {tools: [{server: a, tool: b, ttl: 11}]}}",
    );
    assert!(long.starts_with("policy.yaml:2:60: a ttl of 11 s is outside 1 to 10 s"), "{long}");
    let unbuilt = EffectivePolicy::parse("guards:\n  shell_command: {}\n", "policy.yaml").unwrap_err();
    assert!(matches!(unbuilt, PolicyError::File(_)));
    assert!(
        unbuilt
            .to_string()
            .starts_with("policy.yaml:2:3: guard `shell_command` is not available in this version")
    );
}
