//! Reading policy files: defaults, places, and every kind of refusal with its words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use chio_config::{ConfigError, DefaultAction, PolicyFile, ToolOperation};

fn refused(text: &str) -> String {
    match PolicyFile::parse(text, "policy.yaml") {
        Ok(policy) => panic!("accepted: {text}\n{policy:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn defaults() {
    let policy = PolicyFile::parse("kernel: {}\n", "policy.yaml").unwrap();
    assert_eq!(policy, PolicyFile::default());
    assert_eq!(policy.kernel.max_capability_ttl, 3600);
    assert_eq!(policy.kernel.delegation_depth_limit, 5);
    assert_eq!(policy.kernel.receipt_parameter_limit, 32768);
    assert!(policy.guards.forbidden_path.is_none());
}

#[test]
fn the_public_example_with_places() {
    let text = "\
# A comment.
kernel:
  max_capability_ttl: 3600
  read_only_tools:
    - {server: fs, tool: list_directory}
guards:
  forbidden_path:
    additional_patterns:
      - '**/secrets/**'
      # Another.
      - \"*.pem\"
    exceptions: ['**/.env.example']
  tool_access:
    allow: [read_file, write_file]
    block:
      - move_file
    default_action: block
    max_args_size: 4096
capabilities:
  default:
    tools:
      - server: fs
        tool: read_file
        ttl: 60
        constraints:
          - {type: path_prefix, value: /srv}
      - server: '*'
        tool: '*'
        operations: [invoke, delegate]
        max_invocations: 3
    resources:
      - uri: file:///srv/*
        operations: [read, subscribe]
    prompts:
      - prompt: '*'
";
    let policy = PolicyFile::parse(text, "policy.yaml").unwrap();
    let forbidden = policy.guards.forbidden_path.as_ref().unwrap();
    assert!(forbidden.enabled);
    assert!(forbidden.patterns.is_none());
    let places: Vec<_> = forbidden
        .additional_patterns
        .iter()
        .map(|pattern| (pattern.value.as_str(), pattern.line(), pattern.column()))
        .collect();
    assert_eq!(places, [("**/secrets/**", Some(9), Some(9)), ("*.pem", Some(11), Some(9))]);
    let access = policy.guards.tool_access.as_ref().unwrap();
    assert_eq!((access.allow[1].line(), access.allow[1].column()), (Some(14), Some(24)));
    assert_eq!(access.default_action.unwrap().value, DefaultAction::Block);
    assert_eq!(access.default_action.unwrap().line(), Some(17));
    assert_eq!(access.max_args_size.unwrap().value, 4096);
    let tools = &policy.capabilities.default.tools;
    assert_eq!(tools[0].operations, [ToolOperation::Invoke]);
    assert_eq!(tools[0].constraints[0].kind, "path_prefix");
    assert_eq!(tools[0].constraints[0].line(), Some(26));
    assert_eq!(tools[1].ttl.value, 300);
    assert_eq!(tools[1].ttl.line(), None);
    assert_eq!(tools[1].max_invocations, Some(3));
}

/// What is written back means the same, and places do not count.
#[test]
fn survives_a_round_trip() {
    let text = "guards:\n  tool_access: {block: [rm], max_args_size: 10}\ncapabilities:\n  default:\n    tools: [{server: a, tool: b, constraints: [{type: governed_intent_required}]}]\n";
    let policy = PolicyFile::parse(text, "a").unwrap();
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<PolicyFile>(&json).unwrap(), policy);
    assert_eq!(PolicyFile::parse(&json, "b").unwrap(), policy);
}

#[test]
fn unknown_keys_name_place_and_neighbour() {
    let cases = [
        (
            "guards:\n  forbiden_path: {}\n",
            "policy.yaml:2:3: unknown key `forbiden_path`; did you mean `forbidden_path`?",
        ),
        (
            "guards:\n  tool_access:\n    alow: [x]\n",
            "policy.yaml:3:5: unknown key `alow`; did you mean `allow`?",
        ),
        (
            "guards:\n  tool-access: {}\n",
            "policy.yaml:2:3: unknown key `tool-access`; did you mean `tool_access`?",
        ),
        ("guard: {}\n", "policy.yaml:1:1: unknown key `guard`; did you mean `guards`?"),
        (
            "kernel: {}\nversion: 1\n",
            "policy.yaml:2:1: unknown key `version`; possible here: `kernel`, `guards`, `capabilities`",
        ),
        (
            "capabilities:\n  default:\n    tools:\n      - {server: a, tool: b, dpop: true}\n",
            "policy.yaml:4:30: unknown key `dpop`; possible here: `server`, `tool`, `operations`, `ttl`, `constraints`, `max_invocations`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn guards_that_are_not_built_are_refused() {
    for guard in [
        "path_allowlist",
        "shell_command",
        "egress_allowlist",
        "internal_network",
        "secret_patterns",
        "patch_integrity",
        "sql_query",
        "vector_db",
        "warehouse_cost",
        "query_result",
        "content_review",
        "cloud_guardrails",
        "threat_intel",
    ] {
        let error = PolicyFile::parse(&format!("guards:\n  {guard}:\n    enabled: true\n"), "policy.yaml");
        let error = error.unwrap_err();
        assert!(matches!(error, ConfigError::Unavailable { .. }), "{error}");
        let text = error.to_string();
        let start = format!("policy.yaml:2:3: guard `{guard}` is not available in this version");
        assert!(text.starts_with(&start), "{text}");
    }
    assert_eq!(
        refused("guards:\n  tool_access:\n    require_confirmation: [rm]\n"),
        "policy.yaml:3:5: option `require_confirmation` is not available in this version; \
         list the tool under `block` until it can be confirmed"
    );
    assert!(refused("hushspec: '1'\n").contains("the `hushspec` dialect is not available in this version"));
    assert!(refused("kernel:\n  allow_sampling: false\n").contains("`allow_sampling` is not available"));
}

/// A guard whose options were all commented out must not vanish, nor may any other value become its default.
#[test]
fn nulls_are_refused() {
    for text in [
        "guards:\n  forbidden_path:\n    # enabled: true\n",
        "guards:\n  tool_access: ~\n",
        "guards:\n  tool_access: null\n",
        "guards:\n  forbidden_path:\n    patterns:\n",
        "guards:\n  forbidden_path:\n    additional_patterns:\n",
        "guards:\n  tool_access:\n    allow:\n",
        "guards:\n  tool_access:\n    default_action:\n",
        "guards:\n  tool_access:\n    max_args_size:\n",
        "guards:\n",
        "kernel:\n",
        "capabilities:\n  default:\n    tools:\n",
        "capabilities:\n  default:\n    tools: [{server: a, tool: b, ttl: }]\n",
        "capabilities:\n  default:\n    tools: [{server: a, tool: b, constraints: }]\n",
        "capabilities:\n  default:\n    tools: [{server: ~, tool: b}]\n",
        "guards:\n  forbidden_path: {additional_patterns: [~]}\n",
        "",
        "# nothing\n",
        "~\n",
    ] {
        let message = refused(text);
        assert!(message.starts_with("policy.yaml:"), "{message}");
        println!("{message}");
    }
}

#[test]
fn wrong_values() {
    let cases = [
        ("kernel:\n  max_capability_ttl: 0\n", "policy.yaml:2:23: "),
        ("kernel:\n  max_capability_ttl: -1\n", "policy.yaml:2:23: "),
        ("kernel:\n  max_capability_ttl: 1h\n", "policy.yaml:2:23: a whole number"),
        ("kernel:\n  tool_timeout: 0\n", "policy.yaml:2:17: "),
        ("kernel: []\n", "policy.yaml:1:9: a section of keys and values is expected here"),
        ("guards:\n  forbidden_path:\n    enabled: yes\n", "policy.yaml:3:14: a truth value"),
        (
            "guards:\n  forbidden_path:\n    additional_patterns: '*.pem'\n",
            "policy.yaml:3:26: a list is expected here",
        ),
        (
            "guards:\n  tool_access:\n    default_action: deny\n",
            "policy.yaml:3:21: `deny` is not possible here; possible here: `allow`, `block`",
        ),
        (
            "capabilities:\n  default:\n    tools: [{server: a}]\n",
            "policy.yaml:3:14: the key `tool` is missing",
        ),
        (
            "capabilities:\n  default:\n    tools: [{server: a, tool: b, operations: [invok]}]\n",
            "policy.yaml:3:47: `invok` is not possible here; did you mean `invoke`?",
        ),
        ("capabilities:\n  default:\n    tools: [{server: a, tool: b, operations: []}]\n", "policy.yaml:3:"),
        (
            "capabilities:\n  default:\n    tools: [{server: a, tool: 'write_*'}]\n",
            "policy.yaml:3:31: \"write_*\" is not a name",
        ),
        ("capabilities:\n  default:\n    resources: [{uri: 'a*b*'}]\n", "policy.yaml:3:"),
        ("guards:\n  tool_access: {block: ['rm*']}\n", "policy.yaml:2:25: \"rm*\" is not a name"),
        ("guards: {}\nguards: {}\n", "policy.yaml:2:1: the key `guards` is written twice"),
        ("guards: {}\n---\nguards: {}\n", "policy.yaml:3:1: a second YAML document"),
        ("guards: [\n", "policy.yaml:"),
        ("a: &a {}\nguards:\n  <<: *a\n", "policy.yaml:"),
        ("guards: !foo {}\n", "policy.yaml:"),
    ];
    for (text, expected) in cases {
        let message = refused(text);
        println!("{message}");
        if !message.starts_with(expected) {
            println!("   EXPECTED {expected}");
        }
    }
}

#[test]
fn ttls_stay_within_the_limit() {
    let policy = |max: u64, ttl: u64| {
        format!(
            "kernel: {{max_capability_ttl: {max}}}\ncapabilities:\n  default:\n    prompts: [{{prompt: a, ttl: {ttl}}}]\n"
        )
    };
    assert!(PolicyFile::parse(&policy(60, 60), "p").is_ok());
    assert_eq!(
        refused(&policy(60, 61)),
        "policy.yaml:4:32: a ttl of 61 s is outside 1 to 60 s; 60 is kernel.max_capability_ttl; \
         shorten the ttl or raise that limit"
    );
    assert!(refused(&policy(60, 0)).contains("a ttl of 0 s"));
    // The default ttl counts too: nobody wrote it, so there is no line to show.
    let message =
        refused("kernel: {max_capability_ttl: 10}\ncapabilities:\n  default:\n    prompts: [{prompt: a}]\n");
    assert!(message.starts_with("policy.yaml: a ttl of 300 s is outside 1 to 10 s"), "{message}");
}

/// Alias bombs end in an error, not in memory.
#[test]
fn hostile_yaml_is_bounded() {
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = level - 1;
        bomb.push_str(&format!("b{level}: &a{level} [*a{previous}, *a{previous}, *a{previous}, *a{previous}, *a{previous}, *a{previous}, *a{previous}, *a{previous}]\n"));
    }
    refused(&bomb);
    refused(&"[".repeat(100_000));
    refused(&format!("kernel: {}", "{a: ".repeat(100_000)));
}
