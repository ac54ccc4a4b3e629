//! Reading `chio.yaml`, with variables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use chio_config::{ChioConfig, ConfigError, LogFormat, LogLevel};

fn parse(text: &str) -> Result<ChioConfig, ConfigError> {
    let variables = [("LEVEL", "debug"), ("EMPTY", ""), ("SECRET", "s3cr3t")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ChioConfig::parse(text, "chio.yaml", HashMap::from(variables))
}

#[test]
fn defaults_and_values() {
    let config = parse("{}").unwrap();
    assert_eq!(config, ChioConfig::default());
    let key = "ab".repeat(32);
    let config =
        parse(&format!("logging: {{level: warn, format: json}}\ntrusted_issuers:\n  - {key}\n")).unwrap();
    assert_eq!((config.logging.level, config.logging.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!(config.trusted_issuers[0].value, key);
}

#[test]
fn variables_are_substituted() {
    let level = |text: &str| parse(&format!("logging:\n  level: {text}\n")).unwrap().logging.level;
    assert_eq!(level("${LEVEL}"), LogLevel::Debug);
    assert_eq!(level("${MISSING:-trace}"), LogLevel::Trace);
    assert_eq!(level("${EMPTY:-error}"), LogLevel::Error);
}

#[test]
fn refusals_name_the_place_and_keep_secrets() {
    let refused = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        refused("logging:\n  level: ${NOPE}\n"),
        "chio.yaml:2:10: the variable NOPE is not set; set it, or write ${NOPE:-default}"
    );
    assert_eq!(
        refused("logging:\n  levle: info\n"),
        "chio.yaml:2:3: unknown key `levle`; did you mean `level`?"
    );
    assert_eq!(
        refused("trusted_issuers:\n  - ABC\n"),
        "chio.yaml:2:5: a trusted issuer is not a public key; a key is written as 64 lower-case hexadecimal digits"
    );
    assert!(refused("logging: {level: loud}\n").starts_with("chio.yaml:1:18: "));
    assert!(refused("telemetry: {}\n").contains("section `telemetry` is not available in this version"));
    for text in [
        "logging:\n  level: ${SECRET}\n",
        "logging:\n  format: ${SECRET}\n",
        "trusted_issuers: ['x', ${SECRET}]\n",
        "${SECRET}: 1\n",
        "logging: ${SECRET}\n",
    ] {
        let message = refused(text);
        println!("{message}");
        assert!(!message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn secrets_never_show_when_the_configuration_is_printed() {
    let text = "
servers:
  - {id: a, url: 'https://mcp.example.com', headers: {Authorization: 'Bearer ${SECRET}-1'}}
  - {id: b, command: [serve], env: {API_KEY: '${SECRET}-2'}}
mcp:
  admin_token: 0123456789-${SECRET}-3
  auth: {token: '0123456789-${SECRET}-4'}
";
    let text = text.replace("${SECRET}", "s3cr3t");
    let config = parse(&text).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(shown.contains("Authorization") && shown.contains("API_KEY"), "{shown}");
    assert_eq!(config.servers[0].value.headers["Authorization"].reveal(), "Bearer s3cr3t-1");
    assert_eq!(config.mcp.auth.token.unwrap().reveal(), "0123456789-s3cr3t-4");
}
