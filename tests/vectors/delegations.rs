//! Whether a delegated token may be admitted.

use chio_core::capability::{AdmissionFault, StepFault, SubsetRule, VerifiedToken, admit};
use chio_json::Signed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{
    AUTHORITY, END, HOLDER, START, STRANGER, chain, child, grant, public, root, sign, text, token_body,
    tools, with,
};

pub(crate) enum Delegations {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    token: String,
    ancestors: Vec<String>,
    trusted_issuers: Vec<String>,
    max_depth: usize,
    fault: Option<String>,
}

impl Family for Delegations {
    const NAME: &'static str = "delegations";
    const ABOUT: &'static str = "Whether a kernel that trusts `trusted_issuers` admits `token`, given its `ancestors` \
        (root first) and at most `max_depth` links: null, or the first `fault` from the root downwards. Every single \
        signature in this file is good. `wider_*` names the rule of attenuation that the child breaks. Time and \
        revocation are asked elsewhere.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let mut cases = lineages();
        cases.extend(steps());
        cases.extend(widened());
        cases.extend(declared());
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let verified = |text: &String| VerifiedToken::verify(&Signed::from_text(text.clone()).unwrap());
        let token = verified(&case.token).map_err(|fault| fault.to_string())?;
        let ancestors: Result<Vec<_>, _> = case.ancestors.iter().map(verified).collect();
        let ancestors = ancestors.map_err(|fault| fault.to_string())?;
        let trusted: Vec<_> = case.trusted_issuers.iter().map(|key| key.parse().unwrap()).collect();
        let fault = admit(&token, &ancestors, &trusted, case.max_depth).err();
        same("fault", case.fault.as_deref(), fault.as_ref().map(name))
    }
}

fn case(id: &str, about: &str, tokens: &[Value], fault: Option<&str>) -> Named<Case> {
    let (token, ancestors) = tokens.split_last().unwrap();
    let case = Case {
        token: text(token),
        ancestors: ancestors.iter().map(text).collect(),
        trusted_issuers: vec![public(AUTHORITY)],
        max_depth: 5,
        fault: fault.map(Into::into),
    };
    named(id, about, case)
}

fn lineages() -> Vec<Named<Case>> {
    let scope = tools(&[grant("files", "read")]);
    let tokens = chain(3, &scope);
    let stranger = sign(token_body("cap-root", STRANGER, HOLDER, scope.clone()), STRANGER);
    let namesake = sign(token_body("cap-root", AUTHORITY, HOLDER + 1, scope.clone()), AUTHORITY);
    let rootless = child(&stranger, 1, scope.clone(), |_, _| {});
    let mut shallow = case("too-deep", "three links where two are allowed", &tokens, Some("too_deep"));
    shallow.case_mut().max_depth = 2;
    vec![
        case("root", "issued by the trusted authority", &tokens[..1], None),
        case("delegated-1", "passed on once", &tokens[..2], None),
        case("delegated-2", "passed on twice", &tokens[..3], None),
        case("delegated-3", "passed on three times", &tokens, None),
        shallow,
        case(
            "untrusted-root",
            "issued by nobody we know",
            std::slice::from_ref(&stranger),
            Some("issuer_untrusted"),
        ),
        case(
            "untrusted-lineage",
            "its root was issued by nobody we know",
            &[stranger, rootless],
            Some("issuer_untrusted"),
        ),
        case("no-ancestors", "the parent does not come along", &tokens[1..2], Some("ancestor_unknown")),
        case(
            "ancestor-missing",
            "one of two does not come along",
            &[tokens[0].clone(), tokens[2].clone()],
            Some("ancestor_unknown"),
        ),
        case(
            "ancestors-swapped",
            "not root first",
            &[tokens[1].clone(), tokens[0].clone(), tokens[2].clone()],
            Some("ancestor_unknown"),
        ),
        case(
            "ancestor-too-many",
            "more ancestors than links",
            &[tokens[0].clone(), tokens[1].clone(), tokens[1].clone()],
            Some("ancestor_count"),
        ),
        case(
            "ancestor-namesake",
            "another token of the authority, with the parent's identifier",
            &[namesake, tokens[1].clone()],
            Some("delegator"),
        ),
        case(
            "ancestor-self",
            "its own parent",
            &[tokens[1].clone(), tokens[1].clone()],
            Some("ancestor_unknown"),
        ),
    ]
}

/// One broken rule each, in a single step from the root.
fn steps() -> Vec<Named<Case>> {
    let scope = tools(&[grant("files", "read")]);
    let parent = root(scope.clone());
    let step = |id, about, fault, edit: &dyn Fn(&mut Value, &mut Value)| {
        let tokens = [parent.clone(), child(&parent, 1, scope.clone(), edit)];
        case(id, about, &tokens, Some(fault))
    };
    let two = chain(2, &scope);
    let other_parent = child(&two[0], 1, scope.clone(), |link, _| link["timestamp"] = json!(START + 59));
    vec![
        step("step-own-id", "it takes its parent's identifier", "id_reused", &|_, body| {
            body["id"] = json!("cap-root")
        }),
        step("step-delegatee", "it is made out to another key than its link", "delegatee", &|_, body| {
            body["subject"] = json!(public(STRANGER))
        }),
        step("step-link-subject", "its link is made out to another key", "delegatee", &|link, _| {
            link["delegatee"] = json!(public(STRANGER))
        }),
        step("step-before-parent", "delegated before the parent was valid", "timestamp", &|link, _| {
            link["timestamp"] = json!(1_699_999_999)
        }),
        step("step-after-parent", "delegated when the parent had ended", "timestamp", &|link, _| {
            link["timestamp"] = json!(END)
        }),
        step("step-backdated", "valid before it was delegated", "issued_before_link", &|_, body| {
            body["issued_at"] = json!(1_700_000_059)
        }),
        step(
            "step-outlives",
            "valid one second longer than its parent",
            "expires_after_parent",
            &|_, body| body["expires_at"] = json!(END + 1),
        ),
        case(
            "step-other-parent",
            "its chain goes through another delegation to the same key",
            &[two[0].clone(), other_parent, two[2].clone()],
            Some("chain"),
        ),
        case(
            "step-delegator",
            "a stranger passes on what it never held",
            &[parent.clone(), by_stranger(&parent, &scope)],
            Some("delegator"),
        ),
        case(
            "step-issuer",
            "the authority issues what the holder delegates",
            &[parent.clone(), by_authority(&parent, &scope)],
            Some("issuer"),
        ),
    ]
}

fn by_stranger(parent: &Value, scope: &Value) -> Value {
    let spoilt = child(parent, 1, scope.clone(), |link, body| {
        link["delegator"] = json!(public(STRANGER));
        *link = sign(link.clone(), STRANGER);
        body["issuer"] = json!(public(STRANGER));
    });
    sign(spoilt, STRANGER)
}

fn by_authority(parent: &Value, scope: &Value) -> Value {
    sign(with(&child(parent, 1, scope.clone(), |_, _| {}), "issuer", json!(public(AUTHORITY))), AUTHORITY)
}

/// The rules of attenuation: a parent with everything that can be limited, and a child that widens one thing.
fn widened() -> Vec<Named<Case>> {
    let limited = || {
        let mut limited = grant("files", "read");
        limited["constraints"] =
            json!([{"type": "path_prefix", "value": "/srv"}, {"type": "max_length", "value": 100}]);
        limited["dpop_required"] = json!(true);
        limited["max_cost_per_invocation"] = json!({"currency": "EUR", "units": 100});
        limited["max_invocations"] = json!(10);
        limited["max_total_cost"] = json!({"currency": "EUR", "units": 1000});
        limited
    };
    let resources = json!([{"operations": ["read", "delegate"], "uri_pattern": "file:///srv/*"}]);
    let prompts = json!([{"operations": ["get", "delegate"], "prompt_name": "summary*"}]);
    let fixed = json!({"operations": ["invoke"], "server_id": "files", "tool_name": "stat"});
    let parent =
        root(json!({"grants": [limited(), fixed], "prompt_grants": prompts, "resource_grants": resources}));
    let scoped = |id: &str, about: &str, fault: Option<&str>, scope: Value| {
        case(id, about, &[parent.clone(), child(&parent, 1, scope, |_, _| {})], fault)
    };
    let tool = |id: &str, about: &str, fault: Option<&str>, edit: fn(&mut Value)| {
        let mut own = limited();
        edit(&mut own);
        scoped(id, about, fault, tools(&[own]))
    };
    let resource = |id: &str, about: &str, fault, pattern: &str, operation: &str| {
        scoped(
            id,
            about,
            fault,
            json!({"resource_grants": [{"operations": [operation], "uri_pattern": pattern}]}),
        )
    };
    let prompt = |id: &str, about: &str, fault, name: &str, operation: &str| {
        scoped(id, about, fault, json!({"prompt_grants": [{"operations": [operation], "prompt_name": name}]}))
    };
    vec![
        tool("subset-equal", "the same grant", None, |_| {}),
        tool("subset-narrower", "less of everything", None, |own| {
            own["operations"] = json!(["invoke"]);
            own["constraints"] = json!([{"type": "max_length", "value": 100}, {"type": "path_prefix", "value": "/srv"}, {"type": "path_prefix", "value": "/srv/a"}]);
            own["max_invocations"] = json!(9);
            own["max_cost_per_invocation"]["units"] = json!(99);
            own["max_total_cost"]["units"] = json!(0);
        }),
        scoped("subset-empty", "nothing at all", None, json!({})),
        tool("wider-server", "another server", Some("wider_target"), |own| own["server_id"] = json!("mail")),
        tool("wider-tool", "every tool of the server", Some("wider_target"), |own| {
            own["tool_name"] = json!("*")
        }),
        scoped(
            "wider-undelegable",
            "a grant that may be used but not passed on",
            Some("wider_delegate"),
            tools(&[json!({"operations": ["invoke"], "server_id": "files", "tool_name": "stat"})]),
        ),
        tool("wider-operation", "one operation more", Some("wider_operations"), |own| {
            own["operations"] = json!(["invoke", "read_result", "delegate", "read"])
        }),
        tool("wider-invocations", "one call more", Some("wider_max_invocations"), |own| {
            own["max_invocations"] = json!(11)
        }),
        tool("wider-invocations-missing", "no limit", Some("wider_max_invocations"), |own| {
            drop(own.as_object_mut().unwrap().remove("max_invocations"))
        }),
        tool("wider-constraint-dropped", "one of two constraints", Some("wider_constraints"), |own| {
            own["constraints"] = json!([{"type": "path_prefix", "value": "/srv"}])
        }),
        tool(
            "wider-constraint-replaced",
            "a narrower folder in place of the parent's is not the parent's",
            Some("wider_constraints"),
            |own| own["constraints"][0]["value"] = json!("/srv/a"),
        ),
        tool("wider-constraint-relaxed", "a larger number", Some("wider_constraints"), |own| {
            own["constraints"][1]["value"] = json!(101)
        }),
        tool("wider-cost", "one cent more for a call", Some("wider_max_cost_per_invocation"), |own| {
            own["max_cost_per_invocation"]["units"] = json!(101)
        }),
        tool(
            "wider-cost-currency",
            "another currency is not comparable",
            Some("wider_max_cost_per_invocation"),
            |own| own["max_cost_per_invocation"]["currency"] = json!("USD"),
        ),
        tool("wider-cost-missing", "no limit", Some("wider_max_cost_per_invocation"), |own| {
            drop(own.as_object_mut().unwrap().remove("max_cost_per_invocation"))
        }),
        tool("wider-total", "one cent more altogether", Some("wider_max_total_cost"), |own| {
            own["max_total_cost"]["units"] = json!(1001)
        }),
        tool("wider-total-missing", "no limit", Some("wider_max_total_cost"), |own| {
            drop(own.as_object_mut().unwrap().remove("max_total_cost"))
        }),
        tool("wider-proof-false", "no proof of possession", Some("wider_dpop_required"), |own| {
            own["dpop_required"] = json!(false)
        }),
        tool("wider-proof-missing", "no proof of possession", Some("wider_dpop_required"), |own| {
            drop(own.as_object_mut().unwrap().remove("dpop_required"))
        }),
        resource("subset-resource", "one file of the folder", None, "file:///srv/a", "read"),
        resource("subset-resource-prefix", "a folder within", None, "file:///srv/a/*", "read"),
        resource("wider-resource", "everything", Some("wider_target"), "*", "read"),
        resource(
            "wider-resource-sibling",
            "a folder whose name begins alike",
            Some("wider_target"),
            "file:///srv-old/*",
            "read",
        ),
        resource(
            "wider-resource-climbs",
            "out of the folder again",
            Some("wider_target"),
            "file:///srv/../etc/*",
            "read",
        ),
        resource("wider-resource-operation", "", Some("wider_operations"), "file:///srv/a", "subscribe"),
        prompt("subset-prompt", "one prompt of the family", None, "summary-long", "get"),
        prompt("wider-prompt", "every prompt", Some("wider_target"), "*", "get"),
        prompt("wider-prompt-operation", "", Some("wider_operations"), "summary", "read"),
    ]
}

/// Restrictions that a link declares and the child keeps, or not.
fn declared() -> Vec<Named<Case>> {
    let parent = root(tools(&[grant("files", "*")]));
    let on = |kind: &str, member: &str, value: Value| json!({"type": kind, "server_id": "files", "tool_name": "read", member: value});
    let euros = |units: u64| json!({"currency": "EUR", "units": units});
    let prefix = json!({"type": "path_prefix", "value": "/srv"});
    // What the link says, a member of the child's grant that keeps it, and one that does not.
    let rules = [
        (
            on("remove_operation", "operation", json!("delegate")),
            ("operations", json!(["invoke"])),
            ("operations", json!(["delegate"])),
        ),
        (
            on("add_constraint", "constraint", prefix.clone()),
            ("constraints", json!([prefix])),
            ("max_invocations", json!(1)),
        ),
        (
            on("reduce_budget", "max_invocations", json!(3)),
            ("max_invocations", json!(3)),
            ("max_invocations", json!(4)),
        ),
        (
            on("reduce_cost_per_invocation", "max_cost_per_invocation", euros(5)),
            ("max_cost_per_invocation", euros(5)),
            ("max_cost_per_invocation", euros(6)),
        ),
        (
            on("reduce_total_cost", "max_total_cost", euros(5)),
            ("max_total_cost", euros(4)),
            ("max_total_cost", json!({"currency": "USD", "units": 1})),
        ),
    ];
    let mut cases = Vec::new();
    for (attenuation, kept, broken) in rules {
        let kind = attenuation["type"].as_str().unwrap().replace('_', "-");
        for ((member, value), verdict, fault) in
            [(kept, "kept", None), (broken, "broken", Some("undeclared"))]
        {
            let own = with(&grant("files", "read"), member, value);
            let token =
                child(&parent, 1, tools(&[own]), |link, _| link["attenuations"] = json!([attenuation]));
            let about = format!("the link declares an attenuation, which is {verdict}");
            cases.push(case(&format!("declared-{kind}-{verdict}"), &about, &[parent.clone(), token], fault));
        }
    }
    let removed = json!({"type": "remove_tool", "server_id": "files", "tool_name": "write"});
    let shortened = json!({"type": "shorten_expiry", "new_expires_at": END - 1});
    for (kind, attenuation, tool, expires_at, fault) in [
        ("remove-tool-kept", &removed, "read", END - 1, None),
        ("remove-tool-broken", &removed, "write", END - 1, Some("undeclared")),
        ("remove-tool-wildcard", &removed, "*", END - 1, Some("undeclared")),
        ("shorten-expiry-kept", &shortened, "read", END - 1, None),
        ("shorten-expiry-broken", &shortened, "read", END, Some("undeclared")),
    ] {
        let token = child(&parent, 1, tools(&[grant("files", tool)]), |link, body| {
            link["attenuations"] = json!([attenuation]);
            body["expires_at"] = json!(expires_at);
        });
        cases.push(case(
            &format!("declared-{kind}"),
            "the link declares an attenuation",
            &[parent.clone(), token],
            fault,
        ));
    }
    cases
}

fn name(fault: &AdmissionFault) -> &'static str {
    let AdmissionFault::Step { fault, .. } = fault else {
        return match fault {
            AdmissionFault::TooDeep { .. } => "too_deep",
            AdmissionFault::AncestorUnknown { .. } => "ancestor_unknown",
            AdmissionFault::AncestorCount { .. } => "ancestor_count",
            AdmissionFault::IssuerUntrusted { .. } => "issuer_untrusted",
            _ => "another fault",
        };
    };
    match fault {
        StepFault::Chain => "chain",
        StepFault::ParentId { .. } => "parent_id",
        StepFault::IdReused => "id_reused",
        StepFault::Delegator => "delegator",
        StepFault::Delegatee => "delegatee",
        StepFault::Issuer => "issuer",
        StepFault::Timestamp { .. } => "timestamp",
        StepFault::IssuedBeforeLink => "issued_before_link",
        StepFault::ExpiresAfterParent => "expires_after_parent",
        StepFault::NotKept { .. } => "undeclared",
        StepFault::Wider(fault) => match fault.rule {
            SubsetRule::Target => "wider_target",
            SubsetRule::Delegate => "wider_delegate",
            SubsetRule::Operations => "wider_operations",
            SubsetRule::MaxInvocations => "wider_max_invocations",
            SubsetRule::Constraints => "wider_constraints",
            SubsetRule::MaxCostPerInvocation => "wider_max_cost_per_invocation",
            SubsetRule::MaxTotalCost => "wider_max_total_cost",
            SubsetRule::DpopRequired => "wider_dpop_required",
            _ => "another rule",
        },
        _ => "another step",
    }
}
