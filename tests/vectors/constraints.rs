//! Conditions on the arguments of a call.

use std::collections::BTreeSet;

use chio_core::capability::constraint::{ArgumentView, evaluate};
use chio_json::Json;
use chio_spec::Constraint;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};

pub(crate) enum Constraints {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    constraint: Value,
    arguments: String,
    met: bool,
}

impl Family for Constraints {
    const NAME: &'static str = "constraints";
    const ABOUT: &'static str = "Whether `constraint` is met by a call with `arguments`. What cannot be decided from \
        the arguments is not met: a condition that nobody checks would be worse than none.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let cases: Vec<_> = decided().into_iter().chain(undecided()).collect();
        let kinds: BTreeSet<_> =
            cases.iter().map(|case| case.case().constraint["type"].to_string()).collect();
        assert_eq!(kinds.len(), 23, "every kind has its case");
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        let constraint = serde_json::from_str::<Constraint>(&case.constraint.to_string());
        let constraint = constraint.map_err(|error| error.to_string())?;
        let arguments = Json::from_text(case.arguments.clone()).map_err(|error| error.to_string())?;
        // Arguments that have no single meaning meet nothing.
        let met = ArgumentView::new(&arguments).is_ok_and(|view| evaluate(&constraint, &view).is_ok());
        same("met", case.met, met)
    }
}

fn decided() -> Vec<Named<Case>> {
    DECIDED
        .iter()
        .map(|(id, about, kind, value, arguments, met)| {
            let value: Value = serde_json::from_str(value).unwrap();
            let constraint = json!({"type": kind, "value": value});
            named(*id, *about, Case { constraint, arguments: (*arguments).into(), met: *met })
        })
        .collect()
}

/// Kinds that only another stage could decide; this version has none of them, so they refuse every call.
fn undecided() -> Vec<Named<Case>> {
    let refused = |kind: &str, value: Value| {
        let mut constraint = json!({"type": kind});
        if !value.is_null() {
            constraint["value"] = value;
        }
        let case = Case { constraint, arguments: r#"{"path":"/srv/a"}"#.into(), met: false };
        named(format!("{}-undecided", kind.replace('_', "-")), "nothing here can decide it", case)
    };
    vec![
        refused("governed_intent_required", Value::Null),
        refused("require_approval_above", json!({"threshold_units": 0})),
        refused("seller_exact", json!("shop")),
        refused("minimum_runtime_assurance", json!("none")),
        refused("minimum_autonomy_tier", json!("direct")),
        refused("table_allowlist", json!(["orders"])),
        refused("column_denylist", json!(["ssn"])),
        refused("max_rows_returned", json!(10)),
        refused("operation_class", json!("read_only")),
        refused("content_review_tier", json!("none")),
        refused("max_transaction_amount_usd", json!("10.00")),
        refused("require_dual_approval", json!(false)),
    ]
}

#[rustfmt::skip]
const DECIDED: &[(&str, &str, &str, &str, &str, bool)] = &[
    ("path-prefix-under", "", "path_prefix", r#""/srv""#, r#"{"path":"/srv/a/../b"}"#, true),
    ("path-prefix-itself", "", "path_prefix", r#""/srv""#, r#"{"path":"/srv"}"#, true),
    ("path-prefix-all", "every path counts", "path_prefix", r#""/srv""#, r#"{"files":["/srv/a","/etc/passwd"]}"#, false),
    ("path-prefix-none", "no path at all", "path_prefix", r#""/srv""#, r#"{"query":"cats"}"#, false),
    ("path-prefix-climbs", "", "path_prefix", r#""/srv""#, r#"{"path":"/srv/../etc/passwd"}"#, false),
    ("path-prefix-above-root", "a path that leads above the root is under nothing", "path_prefix", r#""/srv""#, r#"{"path":"/../../srv/a"}"#, false),
    ("path-prefix-alike", "segments, not letters", "path_prefix", r#""/srv""#, r#"{"path":"/srvother/a"}"#, false),
    ("path-prefix-relative", "a relative path is under no absolute directory", "path_prefix", r#""/srv""#, r#"{"path":"srv/a"}"#, false),
    ("path-prefix-home", "somebody's home", "path_prefix", r#""/srv""#, r#"{"path":"~/a"}"#, false),
    ("path-prefix-uri", "a file URI is a path", "path_prefix", r#""/srv""#, r#"{"uri":"file:///etc/passwd"}"#, false),
    ("path-prefix-any-key", "also under keys that nobody listed", "path_prefix", r#""/srv""#, r#"{"destination":"/etc/passwd"}"#, false),
    ("path-prefix-nul", "a NUL ends the path early in some servers", "path_prefix", r#""/srv""#, r#"{"path":"/srv/a\u0000/../../etc"}"#, false),
    ("domain-exact-met", "case, port and path do not count", "domain_exact", r#""api.example.com""#, r#"{"url":"https://API.Example.com:443/v1"}"#, true),
    ("domain-exact-other", "", "domain_exact", r#""api.example.com""#, r#"{"url":"https://example.com/"}"#, false),
    ("domain-exact-suffix", "", "domain_exact", r#""example.com""#, r#"{"url":"https://example.com.evil.test/"}"#, false),
    ("domain-exact-user", "what stands before the at sign is no host", "domain_exact", r#""example.com""#, r#"{"url":"https://example.com@evil.test/"}"#, false),
    ("domain-exact-backslash", "readers disagree on where the host ends", "domain_exact", r#""example.com""#, r#"{"url":"https://example.com\\@evil.test/"}"#, false),
    ("domain-exact-all", "every domain counts", "domain_exact", r#""example.com""#, r#"{"urls":["https://example.com","https://evil.test"]}"#, false),
    ("domain-exact-none", "no domain at all", "domain_exact", r#""example.com""#, r#"{"query":"cats"}"#, false),
    ("domain-glob-met", "", "domain_glob", r#""*.example.com""#, r#"{"url":"https://a.b.example.com/"}"#, true),
    ("domain-glob-bare", "the star does not stand for the dot", "domain_glob", r#""*.example.com""#, r#"{"url":"https://example.com/"}"#, false),
    ("domain-glob-suffix", "", "domain_glob", r#""*.example.com""#, r#"{"url":"https://a.example.com.evil.test/"}"#, false),
    ("regex-match-met", "one string is enough", "regex_match", r#""^ticket-[0-9]+$""#, r#"{"a":"x","b":"ticket-12"}"#, true),
    ("regex-match-none", "", "regex_match", r#""^ticket-[0-9]+$""#, r#"{"a":"ticket-12x"}"#, false),
    ("regex-match-invalid", "an expression that cannot be compiled refuses", "regex_match", r#""(""#, r#"{"a":"("}"#, false),
    ("max-length-met", "bytes of the string itself", "max_length", "4", r#"{"a":"\u00e9\u00e9"}"#, true),
    ("max-length-above", "bytes, not characters", "max_length", "3", r#"{"a":"\u00e9\u00e9"}"#, false),
    ("max-length-nested", "every string counts", "max_length", "3", r#"{"a":[{"b":"long"}]}"#, false),
    ("max-args-size-met", "bytes of the canonical text", "max_args_size", "7", r#"{ "a" : 1 }"#, true),
    ("max-args-size-above", "", "max_args_size", "6", r#"{"a":1}"#, false),
    ("custom-met", "somewhere in the arguments", "custom", r#"["mode","dry_run"]"#, r#"{"options":[{"mode":"dry_run"}]}"#, true),
    ("custom-other", "", "custom", r#"["mode","dry_run"]"#, r#"{"mode":"real"}"#, false),
    ("custom-type", "a string, nothing else", "custom", r#"["mode","1"]"#, r#"{"mode":1}"#, false),
    ("audience-allowlist-met", "", "audience_allowlist", r##"["#ops","ann"]"##, r#"{"to":["ann"],"text":"hi"}"#, true),
    ("audience-allowlist-absent", "nobody is addressed", "audience_allowlist", r##"["#ops"]"##, r#"{"text":"hi"}"#, true),
    ("audience-allowlist-other", "", "audience_allowlist", r##"["#ops"]"##, r##"{"channels":["#ops","#all"]}"##, false),
    ("audience-allowlist-case", "keys in any case", "audience_allowlist", r##"["#ops"]"##, r##"{"Channel":"#all"}"##, false),
    ("audience-allowlist-empty", "an empty list says nothing", "audience_allowlist", r##"["#ops"]"##, r#"{"to":[]}"#, false),
    ("audience-allowlist-object", "nobody could say what it means", "audience_allowlist", r##"["#ops"]"##, r##"{"to":{"id":"#ops"}}"##, false),
    ("memory-store-allowlist-met", "", "memory_store_allowlist", r#"["notes"]"#, r#"{"collection":"notes"}"#, true),
    ("memory-store-allowlist-other", "", "memory_store_allowlist", r#"["notes"]"#, r#"{"namespace":"secrets"}"#, false),
    ("memory-write-deny-patterns-met", "no string matches", "memory_write_deny_patterns", r#"["(?i)password"]"#, r#"{"text":"the weather"}"#, true),
    ("memory-write-deny-patterns-hit", "", "memory_write_deny_patterns", r#"["(?i)password"]"#, r#"{"text":"My Password is"}"#, false),
    ("memory-write-deny-patterns-invalid", "one that cannot be compiled refuses", "memory_write_deny_patterns", r#"["ok","["]"#, r#"{"text":"x"}"#, false),
    ("model-constraint-any", "it asks for nothing", "model_constraint", r#"{"allowed_model_ids":[],"min_safety_tier":null}"#, "{}", true),
    ("model-constraint-listed", "no model is known for the call", "model_constraint", r#"{"allowed_model_ids":["m"],"min_safety_tier":null}"#, r#"{"model_id":"m"}"#, false),
    ("arguments-ambiguous", "arguments that can be read in two ways meet nothing", "custom", r#"["mode","dry_run"]"#, r#"{"mode":"dry_run","mode":"real"}"#, false),
];
