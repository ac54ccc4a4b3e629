//! What a token proves by itself.

use chio_core::capability::{VerifiedToken, verify_chain};
use chio_json::Signed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{
    AUTHORITY, END, HOLDER, NOW, START, STRANGER, chain, child, grant, root, sign, tampered, text,
    token_body, tools, with, without,
};

pub(crate) enum Capabilities {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    token: String,
    now: u64,
    max_depth: Option<usize>,
    expected: Expected,
}

#[derive(Clone, Serialize, Deserialize)]
struct Expected {
    signature_valid: bool,
    delegation_chain_valid: bool,
    time_status: Option<String>,
    usable: bool,
}

impl Family for Capabilities {
    const NAME: &'static str = "capabilities";
    const ABOUT: &'static str = "What `token`, in exactly this text, proves by itself at the time `now`: whether its \
        issuer signed it, whether its delegation links hold together (with at most `max_depth` of them, where that \
        is given), and where `now` lies in its window (valid from `issued_at` on and up to but not including \
        `expires_at`). `usable` is false for a token that a kernel refuses whatever the time: malformed, badly signed \
        or with an unusable key. Whether a delegated token may be admitted is asked in `delegations.json`.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let token = root(tools(&[grant("files", "read")]));
        let mut cases = sound(&token);
        for member in token.as_object().unwrap().keys() {
            let spoilt = tampered(&token, &format!("/{member}"));
            cases.push(refused(&format!("tampered-{member}"), "changed after it was signed", &text(&spoilt)));
        }
        for member in ["id", "issuer", "scope", "subject"] {
            let spoilt = without(&token, member);
            cases.push(refused(&format!("missing-{member}"), "removed after it was signed", &text(&spoilt)));
        }
        cases.extend(odd(&token));
        cases.extend(edges(&token));
        cases.extend(links());
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let report = verify_chain(&case.token, case.now, case.max_depth);
        same("signature_valid", case.expected.signature_valid, report.signature_valid)?;
        same("delegation_chain_valid", case.expected.delegation_chain_valid, report.delegation_chain_valid)?;
        let status = report.time_status.map(|status| status.as_str().to_owned());
        same("time_status", case.expected.time_status.clone(), status)?;
        let signed = Signed::from_text(case.token.clone()).ok();
        let usable = signed.is_some_and(|signed| VerifiedToken::verify(&signed).is_ok());
        same("usable", case.expected.usable, usable)
    }
}

const GOOD: (bool, bool, Option<&str>, bool) = (true, true, Some("valid"), true);
const BAD: (bool, bool, Option<&str>, bool) = (false, true, Some("valid"), false);
const UNREADABLE: (bool, bool, Option<&str>, bool) = (false, false, None, false);

fn case(
    id: &str,
    about: &str,
    token: &str,
    (signature_valid, delegation_chain_valid, time_status, usable): (bool, bool, Option<&str>, bool),
) -> Named<Case> {
    let time_status = time_status.map(Into::into);
    let expected = Expected { signature_valid, delegation_chain_valid, time_status, usable };
    named(id, about, Case { token: token.into(), now: NOW, max_depth: None, expected })
}

fn refused(id: &str, about: &str, token: &str) -> Named<Case> {
    case(id, about, token, BAD)
}

fn sound(token: &Value) -> Vec<Named<Case>> {
    let scope = json!({
        "grants": [
            {
                "constraints": [{"type": "path_prefix", "value": "/srv"}, {"type": "max_length", "value": 9_007_199_254_740_991_u64}],
                "dpop_required": true,
                "max_cost_per_invocation": {"currency": "EUR", "units": 250},
                "max_invocations": 4_294_967_295_u32,
                "max_total_cost": {"currency": "EUR", "units": 9_007_199_254_740_991_u64},
                "operations": ["invoke", "read_result", "delegate"],
                "server_id": "files",
                "tool_name": "*",
            },
        ],
        "prompt_grants": [{"operations": ["get"], "prompt_name": "summary*"}],
        "resource_grants": [{"operations": ["read", "subscribe"], "uri_pattern": "file:///srv/*"}],
    });
    let spaced = serde_json::to_string_pretty(token).unwrap();
    vec![
        case("valid", "one grant", &text(token), GOOD),
        case("valid-everything", "every member that a grant may have", &text(&root(scope)), GOOD),
        case("valid-nothing", "an empty scope is written as an empty object", &text(&root(json!({}))), GOOD),
        case(
            "valid-algorithm",
            "the algorithm may be named, outside the signed bytes",
            &text(&with(token, "algorithm", json!("ed25519"))),
            GOOD,
        ),
        case("valid-spaced", "white space is not signed", &spaced, GOOD),
        case(
            "valid-unicode-id",
            "identifiers are any text",
            &text(&sign(with(token, "id", json!("\u{e9}\u{1f600}")), AUTHORITY)),
            GOOD,
        ),
    ]
}

fn odd(token: &Value) -> Vec<Named<Case>> {
    let whole = text(token);
    let weak = "0100000000000000000000000000000000000000000000000000000000000000";
    let by_stranger = sign(token.clone(), STRANGER);
    let unknown = sign(with(token, "note", json!("signed")), AUTHORITY);
    let signature = token["signature"].as_str().unwrap();
    vec![
        refused("other-signer", "signed by another key than the issuer names", &text(&by_stranger)),
        refused("added-member", "added after it was signed", &text(&with(token, "note", json!("x")))),
        case(
            "unknown-member",
            "signed, but no member of a token: a closed object is refused",
            &text(&unknown),
            (true, true, Some("valid"), false),
        ),
        case(
            "empty-chain",
            "an absent chain is left out, never empty",
            &text(&sign(with(token, "delegation_chain", json!([])), AUTHORITY)),
            (true, true, Some("valid"), false),
        ),
        case(
            "other-algorithm",
            "only Ed25519 is known",
            &text(&with(token, "algorithm", json!("p256"))),
            BAD,
        ),
        case(
            "weak-issuer",
            "a key of small order signs nothing",
            &text(&with(token, "issuer", json!(weak))),
            BAD,
        ),
        case(
            "weak-subject",
            "signed, but no one party can hold such a key",
            &text(&sign(with(token, "subject", json!(weak)), AUTHORITY)),
            (true, true, Some("valid"), false),
        ),
        case(
            "upper-case-signature",
            "one text for one signature",
            &text(&with(token, "signature", json!(signature.to_uppercase()))),
            BAD,
        ),
        case(
            "id-empty",
            "signed, but an identifier has at least one character",
            &text(&sign(with(token, "id", json!("")), AUTHORITY)),
            (true, true, Some("valid"), false),
        ),
        case(
            "expiry-beyond-2-53",
            "signed, but beyond what a token may say",
            &text(&sign(with(token, "expires_at", json!(9_007_199_254_740_992_u64)), AUTHORITY)),
            (true, true, Some("valid"), false),
        ),
        case(
            "expiry-text",
            "a number as text",
            &text(&sign(with(token, "expires_at", json!(END.to_string())), AUTHORITY)),
            (true, true, None, false),
        ),
        case(
            "duplicate-member",
            "the same identifier twice",
            &whole.replacen("\"id\":\"cap-root\"", "\"id\":\"cap-root\",\"id\":\"cap-root\"", 1),
            UNREADABLE,
        ),
        case("not-an-object", "an array", &format!("[{whole}]"), UNREADABLE),
        case("not-json", "cut short", &whole[..whole.len() - 1], UNREADABLE),
    ]
}

fn edges(token: &Value) -> Vec<Named<Case>> {
    let at = |id, about, now, status| {
        let expected = Expected {
            signature_valid: true,
            delegation_chain_valid: true,
            time_status: Some(String::from(status)),
            usable: true,
        };
        named(id, about, Case { token: text(token), now, max_depth: None, expected })
    };
    let inverted = sign(with(token, "expires_at", json!(START - 1)), AUTHORITY);
    vec![
        at("time-second-before", "one second too early", START - 1, "not_yet_valid"),
        at("time-first", "the first second", START, "valid"),
        at("time-last", "the last second", END - 1, "valid"),
        at("time-end", "the end is not part of the window", END, "expired"),
        case(
            "time-inverted",
            "a window that ends before it begins is never open",
            &text(&inverted),
            (true, true, Some("expired"), true),
        ),
    ]
}

fn links() -> Vec<Named<Case>> {
    let scope = tools(&[grant("files", "read")]);
    let tokens = chain(3, &scope);
    let mut cases: Vec<Named<Case>> = (1..=3)
        .map(|depth| {
            case(
                &format!("delegated-{depth}"),
                "signed by each delegator in turn",
                &text(&tokens[depth]),
                GOOD,
            )
        })
        .collect();
    let broken = (true, false, Some("valid"), false);
    let resigned = |mut body: Value, edit: fn(&mut Value)| {
        edit(&mut body["delegation_chain"]);
        text(&sign(body, HOLDER + 2))
    };
    let three = tokens[3].clone();
    let mut limited = case(
        "depth-limit",
        "three links where two are allowed",
        &text(&three),
        (true, false, Some("valid"), true),
    );
    limited.limit_depth(2);
    let mut enough = case("depth-enough", "three links where three are allowed", &text(&three), GOOD);
    enough.limit_depth(3);
    cases.extend([
        limited,
        enough,
        case(
            "link-tampered-last",
            "the last link says another time",
            &resigned(three.clone(), |chain| chain[2]["timestamp"] = json!(NOW)),
            broken,
        ),
        case(
            "link-tampered-first",
            "an earlier link says another time; the token's own proof holds, the chain does not",
            &resigned(three.clone(), |chain| chain[0]["timestamp"] = json!(START)),
            (true, false, Some("valid"), true),
        ),
        case(
            "link-dropped",
            "the middle link is missing",
            &resigned(three.clone(), |chain| drop(chain.as_array_mut().unwrap().remove(1))),
            (true, false, Some("valid"), true),
        ),
        case(
            "link-order",
            "the first two links are exchanged",
            &resigned(three.clone(), |chain| chain.as_array_mut().unwrap().swap(0, 1)),
            (true, false, Some("valid"), true),
        ),
        case(
            "link-unknown-member",
            "a link is a closed object too",
            &text(&child(&tokens[0], 1, scope.clone(), |link, _| link["note"] = json!(1))),
            (true, true, Some("valid"), false),
        ),
        case(
            "link-weak-delegator",
            "",
            &text(&child(&tokens[0], 1, scope.clone(), |link, _| {
                link["delegator"] = json!("0100000000000000000000000000000000000000000000000000000000000000")
            })),
            broken,
        ),
        case(
            "link-backwards",
            "the second delegation happens before the first",
            &text(&child(&tokens[1], 2, scope.clone(), |link, _| link["timestamp"] = json!(START))),
            (true, false, Some("valid"), true),
        ),
        case(
            "link-by-stranger",
            "signed by another key than the delegator",
            &text(&child(&tokens[0], 1, scope.clone(), |link, _| *link = sign(link.clone(), STRANGER))),
            broken,
        ),
        case(
            "chain-not-an-array",
            "",
            &text(&sign(
                with(&token_body("cap-1", AUTHORITY, HOLDER, scope), "delegation_chain", json!({})),
                AUTHORITY,
            )),
            (true, false, Some("valid"), false),
        ),
    ]);
    cases
}

impl Named<Case> {
    fn limit_depth(&mut self, limit: usize) {
        self.case_mut().max_depth = Some(limit);
    }
}
