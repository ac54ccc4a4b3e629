//! Grants: which one admits a call, and when one scope covers another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::capability::{
    GrantRef, SubsetFault, SubsetRule, covering_grants, delegable_subset, match_prompt, match_resource,
    match_tool_grants, subset,
};
use chio_spec::{ChioScope, Constraint, CurrencyCode, MonetaryAmount, Operation, ToolGrant};
use fixture::*;

const INVOKE: &[Operation] = &[Operation::Invoke];

fn order(scope: &ChioScope) -> Vec<usize> {
    let candidates = match_tool_grants(scope, "files", "read", Operation::Invoke);
    candidates.into_iter().map(|(index, _)| index).collect()
}

#[test]
fn tool_grants_are_tried_by_exact_server_then_exact_tool_then_constraints_then_position() {
    let scope = tools(vec![
        grant("*", "*", INVOKE),
        grant("*", "read", INVOKE),
        grant("files", "*", INVOKE),
        grant("files", "read", INVOKE),
        grant("files", "read", INVOKE).with_constraints(vec![path_prefix("/a")]),
        grant("files", "read", INVOKE).with_constraints(vec![path_prefix("/a"), path_prefix("/b")]),
        grant("files", "read", INVOKE).with_constraints(vec![path_prefix("/c")]),
        grant("*", "*", INVOKE).with_constraints(vec![path_prefix("/a")]),
    ]);
    assert_eq!(order(&scope), [5, 4, 6, 3, 2, 1, 7, 0]);
}

#[test]
fn tool_and_server_match_exactly_or_by_star_only() {
    let scope = tools(vec![
        grant("file*", "read", INVOKE),
        grant("files", "re*", INVOKE),
        grant("Files", "read", INVOKE),
        grant("files", "read ", INVOKE),
        grant("other", "read", INVOKE),
    ]);
    assert_eq!(order(&scope), [0_usize; 0]);
}

#[test]
fn a_tool_grant_needs_the_operation() {
    let scope = tools(vec![grant("files", "read", &[Operation::Delegate, Operation::ReadResult])]);
    assert_eq!(order(&scope), [0_usize; 0]);
    assert_eq!(match_tool_grants(&scope, "files", "read", Operation::ReadResult).len(), 1);
}

#[test]
fn an_empty_scope_allows_nothing() {
    let scope = ChioScope::new();
    assert!(match_tool_grants(&scope, "files", "read", Operation::Invoke).is_empty());
    assert!(match_resource(&scope, "file:///a", Operation::Read).is_none());
    assert!(match_prompt(&scope, "p", Operation::Get).is_none());
}

#[test]
fn resources_match_exactly_or_by_prefix_the_longest_first() {
    let read = &[Operation::Read];
    let scope = ChioScope::new().with_resource_grants(vec![
        resource("*", read),
        resource("file:///base/*", read),
        resource("file:///base/src/*", read),
        resource("file:///base/src/main.rs", read),
        resource("file:///etc/*", &[Operation::Subscribe]),
        resource("a*b", read),
    ]);
    let index = |uri: &str| match_resource(&scope, uri, Operation::Read).map(|(index, _)| index);
    assert_eq!(index("file:///base/src/main.rs"), Some(3));
    assert_eq!(index("file:///base/src/lib.rs"), Some(2));
    assert_eq!(index("file:///base/Cargo.toml"), Some(1));
    assert_eq!(index("file:///etc/passwd"), Some(0));
    assert_eq!(index("a*b"), Some(5));
    assert_eq!(index("axb"), Some(0));
    let subscribed = match_resource(&scope, "file:///etc/passwd", Operation::Subscribe);
    assert_eq!(subscribed.map(|(index, _)| index), Some(4));
}

#[test]
fn a_uri_that_climbs_matches_no_prefix() {
    let scope = ChioScope::new().with_resource_grants(vec![resource("file:///base/*", &[Operation::Read])]);
    for uri in [
        "file:///base/../etc/passwd",
        "file:///base/a/..",
        "file:///base/%2e%2e/etc/passwd",
        "file:///base/%2E./etc",
        "file:///base/a%2f..%2f..%2fetc",
        r"file:///base/..\..\etc",
        "file:///base/a%5C..%5c..",
    ] {
        assert!(match_resource(&scope, uri, Operation::Read).is_none(), "{uri}");
    }
    assert!(match_resource(&scope, "file:///base/a..b/...", Operation::Read).is_some());
}

/// URL parsers remove tabs and line breaks before they read a URI, so it would name another resource there.
#[test]
fn a_uri_with_control_characters_matches_nothing() {
    let read = &[Operation::Read];
    let uris =
        ["file:///base/.\t./etc/passwd", "file:///base/a\n", "\u{1}file:///base/a", "file:///base/\u{7f}"];
    for uri in uris {
        for pattern in ["file:///base/*", "*", uri] {
            let scope = ChioScope::new().with_resource_grants(vec![resource(pattern, read)]);
            assert!(match_resource(&scope, uri, Operation::Read).is_none(), "{uri:?} {pattern:?}");
        }
    }
    let scope = ChioScope::new().with_resource_grants(vec![resource("file:///base/*", read)]);
    assert!(match_resource(&scope, "file:///base/.. ", Operation::Read).is_none());
    assert!(match_resource(&scope, "file:///base/two words", Operation::Read).is_some());
}

#[test]
fn prompts_match_exactly_or_by_prefix() {
    let get = &[Operation::Get];
    let scope =
        ChioScope::new().with_prompt_grants(vec![prompt("review-*", get), prompt("review-code", get)]);
    let index = |name: &str| match_prompt(&scope, name, Operation::Get).map(|(index, _)| index);
    assert_eq!(index("review-code"), Some(1));
    assert_eq!(index("review-text"), Some(0));
    assert_eq!(index("summarise"), None);
    assert!(match_prompt(&scope, "review-code", Operation::Read).is_none());
}

fn money(units: u64, currency: &str) -> MonetaryAmount {
    MonetaryAmount::new(CurrencyCode::new(currency).unwrap(), units)
}

fn rule(child: ToolGrant, parent: ToolGrant) -> Option<SubsetRule> {
    match subset(&tools(vec![child]), &tools(vec![parent])) {
        Ok(()) => None,
        Err(SubsetFault { grant, rule }) => {
            assert_eq!(grant, GrantRef::Tool(0));
            Some(rule)
        }
    }
}

#[test]
fn subset_rule_1_every_grant_is_covered_by_one_parent_grant() {
    let parent = tools(vec![delegable("files", "read"), delegable("mail", "*")]);
    assert_eq!(subset(&ChioScope::new(), &parent), Ok(()));
    assert_eq!(subset(&parent, &parent), Ok(()));
    let child = tools(vec![grant("mail", "send", INVOKE), grant("mail", "*", INVOKE)]);
    assert_eq!(subset(&child, &parent), Ok(()));
    let child = tools(vec![grant("mail", "send", INVOKE), grant("web", "get", INVOKE)]);
    let fault = subset(&child, &parent).unwrap_err();
    assert_eq!(fault, SubsetFault { grant: GrantRef::Tool(1), rule: SubsetRule::Target });
    assert_eq!(
        fault.to_string(),
        "grants[1] of the child is wider than its parent: no grant of the parent covers its target; \
         narrow it to what the parent allows"
    );
    // Two parent grants do not add up.
    let halves =
        tools(vec![grant("files", "read", INVOKE), grant("files", "read", &[Operation::ReadResult])]);
    let both = tools(vec![grant("files", "read", &[Operation::Invoke, Operation::ReadResult])]);
    assert_eq!(subset(&both, &halves).unwrap_err().rule, SubsetRule::Operations);
}

#[test]
fn subset_rule_2_target_and_operations() {
    assert_eq!(rule(grant("files", "read", INVOKE), grant("*", "*", INVOKE)), None);
    assert_eq!(rule(grant("*", "read", INVOKE), grant("files", "read", INVOKE)), Some(SubsetRule::Target));
    assert_eq!(rule(grant("files", "*", INVOKE), grant("files", "read", INVOKE)), Some(SubsetRule::Target));
    assert_eq!(rule(grant("files", "read", &[]), grant("files", "read", INVOKE)), None);
    let wider = grant("files", "read", &[Operation::Invoke, Operation::Delegate]);
    assert_eq!(rule(wider, grant("files", "read", INVOKE)), Some(SubsetRule::Operations));
}

#[test]
fn subset_rule_3_invocations() {
    let limited = |limit| grant("files", "read", INVOKE).with_max_invocations(limit);
    assert_eq!(rule(limited(5), limited(5)), None);
    assert_eq!(rule(limited(0), limited(5)), None);
    assert_eq!(rule(limited(6), limited(5)), Some(SubsetRule::MaxInvocations));
    assert_eq!(rule(grant("files", "read", INVOKE), limited(5)), Some(SubsetRule::MaxInvocations));
    assert_eq!(rule(limited(6), grant("files", "read", INVOKE)), None);
}

#[test]
fn subset_rule_4_constraints_occur_exactly_equal() {
    let with = |constraints: Vec<Constraint>| grant("files", "read", INVOKE).with_constraints(constraints);
    let parent = || with(vec![path_prefix("/base"), Constraint::MaxLength(32)]);
    assert_eq!(rule(with(vec![Constraint::MaxLength(32), path_prefix("/base")]), parent()), None);
    let more = with(vec![Constraint::MaxLength(32), Constraint::MaxLength(8), path_prefix("/base")]);
    assert_eq!(rule(more, parent()), None);
    assert_eq!(rule(with(vec![path_prefix("/base")]), parent()), Some(SubsetRule::Constraints));
    // No narrowing by meaning.
    let narrower = with(vec![path_prefix("/base/src"), Constraint::MaxLength(32)]);
    assert_eq!(rule(narrower, parent()), Some(SubsetRule::Constraints));
}

#[test]
fn subset_rule_5_costs_keep_currency_and_cap() {
    let per_call =
        |units, currency| grant("files", "read", INVOKE).with_max_cost_per_invocation(money(units, currency));
    let total = |units, currency| grant("files", "read", INVOKE).with_max_total_cost(money(units, currency));
    let free = || grant("files", "read", INVOKE);
    assert_eq!(rule(per_call(5, "EUR"), per_call(5, "EUR")), None);
    assert_eq!(rule(per_call(6, "EUR"), per_call(5, "EUR")), Some(SubsetRule::MaxCostPerInvocation));
    assert_eq!(rule(per_call(5, "USD"), per_call(5, "EUR")), Some(SubsetRule::MaxCostPerInvocation));
    assert_eq!(rule(free(), per_call(5, "EUR")), Some(SubsetRule::MaxCostPerInvocation));
    assert_eq!(rule(total(6, "EUR"), total(5, "EUR")), Some(SubsetRule::MaxTotalCost));
    assert_eq!(rule(total(1, "USD"), total(5, "EUR")), Some(SubsetRule::MaxTotalCost));
    assert_eq!(rule(free(), total(5, "EUR")), Some(SubsetRule::MaxTotalCost));
    assert_eq!(rule(total(9, "EUR"), free()), None);
}

#[test]
fn subset_rule_6_proof_of_possession_stays() {
    let proof = |required| grant("files", "read", INVOKE).with_dpop_required(required);
    let silent = || grant("files", "read", INVOKE);
    assert_eq!(rule(proof(true), proof(true)), None);
    assert_eq!(rule(proof(false), proof(true)), Some(SubsetRule::DpopRequired));
    assert_eq!(rule(silent(), proof(true)), Some(SubsetRule::DpopRequired));
    assert_eq!(rule(silent(), proof(false)), None);
    assert_eq!(rule(proof(true), silent()), None);
}

#[test]
fn subset_rule_7_resource_and_prompt_patterns() {
    let read = &[Operation::Read];
    let covers = |parent: &str, child: &str| {
        let scope = |pattern| ChioScope::new().with_resource_grants(vec![resource(pattern, read)]);
        let prompts = |pattern| ChioScope::new().with_prompt_grants(vec![prompt(pattern, read)]);
        let resources = subset(&scope(child), &scope(parent)).is_ok();
        assert_eq!(subset(&prompts(child), &prompts(parent)).is_ok(), resources, "{parent} {child}");
        resources
    };
    assert!(covers("*", "file:///a*"));
    assert!(covers("*", "*"));
    assert!(covers("a*", "ab*"));
    assert!(covers("a*", "a"));
    assert!(covers("a", "a"));
    assert!(!covers("ab*", "a*"));
    assert!(!covers("a*", "*"));
    assert!(!covers("a", "ab"));
    assert!(!covers("a*b", "acb"));

    let parent = ChioScope::new().with_resource_grants(vec![resource("*", read)]);
    let child =
        ChioScope::new().with_resource_grants(vec![resource("a", &[Operation::Read, Operation::Subscribe])]);
    let fault = subset(&child, &parent).unwrap_err();
    assert_eq!(fault, SubsetFault { grant: GrantRef::Resource(0), rule: SubsetRule::Operations });
    let child = ChioScope::new().with_prompt_grants(vec![prompt("a", read)]);
    let fault = subset(&child, &parent).unwrap_err();
    assert_eq!(fault, SubsetFault { grant: GrantRef::Prompt(0), rule: SubsetRule::Target });
}

/// A prefix does not admit a URI that climbs out of it, so a child may not name one exactly either.
#[test]
fn a_child_cannot_name_a_uri_that_climbs_out_of_the_parents_prefix() {
    let scope = |pattern| ChioScope::new().with_resource_grants(vec![resource(pattern, &[Operation::Read])]);
    for climbing in ["file:///base/../etc/passwd", "file:///base/%2e%2e/*"] {
        assert!(subset(&scope(climbing), &scope("file:///base/*")).is_err());
        assert!(subset(&scope(climbing), &scope("*")).is_ok());
    }
}

#[test]
fn only_grants_that_hold_delegate_can_be_passed_on() {
    let parent = tools(vec![grant("files", "read", INVOKE), delegable("files", "list")]);
    let fault = delegable_subset(&tools(vec![grant("files", "read", INVOKE)]), &parent).unwrap_err();
    assert_eq!(fault, SubsetFault { grant: GrantRef::Tool(0), rule: SubsetRule::Delegate });
    assert_eq!(delegable_subset(&tools(vec![grant("files", "list", INVOKE)]), &parent), Ok(()));
    assert_eq!(subset(&tools(vec![grant("files", "read", INVOKE)]), &parent), Ok(()));

    for (child, parent, wanted) in [
        (&[Operation::Read], &[Operation::Read][..], false),
        (&[Operation::Read], &[Operation::Read, Operation::Delegate][..], true),
    ] {
        let scope = |operations: &[Operation]| {
            let grants = vec![resource("a*", operations)];
            ChioScope::new().with_resource_grants(grants)
        };
        assert_eq!(delegable_subset(&scope(child), &scope(parent)).is_ok(), wanted);
        let scope = |operations: &[Operation]| {
            let grants = vec![prompt("a*", operations)];
            ChioScope::new().with_prompt_grants(grants)
        };
        assert_eq!(delegable_subset(&scope(child), &scope(parent)).is_ok(), wanted);
    }
}

#[test]
fn a_call_under_a_child_is_charged_to_a_delegable_grant_that_covers_it() {
    let parent = tools(vec![
        grant("files", "read", INVOKE),
        delegable("files", "read").with_max_invocations(3),
        delegable("files", "*"),
        delegable("files", "write"),
    ]);
    let child = grant("files", "read", INVOKE).with_max_invocations(2);
    assert_eq!(covering_grants(&child, &parent), [1, 2]);
    assert_eq!(covering_grants(&grant("files", "read", INVOKE), &parent), [2]);
    assert_eq!(covering_grants(&grant("web", "get", INVOKE), &parent), [0_usize; 0]);
}
