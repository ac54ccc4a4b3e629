//! The generated Python package, seen by Python itself.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

/// Runs Python beside the generated package, or says that there is none; a CI run without one fails.
fn python(arguments: &[&str]) -> Option<Output> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generated/python");
    let output = Command::new("python3")
        .args(arguments)
        .current_dir(&package)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_some() => panic!("python3 is needed: {error}"),
        Err(error) => {
            println!("SKIPPED: python3 cannot be run ({error})");
            None
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_package_imports_and_knows_what_is_required() {
    const PROGRAM: &str = r#"
import chio_spec as c
from typing import get_args

assert c.ToolGrant.__required_keys__ == {"server_id", "tool_name", "operations"}
assert "max_invocations" in c.ToolGrant.__optional_keys__
assert c.ToolCallRequest.__required_keys__ >= {"type", "params", "capability_token"}
assert c.ToolCallRequest in get_args(c.AgentMessage)
assert "invoke" in get_args(c.Operation)
assert c.REGISTRY[c.ErrorCode.CAPABILITY_DENIED].http_status == 403
assert set(c.NATIVE_DEFAULTS) == {entry.native_name for entry in c.REGISTRY.values()} - {None}
assert all(entry.code == code for code, entry in c.REGISTRY.items())
assert c.versions.MAX_FRAME_BYTES == 16 * 1024 * 1024
for name in c.__all__:
    getattr(c, name)
"#;
    let Some(output) = python(&["-c", PROGRAM]) else { return };
    assert!(output.status.success(), "{}", text(&output));
}

/// mypy is no part of the toolchain; where it is installed its strictest mode finds nothing.
#[test]
fn a_strict_type_checker_finds_nothing() {
    let Some(version) = python(&["-m", "mypy", "--version"]) else { return };
    if !version.status.success() {
        println!("SKIPPED: mypy is not installed");
        return;
    }
    let checked = python(&["-m", "mypy", "--strict", "--cache-dir=/dev/null", "chio_spec"]).unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
}
