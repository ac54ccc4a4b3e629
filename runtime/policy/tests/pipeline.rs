//! The pipeline: order, evidence, guards that fail or panic, and the laws that hold for every policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use chio_policy::{
    CallKind, EffectivePolicy, Guard, GuardCall, GuardError, Pipeline, PipelineDecision, Verdict,
};
use chio_spec::{ErrorCode, ReceiptRule};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Copy)]
enum Behaviour {
    Allow,
    Deny,
    Fail,
    Panic,
}

struct Scripted(&'static str, Behaviour);

impl Guard for Scripted {
    fn name(&self) -> &'static str {
        self.0
    }

    fn check(&self, _: &GuardCall<'_>) -> Result<Verdict, GuardError> {
        match self.1 {
            Behaviour::Allow => Ok(Verdict::Allow { details: "fine".to_owned() }),
            Behaviour::Deny => Ok(Verdict::Deny {
                reason: "no".to_owned(),
                rule: Box::new(ReceiptRule::new("rule".to_owned())),
                details: "because".to_owned(),
            }),
            Behaviour::Fail => Err(GuardError::new("lost its way")),
            Behaviour::Panic => panic!("index out of reach"),
        }
    }

    fn visible(&self, _: &str, _: &str) -> bool {
        match self.1 {
            Behaviour::Panic => panic!("cannot say"),
            Behaviour::Deny => false,
            _ => true,
        }
    }
}

fn call<'a>(tool: &'a str, arguments: &'a Value) -> GuardCall<'a> {
    let args_size = serde_json::to_string(arguments).unwrap().len();
    GuardCall {
        server: "srv",
        tool,
        kind: CallKind::Tool,
        arguments,
        args_size,
        resource_uri: None,
        agent: "me",
    }
}

fn pipeline(guards: &[(&'static str, Behaviour)]) -> Pipeline {
    Pipeline::new(
        guards.iter().map(|(name, does)| Box::new(Scripted(name, *does)) as Box<dyn Guard>).collect(),
    )
}

#[test]
fn the_first_denial_wins_and_later_guards_do_not_run() {
    use Behaviour::{Allow, Deny, Fail, Panic};
    let arguments = json!({});
    for (does, code, reason, details) in [
        (Deny, ErrorCode::GuardDenied, "no", "because"),
        (
            Fail,
            ErrorCode::GuardFailed,
            "a guard could not decide",
            "the guard failed, so the call is denied: lost its way",
        ),
        (
            Panic,
            ErrorCode::GuardFailed,
            "a guard could not decide",
            "the guard panicked, so the call is denied: index out of reach",
        ),
    ] {
        let pipeline = pipeline(&[("first", Allow), ("second", does), ("third", Deny)]);
        let outcome = pipeline.run(&call("t", &arguments));
        let PipelineDecision::Deny(denial) = outcome.decision else { panic!("allowed") };
        assert_eq!((denial.guard, denial.code), ("second", code));
        assert_eq!((denial.reason.as_str(), denial.details.as_str()), (reason, details));
        let evidence: Vec<_> = outcome
            .evidence
            .iter()
            .map(|entry| (entry.guard_name.as_str(), entry.verdict, entry.details.as_deref()))
            .collect();
        assert_eq!(evidence, [("first", true, Some("fine")), ("second", false, Some(details))]);
    }
    assert_eq!(
        pipeline(&[("a", Allow), ("b", Allow)]).run(&call("t", &arguments)).decision,
        PipelineDecision::Allow
    );
    let nothing = Pipeline::default().run(&call("t", &arguments));
    assert_eq!((nothing.decision, nothing.evidence.len()), (PipelineDecision::Allow, 0));
}

#[test]
fn a_guard_that_cannot_say_hides_the_tool() {
    use Behaviour::{Allow, Deny, Fail, Panic};
    assert!(pipeline(&[("a", Allow), ("b", Fail)]).visible("s", "t"));
    assert!(!pipeline(&[("a", Allow), ("b", Deny)]).visible("s", "t"));
    assert!(!pipeline(&[("a", Panic), ("b", Allow)]).visible("s", "t"));
}

fn tool_denial(policy: &EffectivePolicy, call: &GuardCall<'_>) -> Option<(String, String)> {
    match policy.pipeline().run(call).decision {
        PipelineDecision::Allow => None,
        PipelineDecision::Deny(denial) => {
            assert_eq!(denial.guard, "mcp-tool");
            Some((denial.rule.unwrap().id, denial.reason))
        }
    }
}

#[test]
fn tool_access() {
    let tool = "the tool is not permitted by policy";
    let large = "the arguments are larger than the policy permits";
    for (options, name, expected) in [
        ("{block: [rm]}", "rm", Some(("block[0]", tool))),
        ("{block: [rm]}", "ls", None),
        ("{block: [rm]}", "RM", None),
        ("{block: ['*'], allow: [ls]}", "ls", Some(("block[0]", tool))),
        ("{block: [a, rm, '*']}", "rm", Some(("block[1]", tool))),
        ("{allow: [ls]}", "ls", None),
        ("{allow: [ls]}", "rm", Some(("default_action", tool))),
        ("{allow: [ls], default_action: allow}", "rm", None),
        ("{allow: [ls], block: [ls]}", "ls", Some(("block[0]", tool))),
        ("{default_action: block}", "ls", Some(("default_action", tool))),
        ("{allow: ['*'], block: [rm]}", "ls", None),
        ("{allow: ['*'], block: [rm]}", "rm", Some(("block[0]", tool))),
        ("{max_args_size: 7}", "ls", None),
        ("{max_args_size: 6}", "ls", Some(("max_args_size", large))),
        ("{max_args_size: 0}", "ls", Some(("max_args_size", large))),
        ("{enabled: false, block: ['*'], max_args_size: 0}", "ls", None),
        ("{}", "ls", None),
    ] {
        let policy = EffectivePolicy::parse(&format!("guards: {{tool_access: {options}}}"), "p").unwrap();
        let arguments = json!({ "a": 1 });
        let expected =
            expected.map(|(rule, reason)| (format!("guards.tool_access.{rule}"), reason.to_owned()));
        assert_eq!(tool_denial(&policy, &call(name, &arguments)), expected, "{options} {name}");
        // Names restrict tools only; the size restricts everything.
        let prompt = GuardCall { kind: CallKind::Prompt, ..call(name, &arguments) };
        let by_size = expected.filter(|(_, reason)| reason == large);
        assert_eq!(tool_denial(&policy, &prompt), by_size, "{options} {name}");
    }
}

#[test]
fn guards_run_in_the_order_of_the_reference() {
    let text = "guards:\n  tool_access: {block: [t]}\n  forbidden_path: {patterns: ['**/x']}\n";
    let policy = EffectivePolicy::parse(text, "p").unwrap();
    assert_eq!(format!("{:?}", policy.pipeline()), r#"["forbidden-path", "mcp-tool"]"#);
    let arguments = json!({ "path": "x" });
    let outcome = policy.pipeline().run(&call("t", &arguments));
    assert_eq!(outcome.evidence.len(), 1);
    let arguments = json!({ "path": "y" });
    let outcome = policy.pipeline().run(&call("t", &arguments));
    assert_eq!(outcome.evidence.iter().map(|entry| entry.verdict).collect::<Vec<_>>(), [true, false]);
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![Just("*".to_owned()), "[a-d]"], 0..4)
}

fn list(names: &[String]) -> String {
    serde_json::to_string(names).unwrap()
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c.]{1,3}",
        Just("..".to_owned()),
        Just(".env".to_owned()),
        Just("**".to_owned()),
        Just("*".to_owned()),
        Just("%2e".to_owned())
    ]
}

fn path() -> impl Strategy<Value = String> {
    (any::<bool>(), proptest::collection::vec(segment(), 1..5))
        .prop_map(|(absolute, segments)| format!("{}{}", if absolute { "/" } else { "" }, segments.join("/")))
}

proptest! {
    // Each case compiles policies, which is what takes the time.
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A tool is listed exactly if it can be called, as far as its name decides.
    #[test]
    fn visible_agrees_with_check(allow in names(), block in names(), default in prop_oneof![Just(""), Just(", default_action: allow"), Just(", default_action: block")], tool in "[a-e]") {
        let text = format!("guards: {{tool_access: {{allow: {}, block: {}{default}}}}}", list(&allow), list(&block));
        let policy = EffectivePolicy::parse(&text, "p").unwrap();
        let arguments = json!({});
        let allowed = policy.pipeline().run(&call(&tool, &arguments)).decision == PipelineDecision::Allow;
        prop_assert_eq!(policy.pipeline().visible("srv", &tool), allowed, "{}", text);
    }

    /// More forbidden patterns never allow more, more exceptions never less.
    #[test]
    fn rules_are_monotonic(patterns in proptest::collection::vec(path(), 1..4), more in path(), exceptions in proptest::collection::vec(path(), 0..3), value in path(), key in prop_oneof![Just("path"), Just("x"), Just("text")]) {
        let denied = |patterns: &[String], exceptions: &[String]| {
            let text = format!("guards: {{forbidden_path: {{patterns: {}, exceptions: {}}}}}", list(patterns), list(exceptions));
            let policy = EffectivePolicy::parse(&text, "p").unwrap();
            let arguments = json!({ key: value });
            policy.pipeline().run(&call("t", &arguments)).decision != PipelineDecision::Allow
        };
        let before = denied(&patterns, &exceptions);
        let mut with_more = patterns.clone();
        with_more.push(more.clone());
        prop_assert!(!before || denied(&with_more, &exceptions));
        let mut excepted = exceptions.clone();
        excepted.push(more);
        prop_assert!(before || !denied(&patterns, &excepted));
    }

    /// However a forbidden path is written around, it stays forbidden; whatever the arguments, nothing panics.
    #[test]
    fn detours_do_not_help(detour in "[a-z]{1,4}", depth in 0usize..4, upper in any::<bool>(), encode in any::<bool>(), back in any::<bool>()) {
        let policy = EffectivePolicy::safe_preset().unwrap();
        let mut path = format!("{}{}/.env", format!("{detour}/../").repeat(depth), detour);
        if upper { path = path.to_uppercase(); }
        if encode { path = path.replace('.', "%2e"); }
        if back { path = path.replace('/', "\\"); }
        let arguments = json!({ "anything": [path] });
        prop_assert_ne!(policy.pipeline().run(&call("t", &arguments)).decision, PipelineDecision::Allow);
    }

    #[test]
    fn nothing_panics(text in any::<String>(), key in any::<String>()) {
        let policy = EffectivePolicy::safe_preset().unwrap();
        let arguments = json!({ key: [text, { "path": text, "command": text, "content": text }] });
        let call = GuardCall { resource_uri: Some(&text), ..call("t", &arguments) };
        if let PipelineDecision::Deny(denial) = policy.pipeline().run(&call).decision {
            prop_assert_ne!(denial.code, ErrorCode::GuardFailed);
        }
    }
}
