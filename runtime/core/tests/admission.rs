//! Which delegated tokens a kernel admits: every step of the chain, from the root down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::capability::{
    AdmissionFault, CapabilityTemplate, DEFAULT_MAX_DEPTH, SubsetRule, TimeStatus, TokenFault, VerifiedToken,
    admit, issue, time_status, verify_chain,
};
use chio_core::hash::sha256;
use chio_core::keys::SigningKey;
use chio_json::{PublicKeyHex, Signed, canonical};
use chio_spec::{
    Attenuation, AttenuationAddConstraint, AttenuationReduceBudget, AttenuationRemoveOperation,
    AttenuationRemoveTool, AttenuationShortenExpiry, CapabilityToken, ChioScope, Constraint, DelegationLink,
    ErrorCode, Operation, ServerId, ToolName,
};
use fixture::*;

fn trusted() -> Vec<PublicKeyHex> {
    vec![hex(&authority())]
}

/// The verdict on the last token of a chain.
fn verdict(tokens: &[Signed<CapabilityToken>]) -> Result<(), AdmissionFault> {
    let tokens = all_verified(tokens);
    let (token, ancestors) = tokens.split_last().unwrap();
    admit(token, ancestors, &trusted(), DEFAULT_MAX_DEPTH)
}

fn scope() -> ChioScope {
    tools(vec![delegable("files", "read").with_max_invocations(5)])
}

/// The fault of the step, in words.
fn step_fault(fault: AdmissionFault) -> String {
    match fault {
        AdmissionFault::Step { fault, .. } => fault.to_string(),
        other => panic!("not a fault of a step: {other}"),
    }
}

/// A child of the root that is right in every point except the one that `change` spoils, with good
/// signatures.
fn forged_child(
    signer: &SigningKey,
    change: impl FnOnce(&mut CapabilityTemplate, &CapabilityToken),
) -> Vec<Signed<CapabilityToken>> {
    let root = root(scope());
    let delegatee = hex(&holder(1));
    let mut child = CapabilityTemplate {
        delegation_chain: vec![link(&holder(0), "cap-root", hex(&holder(0)), delegatee, START + 60)],
        issued_at: START + 60,
        ..template("cap-1", &holder(1), scope())
    };
    change(&mut child, root.view().unwrap());
    let child = issue(signer, child).unwrap();
    vec![root, child]
}

#[test]
fn a_root_token_of_a_trusted_issuer_is_admitted() {
    assert_eq!(verdict(&[root(scope())]), Ok(()));
}

#[test]
fn a_root_token_of_an_untrusted_issuer_is_refused() {
    let token = verified(&root(scope()));
    let fault = admit(&token, &[], &[hex(&holder(0))], DEFAULT_MAX_DEPTH).unwrap_err();
    assert!(matches!(fault, AdmissionFault::IssuerUntrusted { .. }));
    assert_eq!(fault.code(), ErrorCode::CapabilityIssuerUntrusted);
    assert_eq!(fault.reason(), "capability issuer is not trusted");
    assert!(admit(&token, &[], &[], DEFAULT_MAX_DEPTH).is_err());
}

#[test]
fn a_delegated_token_with_its_ancestors_is_admitted_at_every_depth() {
    for depth in 0..=5 {
        assert_eq!(verdict(&chain(depth, &scope())), Ok(()), "depth {depth}");
    }
}

/// Every call compiles the expressions of the grants that match, so a token cannot ask for any number of them.
#[test]
fn a_token_with_too_many_regular_expressions_is_refused() {
    let holding = |expressions: usize| {
        let deny = |count: usize| Constraint::MemoryWriteDenyPatterns(vec!["a".to_owned(); count]);
        let one = Constraint::RegexMatch("b".to_owned());
        let grant = |constraints| delegable("files", "read").with_constraints(constraints);
        tools(vec![grant(vec![one, deny(expressions - 3)]), grant(vec![path_prefix("/a"), deny(2)])])
    };
    assert_eq!(verdict(&[root(holding(64))]), Ok(()));
    let fault = verdict(&[root(holding(65))]).unwrap_err();
    assert_eq!(fault.code(), ErrorCode::ConstraintViolated);
    assert_eq!(fault.reason(), "capability constraint memory_write_deny_patterns is not met");
    assert!(fault.to_string().contains("more than 64 regular expressions"), "{fault}");
    // A holder may not add them on the way either.
    let fault = verdict(&chain(1, &holding(65))).unwrap_err();
    assert!(matches!(fault, AdmissionFault::Unaffordable { .. }), "{fault}");
}

#[test]
fn a_chain_deeper_than_the_limit_is_refused() {
    let tokens = chain(6, &scope());
    let fault = verdict(&tokens).unwrap_err();
    assert!(matches!(fault, AdmissionFault::TooDeep { depth: 6, max_depth: 5, .. }), "{fault}");
    let verified = all_verified(&tokens);
    let (token, ancestors) = verified.split_last().unwrap();
    assert_eq!(admit(token, ancestors, &trusted(), 6), Ok(()));
}

#[test]
fn the_root_of_a_delegated_token_must_be_trusted_and_its_delegators_need_not_be() {
    let tokens = all_verified(&chain(2, &scope()));
    let (token, ancestors) = tokens.split_last().unwrap();
    let only_the_middle = [hex(&holder(0)), hex(&holder(1))];
    assert!(matches!(
        admit(token, ancestors, &only_the_middle, 5),
        Err(AdmissionFault::IssuerUntrusted { .. })
    ));
    assert_eq!(admit(token, ancestors, &trusted(), 5), Ok(()));
}

#[test]
fn a_missing_ancestor_is_refused_and_named() {
    let tokens = all_verified(&chain(2, &scope()));
    for ancestors in [&tokens[..0], &tokens[..1], &tokens[1..2]] {
        let fault = admit(&tokens[2], ancestors, &trusted(), 5).unwrap_err();
        assert_eq!(fault.code(), ErrorCode::DelegationAncestorUnknown);
        assert!(fault.reason().contains("cap-"), "{}", fault.reason());
    }
}

#[test]
fn ancestors_beyond_the_chain_are_refused() {
    let tokens = all_verified(&chain(1, &scope()));
    let fault = admit(&tokens[0], &tokens[1..], &trusted(), 5).unwrap_err();
    assert!(matches!(fault, AdmissionFault::AncestorCount { links: 0, given: 1, .. }));
}

#[test]
fn ancestors_in_the_wrong_order_are_refused() {
    let mut tokens = all_verified(&chain(2, &scope()));
    tokens.swap(0, 1);
    assert!(admit(&tokens[2], &tokens[..2], &trusted(), 5).is_err());
}

#[test]
fn another_token_with_the_ancestors_identifier_is_refused() {
    // The attacker holds a wider token under the same identifier, issued by itself.
    let attacker = holder(0);
    let tokens = chain(1, &scope());
    let wider = issue(&attacker, template("cap-root", &holder(0), tools(vec![delegable("*", "*")]))).unwrap();
    let fault = verdict(&[wider, tokens[1].clone()]).unwrap_err();
    assert!(matches!(fault, AdmissionFault::IssuerUntrusted { .. }));
}

#[test]
fn the_chain_of_a_child_is_the_chain_of_its_parent_and_one_link() {
    let tokens = chain(2, &scope());
    // A grandchild whose first link was exchanged for an equally well signed one.
    let parent = tokens[1].view().unwrap();
    let other = link(&holder(0), "cap-root", hex(&holder(0)), hex(&holder(1)), START + 61);
    let last = link(&holder(1), "cap-1", hex(&holder(1)), hex(&holder(2)), START + 120);
    let forged = CapabilityTemplate {
        delegation_chain: vec![other, last.clone()],
        issued_at: START + 120,
        expires_at: parent.expires_at,
        ..template("cap-2", &holder(2), scope())
    };
    let forged = issue(&holder(1), forged).unwrap();
    let fault = verdict(&[tokens[0].clone(), tokens[1].clone(), forged]).unwrap_err();
    assert_eq!(step_fault(fault), "the child's chain is not the parent's chain and one more link");

    // A grandchild that leaves the step in the middle out.
    let forged = CapabilityTemplate {
        delegation_chain: vec![last],
        issued_at: START + 120,
        ..template("cap-2", &holder(2), scope())
    };
    let forged = issue(&holder(1), forged).unwrap();
    let fault = verdict(&[tokens[1].clone(), forged]).unwrap_err();
    assert!(matches!(fault, AdmissionFault::IssuerUntrusted { .. }));
}

#[test]
fn a_root_that_was_itself_delegated_is_refused() {
    let tokens = chain(2, &scope());
    let verified = all_verified(&tokens);
    // Even if the delegator in the middle were a trusted issuer, the step before it must be seen.
    let last = verified[2].token().delegation_chain[1].clone();
    let forged = CapabilityTemplate {
        delegation_chain: vec![last],
        issued_at: START + 120,
        expires_at: END - 2,
        ..template("cap-x", &holder(2), scope())
    };
    let forged = VerifiedToken::verify(&issue(&holder(1), forged).unwrap()).unwrap();
    let trusting = [hex(&authority()), hex(&holder(0))];
    let fault = admit(&forged, &verified[1..2], &trusting, 5).unwrap_err();
    assert_eq!(step_fault(fault), "the child's chain is not the parent's chain and one more link");
}

#[test]
fn the_last_delegatee_must_be_the_subject() {
    let tokens = forged_child(&holder(0), |child, _| child.subject = hex(&holder(7)));
    let fault = step_fault(verdict(&tokens).unwrap_err());
    assert_eq!(fault, "the delegatee of the last link is not the subject of the child");
}

#[test]
fn the_delegator_must_be_the_parents_subject() {
    let tokens = forged_child(&holder(5), |child, _| {
        child.delegation_chain =
            vec![link(&holder(5), "cap-root", hex(&holder(5)), hex(&holder(1)), START + 60)];
    });
    let fault = step_fault(verdict(&tokens).unwrap_err());
    assert_eq!(fault, "the delegator is not the subject of the parent");
}

#[test]
fn a_delegated_token_is_issued_by_its_delegator() {
    // Not even by the trusted authority: it would then not be a delegation.
    let fault = step_fault(verdict(&forged_child(&authority(), |_, _| ())).unwrap_err());
    assert_eq!(fault, "the child was not issued by its delegator");
}

#[test]
fn a_child_may_not_reuse_the_identifier_of_an_ancestor() {
    let tokens = forged_child(&holder(0), |child, _| child.id = id("cap-root"));
    let fault = step_fault(verdict(&tokens).unwrap_err());
    assert_eq!(fault, "the child has the identifier of one of its ancestors");
}

#[test]
fn the_delegation_happens_within_the_parents_window() {
    for timestamp in [START - 1, END, END + 1] {
        let tokens = forged_child(&holder(0), |child, _| {
            child.delegation_chain =
                vec![link(&holder(0), "cap-root", hex(&holder(0)), hex(&holder(1)), timestamp)];
            child.issued_at = timestamp;
        });
        let fault = step_fault(verdict(&tokens).unwrap_err());
        assert_eq!(fault, format!("the delegation at {timestamp} lies outside the parent's validity"));
    }
    for timestamp in [START, END - 1] {
        let tokens = forged_child(&holder(0), |child, _| {
            child.delegation_chain =
                vec![link(&holder(0), "cap-root", hex(&holder(0)), hex(&holder(1)), timestamp)];
            child.issued_at = timestamp;
        });
        assert_eq!(verdict(&tokens), Ok(()), "{timestamp}");
    }
}

#[test]
fn a_child_is_not_valid_before_its_delegation_nor_after_its_parent() {
    let early = forged_child(&holder(0), |child, _| child.issued_at = START + 59);
    assert_eq!(step_fault(verdict(&early).unwrap_err()), "the child's validity begins before the delegation");
    let late = forged_child(&holder(0), |child, _| child.expires_at = END + 1);
    assert_eq!(step_fault(verdict(&late).unwrap_err()), "the child expires after its parent");
}

#[test]
fn a_child_that_widens_its_parent_is_refused() {
    let wider = [
        ("its target", tools(vec![delegable("files", "write").with_max_invocations(5)])),
        (
            "operation",
            tools(vec![
                grant("files", "read", &[Operation::Invoke, Operation::Read]).with_max_invocations(5),
            ]),
        ),
        ("max_invocations", tools(vec![delegable("files", "read")])),
        ("max_invocations", tools(vec![delegable("files", "read").with_max_invocations(6)])),
        ("its target", tools(vec![delegable("*", "read").with_max_invocations(5)])),
        ("its target", scope().with_resource_grants(vec![resource("*", &[Operation::Read])])),
        ("its target", scope().with_prompt_grants(vec![prompt("p", &[Operation::Get])])),
    ];
    for (words, scope) in wider {
        let fault = verdict(&forged_child(&holder(0), |child, _| child.scope = scope)).unwrap_err();
        assert_eq!(fault.code(), ErrorCode::DelegationInvalid);
        assert_eq!(fault.reason(), "delegated capability is wider than its parent");
        let fault = step_fault(fault);
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn a_grant_without_delegate_cannot_be_passed_on() {
    let mut tokens = chain(1, &scope());
    let last = tools(vec![grant("files", "read", &[Operation::Invoke]).with_max_invocations(1)]);
    // Dropping `delegate` is allowed once.
    tokens.push(chio_core::capability::attenuate(&holder(1), &tokens[1], request(2, last.clone())).unwrap());
    assert_eq!(verdict(&tokens), Ok(()));
    // And ends the chain.
    let parent = tokens[2].view().unwrap();
    let mut links = parent.delegation_chain.clone();
    links.push(link(&holder(2), "cap-2", hex(&holder(2)), hex(&holder(3)), START + 180));
    let child = CapabilityTemplate {
        delegation_chain: links,
        issued_at: START + 180,
        expires_at: END - 3,
        ..template("cap-3", &holder(3), last)
    };
    tokens.push(issue(&holder(2), child).unwrap());
    let fault = verdict(&tokens).unwrap_err();
    assert!(step_fault(fault).contains(SubsetRule::Delegate.as_str()));
}

#[test]
fn every_declared_attenuation_must_hold() {
    let (server, tool) = (|| ServerId::new("files").unwrap(), || ToolName::new("read").unwrap());
    let broken = [
        ("remove_tool", Attenuation::RemoveTool(AttenuationRemoveTool::new(server(), tool()))),
        (
            "remove_operation",
            Attenuation::RemoveOperation(AttenuationRemoveOperation::new(
                Operation::Invoke,
                server(),
                ToolName::new("*").unwrap(),
            )),
        ),
        (
            "add_constraint",
            Attenuation::AddConstraint(AttenuationAddConstraint::new(path_prefix("/base"), server(), tool())),
        ),
        ("reduce_budget", Attenuation::ReduceBudget(AttenuationReduceBudget::new(4, server(), tool()))),
        ("shorten_expiry", Attenuation::ShortenExpiry(AttenuationShortenExpiry::new(END - 1))),
    ];
    for (kind, attenuation) in broken {
        let tokens = forged_child(&holder(0), |child, _| {
            child.delegation_chain = vec![declared(attenuation)];
        });
        let fault = step_fault(verdict(&tokens).unwrap_err());
        assert_eq!(
            fault,
            format!("the link declares the attenuation `{kind}`, which the child does not keep")
        );
    }
    let kept = Attenuation::ReduceBudget(AttenuationReduceBudget::new(5, server(), tool()));
    let tokens = forged_child(&holder(0), |child, _| child.delegation_chain = vec![declared(kept)]);
    assert_eq!(verdict(&tokens), Ok(()));
}

/// A link from the root's holder to the next that declares something.
fn declared(attenuation: Attenuation) -> DelegationLink {
    let plain = link(&holder(0), "cap-root", hex(&holder(0)), hex(&holder(1)), START + 60);
    let link = plain.with_attenuations(vec![attenuation]);
    let mut value = serde_json::to_value(&link).unwrap();
    value.as_object_mut().unwrap().remove("signature");
    let signature = holder(0).sign(canonical::from_value(&value).as_bytes());
    value["signature"] = signature.to_string().into();
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_verified_token_needs_a_good_signature_good_keys_and_a_good_last_link() {
    let weak = "0100000000000000000000000000000000000000000000000000000000000000";
    let token = root(scope());
    let verify = |text: &str| VerifiedToken::verify(&Signed::from_text(text.to_owned()).unwrap());

    let fault = verify(&token.text().replace("cap-root", "cap-rooT")).unwrap_err();
    assert!(matches!(fault, TokenFault::Signature { .. }));
    assert_eq!(fault.code(), ErrorCode::CapabilitySignatureInvalid);
    assert_eq!(fault.reason(), "capability signature verification failed");

    let issuer = hex(&authority()).to_string();
    let fault = verify(&token.text().replace(&issuer, weak)).unwrap_err();
    assert!(matches!(fault, TokenFault::IssuerKey { .. }));
    let fault = verify(&token.text().replace(&hex(&holder(0)).to_string(), weak)).unwrap_err();
    assert!(matches!(fault, TokenFault::SubjectKey { .. }));
    assert_eq!(fault.code(), ErrorCode::CapabilityMalformed);

    for text in ["{}", "null", r#"{"id":"x"}"#, &token.text().replace("\"scope\"", "\"scopes\"")] {
        let fault = verify(text).unwrap_err();
        assert!(matches!(fault, TokenFault::Malformed(_)), "{fault}");
        assert_eq!(fault.code(), ErrorCode::CapabilityMalformed);
    }

    // The link's signature is wrong, the token around it is signed well.
    let tokens = forged_child(&holder(0), |child, _| {
        let mut bad = child.delegation_chain[0].clone();
        bad.timestamp += 1;
        child.delegation_chain = vec![bad];
        child.issued_at += 1;
    });
    let fault = VerifiedToken::verify(&tokens[1]).unwrap_err();
    assert!(matches!(fault, TokenFault::LinkSignature { .. }), "{fault}");
}

#[test]
fn a_token_with_another_algorithm_is_refused() {
    let token = root(scope());
    let named = |name: &str| token.text().replacen('{', &format!(r#"{{"algorithm":"{name}","#), 1);
    // The default may be spelled out: it is never part of the signed bytes.
    assert!(VerifiedToken::verify(&Signed::from_text(named("ed25519")).unwrap()).is_ok());
    assert!(verify_chain(&named("ed25519"), START, None).valid());
    for other in ["p256", "none", "Ed25519", ""] {
        assert!(VerifiedToken::verify(&Signed::from_text(named(other)).unwrap()).is_err());
        assert!(!verify_chain(&named(other), START, None).signature_valid, "{other}");
    }
}

#[test]
fn a_verified_token_is_cached_under_its_exact_bytes_and_known_by_its_signed_ones() {
    let token = root(scope());
    let verified = verified(&token);
    assert_eq!(verified.digest(), &sha256(token.text().as_bytes()));
    assert_eq!(&VerifiedToken::digest_of(&token), verified.digest());
    assert_eq!(verified.body_hash(), &sha256(token.signing_input().unwrap().as_bytes()));

    let spelled = token.text().replacen('{', r#"{"algorithm":"ed25519","#, 1);
    let same = VerifiedToken::verify(&Signed::from_text(spelled).unwrap()).unwrap();
    assert_ne!(same.digest(), verified.digest());
    assert_eq!(same.body_hash(), verified.body_hash());
    assert_eq!(same.subject(), &holder(0).public());
    assert_eq!(same.token().id, id("cap-root"));
}

#[test]
fn the_window_is_exact() {
    assert_eq!(time_status(10, 20, 9), TimeStatus::NotYetValid);
    assert_eq!(time_status(10, 20, 10), TimeStatus::Valid);
    assert_eq!(time_status(10, 20, 19), TimeStatus::Valid);
    assert_eq!(time_status(10, 20, 20), TimeStatus::Expired);
    assert_eq!(time_status(10, 20, 21), TimeStatus::Expired);
    assert_eq!(time_status(20, 10, 15), TimeStatus::Expired);
    assert_eq!(time_status(20, 10, 25), TimeStatus::Expired);
    assert_eq!(time_status(10, 10, 10), TimeStatus::Expired);
    assert_eq!(time_status(0, u64::MAX, u64::MAX), TimeStatus::Expired);
}

#[test]
fn verify_chain_checks_links_order_and_depth_and_nothing_stateful() {
    let tokens = chain(3, &scope());
    let text = tokens[3].text();
    let report = verify_chain(text, START + 200, Some(3));
    assert!(report.valid(), "{:?}", report.reasons);
    assert!(report.reasons.is_empty());
    assert_eq!(report.issuer_key, Some(hex(&holder(2))));
    assert!(!verify_chain(text, START + 200, Some(2)).delegation_chain_valid);
    assert!(!verify_chain(text, END, None).time_valid());

    let chain_of = |links: Vec<DelegationLink>| {
        let template =
            CapabilityTemplate { delegation_chain: links, ..template("cap-x", &holder(9), scope()) };
        verify_chain(issue(&authority(), template).unwrap().text(), START, None)
    };
    let step = |from: u8, to: u8, at| {
        link(&holder(from), &format!("cap-{from}"), hex(&holder(from)), hex(&holder(to)), at)
    };
    // The delegatee of the last link need not be the subject here: that is for admission.
    assert!(chain_of(vec![step(0, 1, START), step(1, 2, START)]).valid());
    assert!(!chain_of(vec![step(0, 1, START), step(2, 3, START)]).delegation_chain_valid);
    assert!(!chain_of(vec![step(0, 1, START + 1), step(1, 2, START)]).delegation_chain_valid);
    // A link that somebody else signed.
    let forged = link(&holder(5), "cap-0", hex(&holder(0)), hex(&holder(1)), START);
    let report = chain_of(vec![forged]);
    assert!(report.signature_valid && !report.delegation_chain_valid);
    assert_eq!(report.reasons, ["delegation link 0: its signature does not verify"]);
}

#[test]
fn verify_chain_reports_on_foreign_malformed_input_and_never_fails() {
    let good = root(scope());
    let key = hex(&authority()).to_string();
    let malformed = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"issuer":1,"signature":null,"delegation_chain":{}}"#.to_owned(),
        r#"{"delegation_chain":[1]}"#.to_owned(),
        r#"{"delegation_chain":[{}]}"#.to_owned(),
        good.text().replace(&key, "not-a-public-key"),
        good.text().replace(&key, &"00".repeat(32)),
        good.text().replace("\"id\"", "\"issuer\""),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"a\":{}}}", "\u{7f}"),
    ];
    for text in malformed {
        let report = verify_chain(&text, START, None);
        assert!(!report.signature_valid, "{text:.80}");
        assert!(!report.reasons.is_empty());
    }
    // A token without a window says so, and is judged on the rest.
    let report = verify_chain("{}", START, None);
    assert!(report.delegation_chain_valid && report.time_status.is_none() && !report.time_valid());
}
