//! Every constraint of a grant, against arguments that meet it, break it, or try to slip past it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fixture;

use chio_core::capability::constraint::{ArgumentView, ConstraintFault, evaluate};
use chio_json::Json;
use chio_spec::{Constraint, ErrorCode};
use fixture::path_prefix;

fn constraint(text: &str) -> Constraint {
    Constraint::from_json(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn verdict(constraint: &Constraint, arguments: &str) -> Result<(), ConstraintFault> {
    evaluate(constraint, &ArgumentView::new(&Json::from_text(arguments.to_owned()).unwrap()).unwrap())
}

#[track_caller]
fn meets(constraint: &Constraint, arguments: &str) {
    if let Err(fault) = verdict(constraint, arguments) {
        panic!("{arguments}: {fault}");
    }
}

#[track_caller]
fn breaks(constraint: &Constraint, arguments: &str) -> ConstraintFault {
    match verdict(constraint, arguments) {
        Ok(()) => panic!("{arguments} meets {constraint:?}"),
        Err(fault) => fault,
    }
}

#[test]
fn a_fault_names_its_constraint_and_tells_the_caller_no_more() {
    let fault = breaks(&path_prefix("/base"), r#"{"path":"/etc/passwd"}"#);
    assert_eq!((fault.name, fault.code()), ("path_prefix", ErrorCode::ConstraintViolated));
    assert_eq!(fault.reason(), "capability constraint path_prefix is not met");
    assert_eq!(
        fault.to_string(),
        r#"the constraint `path_prefix` is not met: the path "/etc/passwd" does not lie under "/base""#
    );
}

#[test]
fn arguments_that_two_readers_could_read_differently_are_refused() {
    for arguments in [r#"{"path":"/base/a","path":"/etc/passwd"}"#, r#"{"path":"\ud800"}"#] {
        assert!(ArgumentView::new(&Json::from_text(arguments.to_owned()).unwrap()).is_err());
    }
}

#[test]
fn path_prefix_compares_segments() {
    for directory in ["/base", "/base/", "//base", "/base/.", "/base/src/.."] {
        let under = path_prefix(directory);
        for path in
            ["/base", "/base/", "/base/a", "//base///a/b", "/base/a/../b", "/base/./a", "/x/../base/a"]
        {
            meets(&under, &format!(r#"{{"path":"{path}"}}"#));
        }
        for path in [
            "/basement/a",
            "/bas",
            "/base/..",
            "/base/../etc/passwd",
            "/base/a/../../etc",
            "/../base/a",
            "/",
            "base/a",
            "./base/a",
            "../base/a",
            "~/base/a",
            "/BASE/a",
            "",
        ] {
            breaks(&under, &format!(r#"{{"path":"{path}"}}"#));
        }
    }
}

#[test]
fn path_prefix_keeps_relative_and_absolute_apart() {
    for directory in ["base", "./base"] {
        meets(&path_prefix(directory), r#"{"path":"base/a"}"#);
        meets(&path_prefix(directory), r#"{"path":"./base/a"}"#);
        breaks(&path_prefix(directory), r#"{"path":"/base/a"}"#);
        breaks(&path_prefix(directory), r#"{"path":"base/../../etc"}"#);
        breaks(&path_prefix(directory), r#"{"path":"basement"}"#);
    }
    for directory in [".", ""] {
        meets(&path_prefix(directory), r#"{"path":"a/b"}"#);
        breaks(&path_prefix(directory), r#"{"path":"a/../.."}"#);
        breaks(&path_prefix(directory), r#"{"path":"/a"}"#);
        breaks(&path_prefix(directory), r#"{"path":"~/a"}"#);
        breaks(&path_prefix(directory), r#"{"path":"~root"}"#);
    }
}

#[test]
fn path_prefix_knows_home_directories() {
    meets(&path_prefix("~/base"), r#"{"path":"~/base/a"}"#);
    breaks(&path_prefix("~/base"), r#"{"path":"~/base/../.ssh"}"#);
    breaks(&path_prefix("~/base"), r#"{"path":"~root/base/a"}"#);
    breaks(&path_prefix("~/base"), r#"{"path":"/base/a"}"#);
    breaks(&path_prefix("~"), r#"{"path":"~/../etc"}"#);
    breaks(&path_prefix("/home/me"), r#"{"path":"~/a"}"#);
    breaks(&path_prefix("/base"), r#"{"note":"~","path":"/base/a"}"#);
}

#[test]
fn path_prefix_reads_backslashes_both_ways() {
    meets(&path_prefix("/base"), r#"{"path":"/base/a\\b"}"#);
    for path in [r"/base/..\\..\\etc", r"/base\\..\\..\\etc", r"/base\\..\\base\\a", r"\\base\\a", r"..\\a"] {
        breaks(&path_prefix("/base"), &format!(r#"{{"path":"{path}"}}"#));
    }
    // A directory written with backslashes settles that they separate.
    meets(&path_prefix(r"C:\base"), r#"{"path":"C:\\base\\a"}"#);
    meets(&path_prefix(r"C:\base"), r#"{"path":"C:/base/a"}"#);
    breaks(&path_prefix(r"C:\base"), r#"{"path":"C:\\base\\..\\secret"}"#);
    breaks(&path_prefix(r"C:\base"), r#"{"path":"D:\\base\\a"}"#);
    breaks(&path_prefix("."), r#"{"path":"a\\..\\..\\b"}"#);
}

#[test]
fn path_prefix_refuses_nul() {
    breaks(&path_prefix("/base"), r#"{"path":"/base/a\u0000/../../etc"}"#);
    breaks(&path_prefix("/base"), r#"{"path":"/base/a\u0000"}"#);
}

#[test]
fn path_prefix_reads_file_uris_as_paths() {
    meets(&path_prefix("/base"), r#"{"uri":"file:///base/a%20b"}"#);
    meets(&path_prefix("/base"), r#"{"uri":"FILE://localhost/base/a"}"#);
    for uri in [
        "file:///etc/passwd",
        "file:///base/%2e%2e/etc",
        "file:///base/%2E%2E%2Fetc",
        "file://other/base/a",
        "file:///base/%",
        "file:///base/%zz",
        "file:///base/a%00",
        "file:///base/%ff",
        "file:etc",
        "file://",
    ] {
        breaks(&path_prefix("/base"), &format!(r#"{{"uri":"{uri}","path":"/base/a"}}"#));
    }
}

#[test]
fn path_prefix_is_not_dodged_by_the_look_of_a_uri() {
    let under = path_prefix("/base");
    for source in [
        "/etc/x://../passwd",
        "x://../passwd",
        r"x://a\..\..\passwd",
        "https://a/../../../etc/passwd",
        "1x://etc/passwd",
        "a b://etc/passwd",
        "https://a\n/etc/passwd",
        "https://a /etc/passwd",
        "see https://a",
        "C://Users/u/secret",
    ] {
        let arguments = serde_json::json!({"source": source, "destination": "/base/p"}).to_string();
        breaks(&under, &arguments);
    }
    for source in ["https://example.com/a..b/...?x=1#y", "git+ssh://host/a", "s3.v1-x://bucket/key"] {
        meets(&under, &format!(r#"{{"source":"{source}","destination":"/base/p"}}"#));
    }
}

/// URL parsers trim a text and remove tabs and line breaks from it before they read it.
#[test]
fn path_prefix_reads_what_url_parsers_read() {
    for uri in [
        "file:///base/.\t./etc",
        "file:///base/.\n./etc",
        "fi\tle:///etc/passwd",
        " file:///base/a",
        "\u{feff}file:///etc/passwd",
        "file:///base/.. ",
        "file:///base/a\r",
    ] {
        let arguments = serde_json::json!({"uri": uri, "path": "/base/a"}).to_string();
        breaks(&path_prefix("/base"), &arguments);
    }
    for path in [" /etc/passwd", "\nfile:///etc/passwd", "a/.\t./../b", " ../a", "a/../.. "] {
        breaks(&path_prefix("."), &serde_json::json!({ "path": path }).to_string());
    }
    meets(&path_prefix("/base"), r#"{"path":"/base/two words"}"#);
}

#[test]
fn path_prefix_finds_paths_by_key_and_by_look() {
    let under = path_prefix("/base");
    for key in [
        "path",
        "filePath",
        "notebook_path",
        "paths",
        "PATHS",
        "file",
        "filepath",
        "dir",
        "directory",
        "root",
        "cwd",
    ] {
        breaks(&under, &format!(r#"{{"{key}":"secret","path2":"/base/a"}}"#));
    }
    // By look, wherever it stands.
    for arguments in [
        r#"{"path":"/base/a","x":"/etc/passwd"}"#,
        r#"{"path":"/base/a","x":["/etc/passwd"]}"#,
        r#"{"path":"/base/a","x":{"y":{"z":"a/b"}}}"#,
        r#"{"path":"/base/a","x":"./b"}"#,
        r#"{"path":"/base/a","x":".."}"#,
        r#"{"path":"/base/a","x":"a\\b"}"#,
        r#"{"paths":["/base/a","/etc/passwd"]}"#,
        r#"["/etc/passwd"]"#,
        r#""/etc/passwd""#,
    ] {
        breaks(&under, arguments);
    }
    meets(&under, r#"{"path":"/base/a","x":"plain words","n":5,"u":"https://example.com/a/b"}"#);
    meets(&under, r#"["/base/a"]"#);
}

#[test]
fn path_prefix_needs_a_path() {
    for arguments in
        ["{}", "null", "5", r#"{"x":"words"}"#, r#"{"path":5}"#, r#"{"u":"https://example.com/base"}"#]
    {
        let fault = breaks(&path_prefix("/"), arguments);
        assert_eq!(fault.reason, "the arguments hold no path");
    }
}

#[test]
fn domain_exact_reads_every_string() {
    let only = Constraint::DomainExact("Example.com".to_owned());
    for text in [
        "example.com",
        "EXAMPLE.com.",
        "https://example.com",
        "https://user:secret@example.com:8443/path?q#f",
        "//example.com/a",
        "example.com:443",
        "somebody@example.com",
        "mailto:somebody@example.com",
        "http:example.com",
        "https://example.com/?next=evil.org",
        "https://example.com?@evil.org",
    ] {
        meets(&only, &format!(r#"{{"url":"{text}"}}"#));
        meets(&only, &format!(r#"{{"urls":["{text}"],"note":"plain words"}}"#));
    }
    for text in [
        "evil.org",
        "https://evil.org/example.com",
        "https://example.com.evil.org",
        "https://example.com@evil.org",
        "https://notexample.com",
        "https://sub.example.com",
        "http:evil.org",
        r"https:\\\\evil.org",
        r"https://evil.org\\@example.com",
        r"https://example.com\\@evil.org",
        "https://a@evil.org@example.com",
        "https://example.com@a@evil.org",
        "//evil.org",
        "https://[::1]/",
        "https://localhost",
        "https://intranet/",
        "https:///evil.org",
        "https://evil%2eorg",
        "https://evil\\n.org",
        "https://evil\\t.org/",
        "https://еvil.org",
        "https://",
        "localhost",
        "somebody@evil.org",
    ] {
        breaks(&only, &format!(r#"{{"url":"{text}"}}"#));
        breaks(&only, &format!(r#"{{"ok":"example.com","url":"{text}"}}"#));
    }
}

#[test]
fn domains_are_not_hidden_by_control_characters() {
    let only = Constraint::DomainExact("example.com".to_owned());
    for text in [
        "ht\ttp://evil.org",
        "http\n://evil.org",
        "http:\r//evil.org",
        "\u{1}http://evil.org",
        "\u{1f}\u{0}https:evil.org",
        "\u{feff}https://evil.org",
        "/\t/evil.org",
        "\u{1}//evil.org",
        "evil\t.org",
        "https://evil.org\u{1}",
        "\u{7f}http://evil.org",
        "ht\u{1}tp://evil.org",
        "h\u{85}ttp:\\\\evil.org",
        "https://exam\tple.com",
        "https://example.com\u{1b}@evil.org",
    ] {
        breaks(&only, &serde_json::json!({ "url": text }).to_string());
        breaks(&only, &serde_json::json!({"ok": "example.com", "url": text}).to_string());
        let any = serde_json::json!({"ok": "example.com", "url": text}).to_string();
        breaks(&Constraint::DomainGlob("example*".to_owned()), &any);
    }
    // White space around a URL, and lines of prose beside one.
    for text in [
        " https://example.com/\n",
        "\u{1}https://example.com",
        "First line.\n\tSecond line, with words.",
        "https://example.com/a\nhttps://example.com/b",
        "a\u{1}b",
    ] {
        meets(&only, &serde_json::json!({"ok": "example.com", "text": text}).to_string());
    }
}

#[test]
fn domain_constraints_need_a_domain() {
    for arguments in ["{}", r#"{"x":"words","n":1}"#, r#"{"x":"two words."}"#] {
        let fault = breaks(&Constraint::DomainExact("example.com".to_owned()), arguments);
        assert_eq!(fault.reason, "the arguments hold no domain");
        breaks(&Constraint::DomainGlob("*".to_owned()), arguments);
    }
    meets(&Constraint::DomainExact("localhost".to_owned()), r#"{"host":"localhost:8080"}"#);
}

#[test]
fn domain_glob_matches_stars_in_any_case() {
    let glob = Constraint::DomainGlob("*.Example.com".to_owned());
    meets(&glob, r#"{"url":"https://API.example.com/x"}"#);
    meets(&glob, r#"{"url":"https://a.b.example.com"}"#);
    breaks(&glob, r#"{"url":"https://example.com"}"#);
    breaks(&glob, r#"{"url":"https://api.example.com.evil.org"}"#);
    breaks(&glob, r#"{"url":"https://evil.org/.example.com"}"#);
    breaks(&glob, r#"{"a":"https://api.example.com","b":"evil.org"}"#);
    meets(&Constraint::DomainGlob("api-*.example.*".to_owned()), r#"["api-1.example.org"]"#);
    breaks(&Constraint::DomainGlob("api-*.example.*".to_owned()), r#"["web-1.example.org"]"#);
    meets(&Constraint::DomainGlob("**a**".to_owned()), r#"["a.b"]"#);
    // Even `*` does not let an unreadable authority through.
    breaks(&Constraint::DomainGlob("*".to_owned()), r#"["https://a b.org"]"#);
    breaks(&Constraint::DomainGlob("*".to_owned()), r#"["https://[::1]/"]"#);
}

#[test]
fn domain_glob_stays_fast_on_long_input() {
    let glob = Constraint::DomainGlob(format!("{}b", "*a".repeat(2_000)));
    let long = format!(r#"{{"a":"{}.org","b":"https://{}"}}"#, "a".repeat(2_000_000), "a".repeat(2_000_000));
    breaks(&glob, &long);
}

#[test]
fn regex_match_needs_one_matching_string() {
    let expression = Constraint::RegexMatch("^v[0-9]+$".to_owned());
    meets(&expression, r#"{"a":"words","b":["v12"]}"#);
    breaks(&expression, r#"{"a":"v12x"}"#);
    breaks(&expression, r#"{"v1":5}"#);
    breaks(&expression, "{}");
}

#[test]
fn a_bad_regex_denies() {
    for expression in
        ["(", "a{99999}{99999}", "\\", &format!("{}{}", "(".repeat(100), ")".repeat(100)), "(?P<a"]
    {
        let constraint = Constraint::RegexMatch(expression.to_owned());
        let fault = breaks(&constraint, r#"{"a":"a"}"#);
        assert!(fault.reason.starts_with("invalid capability constraint"), "{fault}");
        breaks(&Constraint::MemoryWriteDenyPatterns(vec![expression.to_owned()]), r#"{"a":"b"}"#);
    }
}

/// Each call compiles them, so their number and size are what a holder can make a kernel pay.
#[test]
fn regular_expressions_are_few_and_small() {
    let deny = |count: usize| Constraint::MemoryWriteDenyPatterns(vec!["a{3}".to_owned(); count]);
    meets(&deny(64), r#"{"a":"b"}"#);
    let fault = breaks(&deny(65), r#"{"a":"b"}"#);
    assert_eq!(
        fault.to_string(),
        "the constraint `memory_write_deny_patterns` is not met: invalid capability constraint: more than 64 \
         regular expressions; put several into one with `|`"
    );
    breaks(&Constraint::RegexMatch("a{9000}".to_owned()), r#"{"a":"b"}"#);
    let address = r"(?i)^[\w.+-]+@[\w-]+(\.[\w-]+)*$".to_owned();
    meets(&Constraint::RegexMatch(address), r#"{"a":"jürgen@example.com"}"#);
}

#[test]
fn a_hostile_regex_ends() {
    let text = "a".repeat(20_000);
    breaks(&Constraint::RegexMatch("^(a+)+$b".to_owned()), &format!(r#"{{"a":"{text}"}}"#));
}

#[test]
fn max_length_counts_bytes_of_every_string() {
    let limit = Constraint::MaxLength(4);
    meets(&limit, r#"{"longer key":"four","b":["é€"],"n":123456789}"#.replace("é€", "éé").as_str());
    breaks(&limit, r#"{"a":"fives"}"#);
    breaks(&limit, r#"{"a":["four","éé!"]}"#);
    meets(&Constraint::MaxLength(0), r#"{"a":""}"#);
    meets(&limit, "null");
}

#[test]
fn max_args_size_counts_canonical_bytes() {
    let arguments = r#"{ "a" : "bc" }"#;
    meets(&Constraint::MaxArgsSize(10), arguments);
    let fault = breaks(&Constraint::MaxArgsSize(9), arguments);
    assert_eq!(fault.reason, "the arguments have 10 bytes, and 9 are allowed");
}

#[test]
fn custom_looks_for_a_key_with_a_value_anywhere() {
    let pair = Constraint::Custom(["env".to_owned(), "test".to_owned()]);
    meets(&pair, r#"{"env":"test"}"#);
    meets(&pair, r#"{"a":[{"b":{"env":"test"}}]}"#);
    for arguments in
        [r#"{"env":"prod"}"#, r#"{"env":["test"]}"#, r#"{"ENV":"test"}"#, r#"["env","test"]"#, "{}"]
    {
        breaks(&pair, arguments);
    }
}

#[test]
fn audience_allowlist_lists_every_recipient() {
    let list = Constraint::AudienceAllowlist(vec!["a@x.org".to_owned(), "#team".to_owned()]);
    for key in ["recipient", "recipients", "audience", "to", "channel", "channels", "To", "CHANNELS"] {
        meets(&list, &format!(r##"{{"{key}":"#team"}}"##));
        meets(&list, &format!(r##"{{"x":[{{"{key}":["#team","a@x.org"]}}]}}"##));
        for value in [
            r#""b@x.org""#,
            r##"["#team","b@x.org"]"##,
            "[]",
            r#""""#,
            "5",
            "null",
            "true",
            r#"{"a":"b"}"#,
            r#"[["a@x.org"]]"#,
        ] {
            breaks(&list, &format!(r#"{{"{key}":{value}}}"#));
        }
    }
    meets(&list, r#"{"subject":"hello","cc":"b@x.org"}"#);
    meets(&list, "{}");
    // One good key does not excuse another.
    breaks(&list, r##"{"to":"#team","a":{"recipients":["b@x.org"]}}"##);
    breaks(&Constraint::AudienceAllowlist(Vec::new()), r##"{"to":"#team"}"##);
}

#[test]
fn memory_store_allowlist_lists_every_store() {
    let list = Constraint::MemoryStoreAllowlist(vec!["notes".to_owned()]);
    for key in ["store", "memory_store", "collection", "namespace", "Namespace"] {
        meets(&list, &format!(r#"{{"{key}":"notes"}}"#));
        breaks(&list, &format!(r#"{{"{key}":"secrets"}}"#));
        breaks(&list, &format!(r#"{{"{key}":[]}}"#));
        breaks(&list, &format!(r#"{{"{key}":1}}"#));
    }
    meets(&list, r#"{"text":"secrets"}"#);
}

#[test]
fn memory_write_deny_patterns_match_no_string() {
    let patterns =
        Constraint::MemoryWriteDenyPatterns(vec!["(?i)password".to_owned(), "[0-9]{16}".to_owned()]);
    meets(&patterns, r#"{"text":"harmless","password":5}"#);
    breaks(&patterns, r#"{"text":"my PASSWORD is"}"#);
    breaks(&patterns, r#"{"a":[{"b":"4111111111111111"}]}"#);
}

#[test]
fn model_constraint_without_demands_passes_and_with_demands_needs_metadata() {
    let any =
        constraint(r#"{"type":"model_constraint","value":{"allowed_model_ids":[],"min_safety_tier":null}}"#);
    meets(&any, "{}");
    for value in [
        r#"{"allowed_model_ids":["m"],"min_safety_tier":null}"#,
        r#"{"allowed_model_ids":[],"min_safety_tier":"low"}"#,
    ] {
        let fault = breaks(&constraint(&format!(r#"{{"type":"model_constraint","value":{value}}}"#)), "{}");
        assert_eq!(fault.reason, "the request carries no model metadata");
    }
}

/// What nobody here can decide refuses the call, whatever the arguments.
#[test]
fn constraints_that_need_another_stage_fail_closed() {
    let undecidable = [
        ("governed_intent_required", ""),
        ("require_approval_above", r#","value":{"threshold_units":9007199254740991}"#),
        ("seller_exact", r#","value":"shop""#),
        ("minimum_runtime_assurance", r#","value":"none""#),
        ("minimum_autonomy_tier", r#","value":"direct""#),
        ("content_review_tier", r#","value":"none""#),
        ("max_transaction_amount_usd", r#","value":"1000000""#),
        ("require_dual_approval", r#","value":false"#),
        ("table_allowlist", r#","value":["t"]"#),
        ("column_denylist", r#","value":[]"#),
        ("max_rows_returned", r#","value":1000"#),
        ("operation_class", r#","value":"admin""#),
    ];
    for (name, value) in undecidable {
        let constraint = constraint(&format!(r#"{{"type":"{name}"{value}}}"#));
        for arguments in ["{}", r#"{"seller":"shop","sql":"select 1"}"#] {
            let fault = breaks(&constraint, arguments);
            assert_eq!(fault.name, name);
            assert!(!fault.reason.is_empty());
        }
    }
}

/// The name in a fault is the name on the wire, for every kind there is.
#[test]
fn every_kind_is_named_as_on_the_wire() {
    let kinds = [
        r#"{"type":"path_prefix","value":"/"}"#,
        r#"{"type":"domain_exact","value":"a.b"}"#,
        r#"{"type":"domain_glob","value":"*"}"#,
        r#"{"type":"regex_match","value":"a"}"#,
        r#"{"type":"max_length","value":0}"#,
        r#"{"type":"max_args_size","value":0}"#,
        r#"{"type":"custom","value":["a","b"]}"#,
        r#"{"type":"audience_allowlist","value":[]}"#,
        r#"{"type":"memory_store_allowlist","value":[]}"#,
        r#"{"type":"memory_write_deny_patterns","value":["."]}"#,
    ];
    for text in kinds {
        let constraint = constraint(text);
        let fault = breaks(&constraint, r#"{"x":"?","to":"y","store":"z"}"#);
        let wire = serde_json::to_value(&constraint).unwrap();
        assert_eq!(wire["type"], fault.name);
    }
}
