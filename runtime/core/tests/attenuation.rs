//! Passing capabilities on: what the holder may make offline, and that no chain ever widens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::capability::constraint::{ArgumentView, evaluate};
use chio_core::capability::{
    Attenuate, AttenuateFault, SubsetRule, TimeStatus, admit, attenuate, match_prompt, match_resource,
    match_tool_grants, subset,
};
use chio_json::Json;
use chio_spec::{
    Attenuation, ChioScope, Constraint, CurrencyCode, ErrorCode, MonetaryAmount, Operation, ToolGrant,
};
use fixture::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn scope() -> ChioScope {
    tools(vec![
        delegable("files", "read").with_max_invocations(5),
        delegable("files", "write"),
        delegable("mail", "*").with_dpop_required(true),
    ])
    .with_resource_grants(vec![resource("file:///base/*", &[Operation::Read, Operation::Delegate])])
}

fn fault(request: Attenuate) -> AttenuateFault {
    attenuate(&holder(0), &root(scope()), request).unwrap_err()
}

#[test]
fn the_holder_attenuates_offline_any_number_of_times() {
    let tokens = all_verified(&chain(12, &scope()));
    let (token, ancestors) = tokens.split_last().unwrap();
    assert_eq!(token.token().delegation_chain.len(), 12);
    assert_eq!(token.issuer(), &holder(11).public());
    admit(token, ancestors, &[hex(&authority())], 12).unwrap();
}

#[test]
fn only_the_holder_can_attenuate() {
    for stranger in [authority(), holder(1)] {
        let fault = attenuate(&stranger, &root(scope()), request(1, scope())).unwrap_err();
        assert!(matches!(fault, AttenuateFault::NotHolder { .. }), "{fault}");
        assert_eq!(fault.code(), ErrorCode::SubjectMismatch);
    }
}

#[test]
fn a_broken_parent_is_refused() {
    let text = root(scope()).text().replace("files", "filez");
    let parent = chio_json::Signed::from_text(text).unwrap();
    let fault = attenuate(&holder(0), &parent, request(1, scope())).unwrap_err();
    assert!(matches!(fault, AttenuateFault::Parent(_)));
}

#[test]
fn attenuating_outside_the_parents_window_is_refused() {
    let at = |now| fault(Attenuate { now, ..request(1, scope()) });
    assert!(matches!(at(START - 1), AttenuateFault::ParentWindow { status: TimeStatus::NotYetValid, .. }));
    assert!(matches!(at(END), AttenuateFault::ParentWindow { status: TimeStatus::Expired, .. }));
}

#[test]
fn a_child_that_outlives_its_parent_or_never_lives_is_refused() {
    let until = |expires_at| fault(Attenuate { expires_at, ..request(1, scope()) });
    assert!(until(END + 1).to_string().contains("expires after its parent"));
    assert!(matches!(until(START + 60), AttenuateFault::EmptyWindow { .. }));
    assert!(matches!(until(0), AttenuateFault::EmptyWindow { .. }));
}

#[test]
fn widening_is_refused() {
    let wider = [
        (SubsetRule::Target, tools(vec![delegable("web", "get")])),
        (SubsetRule::MaxInvocations, tools(vec![delegable("files", "read")])),
        (SubsetRule::DpopRequired, tools(vec![delegable("mail", "send")])),
        (SubsetRule::Operations, tools(vec![grant("files", "write", &[Operation::Get])])),
    ];
    for (rule, scope) in wider {
        let fault = fault(request(1, scope));
        assert!(fault.to_string().contains(rule.as_str()), "{fault}");
        assert_eq!(fault.code(), ErrorCode::DelegationInvalid);
    }
}

#[test]
fn a_parent_without_delegate_cannot_be_attenuated() {
    let parent = root(tools(vec![grant("files", "read", &[Operation::Invoke])]));
    let child = tools(vec![grant("files", "read", &[Operation::Invoke])]);
    let fault = attenuate(&holder(0), &parent, request(1, child)).unwrap_err();
    assert!(fault.to_string().contains(SubsetRule::Delegate.as_str()), "{fault}");
}

#[test]
fn an_identifier_of_an_ancestor_is_refused() {
    let fault = fault(Attenuate { id: id("cap-root"), ..request(1, scope()) });
    assert!(fault.to_string().contains("identifier of one of its ancestors"), "{fault}");
}

#[test]
fn an_unusable_subject_is_refused() {
    let subject = chio_json::PublicKeyHex::from_bytes([0; 32]);
    assert!(matches!(fault(Attenuate { subject, ..request(1, scope()) }), AttenuateFault::Subject(_)));
}

#[test]
fn the_link_declares_what_the_child_gives_up() {
    let euro = MonetaryAmount::new(CurrencyCode::new("EUR").unwrap(), 7);
    let child = tools(vec![
        grant("files", "read", &[Operation::Invoke])
            .with_max_invocations(2)
            .with_constraints(vec![path_prefix("/base")])
            .with_max_cost_per_invocation(euro.clone())
            .with_max_total_cost(euro),
    ]);
    let token = attenuate(&holder(0), &root(scope()), request(1, child)).unwrap();
    let link = &token.view().unwrap().delegation_chain[0];
    let kinds: Vec<String> = link
        .attenuations
        .iter()
        .map(|attenuation| serde_json::to_value(attenuation).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "remove_operation",
            "remove_operation",
            "remove_tool",
            "remove_tool",
            "add_constraint",
            "reduce_budget",
            "reduce_cost_per_invocation",
            "reduce_total_cost",
            "shorten_expiry",
        ]
    );
    assert!(
        matches!(&link.attenuations[2], Attenuation::RemoveTool(gone) if gone.tool_name.as_str() == "write")
    );
    assert_eq!(
        (link.timestamp, link.delegator, link.delegatee),
        (START + 60, hex(&holder(0)), hex(&holder(1)))
    );

    // The same scope and window give nothing up.
    let same = Attenuate { expires_at: END, ..request(1, scope()) };
    let token = attenuate(&holder(0), &root(scope()), same).unwrap();
    assert!(token.view().unwrap().delegation_chain[0].attenuations.is_empty());
}

// Property: whatever a child admits, its parent admits.

fn server() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["*", "files", "mail"]).prop_map(str::to_owned)
}

fn tool() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["*", "read", "write"]).prop_map(str::to_owned)
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let others = vec![Operation::Invoke, Operation::ReadResult, Operation::Read, Operation::Get];
    (prop::sample::subsequence(others, 0..=4), prop::bool::weighted(0.9)).prop_map(
        |(mut operations, delegate)| {
            if delegate {
                operations.insert(0, Operation::Delegate);
            }
            operations
        },
    )
}

fn constraint() -> impl Strategy<Value = Constraint> {
    prop_oneof![
        prop::sample::select(vec!["/base", "/base/src", "/"]).prop_map(path_prefix),
        prop::sample::select(vec![4_u64, 12, 100]).prop_map(Constraint::MaxLength),
        Just(Constraint::RegexMatch("^/base".to_owned())),
    ]
}

fn optional_limit() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(0..4_u32)
}

fn tool_grant() -> impl Strategy<Value = ToolGrant> {
    let money = prop::option::of((0..3_u64, prop::sample::select(vec!["EUR", "USD"])));
    let constraints = prop::collection::vec(constraint(), 0..3);
    (server(), tool(), operations(), constraints, optional_limit(), any::<bool>(), money.clone(), money)
        .prop_map(|(server, tool, operations, constraints, limit, dpop, per_call, total)| {
            let amount = |(units, currency): (u64, &str)| {
                MonetaryAmount::new(CurrencyCode::new(currency).unwrap(), units)
            };
            let mut grant = grant(&server, &tool, &operations).with_constraints(constraints);
            grant.max_invocations = limit;
            grant.dpop_required = dpop.then_some(true);
            grant.max_cost_per_invocation = per_call.map(amount);
            grant.max_total_cost = total.map(amount);
            grant
        })
}

fn pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["*", "f/*", "f/a", "f/a*", "f/../b", "f/..*", "g"]).prop_map(str::to_owned)
}

fn any_scope() -> impl Strategy<Value = ChioScope> {
    let patterns = || prop::collection::vec((pattern(), operations()), 0..3);
    (prop::collection::vec(tool_grant(), 0..4), patterns(), patterns()).prop_map(|(grants, uris, prompts)| {
        ChioScope::new()
            .with_grants(grants)
            .with_resource_grants(
                uris.iter().map(|(pattern, operations)| resource(pattern, operations)).collect(),
            )
            .with_prompt_grants(
                prompts.iter().map(|(pattern, operations)| prompt(pattern, operations)).collect(),
            )
    })
}

/// A scope made from another by changes that mostly narrow it, so that many pairs are really attenuations.
fn narrowed(parent: ChioScope) -> impl Strategy<Value = ChioScope> {
    let count = parent.grants.len();
    let changes = prop::collection::vec((any::<u8>(), constraint(), 0..4_u32, tool()), count);
    changes.prop_map(move |changes| {
        let mut child = parent.clone();
        for (grant, (change, constraint, limit, tool)) in child.grants.iter_mut().zip(changes) {
            match change % 8 {
                0 => grant.constraints.push(constraint),
                1 => grant.max_invocations = Some(limit),
                2 => grant.dpop_required = Some(true),
                3 => {
                    grant.operations.pop();
                }
                4 => grant.tool_name = tool.parse().unwrap(),
                5 => grant.max_invocations = None,
                6 => {
                    grant.constraints.pop();
                }
                _ => {}
            }
        }
        child
    })
}

fn pair() -> impl Strategy<Value = (ChioScope, ChioScope)> {
    any_scope().prop_flat_map(|parent| {
        let child = prop_oneof![4 => narrowed(parent.clone()).boxed(), 1 => any_scope().boxed()];
        (child, Just(parent))
    })
}

/// What a call costs its grant, as far as the scope limits it.
#[derive(Debug, Clone)]
struct Request {
    server: String,
    tool: String,
    arguments: String,
    uri: String,
    earlier_calls: u32,
    with_proof: bool,
    cost: (u64, &'static str),
}

fn any_request() -> impl Strategy<Value = Request> {
    (
        prop::sample::select(vec!["files", "mail", "web"]),
        prop::sample::select(vec!["read", "write", "send"]),
        prop::sample::select(vec![
            r#"{"path":"/base/a"}"#,
            r#"{"path":"/base/src/a"}"#,
            r#"{"path":"/etc/passwd"}"#,
            r#"{"path":"/base/../etc"}"#,
            r#"{}"#,
        ]),
        prop::sample::select(vec!["f/a", "f/b", "f/../b", "f/..", "f/..x", "g", "h"]),
        0..4_u32,
        any::<bool>(),
        (0..3_u64, prop::sample::select(vec!["EUR", "USD"])),
    )
        .prop_map(|(server, tool, arguments, uri, earlier_calls, with_proof, cost)| Request {
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: arguments.to_owned(),
            uri: uri.to_owned(),
            earlier_calls,
            with_proof,
            cost,
        })
}

fn admits_tool(scope: &ChioScope, request: &Request, operation: Operation) -> bool {
    let arguments = ArgumentView::new(&Json::from_text(request.arguments.clone()).unwrap()).unwrap();
    let within = |limit: Option<&MonetaryAmount>| {
        limit.is_none_or(|limit| limit.currency.as_str() == request.cost.1 && request.cost.0 <= limit.units)
    };
    match_tool_grants(scope, &request.server, &request.tool, operation).into_iter().any(|(_, grant)| {
        grant.constraints.iter().all(|constraint| evaluate(constraint, &arguments).is_ok())
            && grant.max_invocations.is_none_or(|limit| request.earlier_calls < limit)
            && (request.with_proof || grant.dpop_required != Some(true))
            && within(grant.max_cost_per_invocation.as_ref())
            && within(grant.max_total_cost.as_ref())
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn what_a_subset_admits_its_superset_admits() {
    let (mut subsets, mut admitted) = (0_u32, 0_u32);
    let calls = prop::collection::vec(any_request(), 6);
    let law = |((child, parent), calls): ((ChioScope, ChioScope), Vec<Request>)| {
        if subset(&child, &parent).is_err() {
            return Ok(());
        }
        subsets += 1;
        for (request, operation) in each(&calls) {
            let verdicts = [
                (admits_tool(&child, request, operation), admits_tool(&parent, request, operation)),
                (
                    match_resource(&child, &request.uri, operation).is_some(),
                    match_resource(&parent, &request.uri, operation).is_some(),
                ),
                (
                    match_prompt(&child, &request.uri, operation).is_some(),
                    match_prompt(&parent, &request.uri, operation).is_some(),
                ),
            ];
            for (child_admits, parent_admits) in verdicts {
                prop_assert!(!child_admits || parent_admits, "{operation} {request:?}");
                admitted += u32::from(child_admits);
            }
        }
        Ok(())
    };
    run(config(2_000), &(pair(), calls), law);
    println!("{subsets} of 2000 pairs are subsets; their children admitted {admitted} calls");
    assert!(subsets > 600 && admitted > 5_000, "the law was hardly put to the test");
}

fn run<S: Strategy>(
    config: ProptestConfig,
    strategy: &S,
    law: impl FnMut(S::Value) -> Result<(), TestCaseError>,
) {
    // `TestRunner::run` takes an `Fn`, and the laws count.
    let law = std::cell::RefCell::new(law);
    if let Err(error) = TestRunner::new(config).run(strategy, |value| (law.borrow_mut())(value)) {
        panic!("{error}");
    }
}

/// Whatever the holder can make is admitted, and nothing admitted is wider.
#[test]
fn attenuation_never_widens() {
    let mut made = 0_u32;
    let calls = prop::collection::vec(any_request(), 8);
    let law = |((child, parent), sooner, calls): ((ChioScope, ChioScope), u64, Vec<Request>)| {
        let parent_token = root(parent.clone());
        let wish = Attenuate { expires_at: END - sooner, ..request(1, child.clone()) };
        let Ok(token) = attenuate(&holder(0), &parent_token, wish) else { return Ok(()) };
        made += 1;
        let (token, ancestor) = (verified(&token), verified(&parent_token));
        prop_assert_eq!(admit(&token, &[ancestor], &[hex(&authority())], 5), Ok(()));
        prop_assert!(token.token().expires_at <= END);
        for (request, operation) in each(&calls) {
            let child_admits = admits_tool(&child, request, operation);
            prop_assert!(!child_admits || admits_tool(&parent, request, operation));
        }
        Ok(())
    };
    run(config(600), &(pair(), 0..10_u64, calls), law);
    println!("{made} of 600 wishes were attenuations");
    assert!(made > 100, "the law was hardly put to the test");
}

fn each(calls: &[Request]) -> impl Iterator<Item = (&Request, Operation)> {
    calls.iter().flat_map(|call| Operation::ALL.iter().map(move |operation| (call, *operation)))
}
