//! The whole generator on a copy of this repository: what it notices, what it mends, what one edit of the
//! specification changes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chio_codegen::{freshness, generate};
use tempfile::TempDir;

/// A copy of everything that the generator reads and writes.
struct Copy(TempDir);

impl Copy {
    fn new() -> Self {
        let copy = Self(TempDir::new().unwrap());
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for folder in ["spec", "codegen/src"] {
            copy_folder(&repository.join(folder), &copy.path(folder));
        }
        std::fs::copy(repository.join("codegen/Cargo.toml"), copy.path("codegen/Cargo.toml")).unwrap();
        generate(copy.root()).unwrap().write(copy.root()).unwrap();
        copy
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not contain {from}");
        std::fs::write(self.path(path), text.replacen(from, to, 1)).unwrap();
    }

    fn generated(&self) -> BTreeMap<String, String> {
        generate(self.root()).unwrap().files
    }

    /// Runs the binary as cargo would.
    fn run(&self, options: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_chio-codegen"))
            .args(options)
            .env("CARGO_MANIFEST_DIR", self.path("codegen"))
            .output()
            .unwrap()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

const REQUEST: &str = "spec/schemas/chio-wire/v1/agent/tool_call_request.schema.json";
const REGISTRY: &str = "spec/errors/chio-error-registry.v1.json";
const VERSIONS: &str = "spec/versions/chio-protocol-negotiation.v1.json";

#[test]
fn the_repository_is_up_to_date() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let drift = generate(repository).unwrap().drift(repository).unwrap();
    assert!(drift.is_none(), "{}", drift.unwrap());
    freshness(repository).unwrap();
}

#[test]
fn a_fresh_copy_is_fresh_and_the_same_everywhere() {
    let (first, second) = (Copy::new(), Copy::new());
    assert_eq!(generate(first.root()).unwrap().drift(first.root()).unwrap(), None);
    assert_eq!(freshness(first.root()).unwrap(), freshness(second.root()).unwrap());
    assert_eq!(first.generated(), second.generated());
    for text in first.generated().values() {
        assert!(!text.contains(first.root().to_str().unwrap()), "an output names the machine it was made on");
    }
}

#[test]
fn a_deleted_folder_comes_back_byte_for_byte() {
    let copy = Copy::new();
    let before: BTreeMap<String, String> =
        copy.generated().keys().map(|path| (path.clone(), copy.read(&format!("generated/{path}")))).collect();
    std::fs::remove_dir_all(copy.path("generated")).unwrap();
    assert!(freshness(copy.root()).is_err());
    assert!(copy.run(&["--check"]).status.code() == Some(1));

    assert!(copy.run(&[]).status.success());
    for (path, text) in before {
        assert_eq!(copy.read(&format!("generated/{path}")), text, "{path}");
    }
    freshness(copy.root()).unwrap();
}

/// An edit, and the file of `generated/` that the report must name.
type Edit = (&'static str, fn(&Copy), &'static str);

#[test]
fn every_kind_of_drift_is_seen_and_mended() {
    let edits: [Edit; 9] = [
        (
            "a schema",
            |copy| copy.replace(REQUEST, "Tool server that owns the tool.", "The tool's server."),
            "rust/src/types/agent.rs",
        ),
        (
            "the registry",
            |copy| copy.replace(REGISTRY, "Retry after a short, growing pause.", "Retry later."),
            "rust/src/errors.rs",
        ),
        (
            "the negotiation file",
            |copy| copy.replace(VERSIONS, "16777216", "16777215"),
            "rust/src/versions.rs",
        ),
        (
            "the registry's schema",
            |copy| copy.replace("spec/meta/error-registry.schema.json", "Shape of", "The shape of"),
            "MANIFEST",
        ),
        (
            "the generator",
            |copy| copy.replace("codegen/src/rust/polish.rs", "Shortens", "Makes shorter"),
            "MANIFEST",
        ),
        (
            "a generated line",
            |copy| {
                copy.replace("generated/rust/src/types/agent.rs", "pub params: Json", "pub params: String");
            },
            "rust/src/types/agent.rs",
        ),
        (
            "a line end",
            |copy| {
                let text = copy.read("generated/docs/protocol.md");
                std::fs::write(copy.path("generated/docs/protocol.md"), text + "\n").unwrap();
            },
            "docs/protocol.md",
        ),
        (
            "a file that is too much",
            |copy| std::fs::write(copy.path("generated/rust/src/notes.rs"), "// mine\n").unwrap(),
            "rust/src/notes.rs",
        ),
        (
            "a file that is missing",
            |copy| std::fs::remove_file(copy.path("generated/python/chio_spec/types.py")).unwrap(),
            "python/chio_spec/types.py",
        ),
    ];
    let copy = Copy::new();
    for (what, edit, named) in edits {
        edit(&copy);
        let check = copy.run(&["--check"]);
        let report = String::from_utf8(check.stdout).unwrap();
        assert_eq!(check.status.code(), Some(1), "{what}: {report}");
        assert!(report.contains(&format!("generated/{named}")), "{what}: {report}");
        assert!(report.contains("Run `cargo run -p chio-codegen`"), "{what}: {report}");
        let stale = freshness(copy.root()).unwrap_err().to_string();
        assert!(stale.ends_with("run `cargo run -p chio-codegen`"), "{what}: {stale}");

        assert!(copy.run(&[]).status.success(), "{what}");
        assert!(copy.run(&["--check"]).status.success(), "{what}");
        freshness(copy.root()).unwrap();
    }
}

#[test]
fn a_specification_that_contradicts_itself_is_refused_by_name() {
    for (path, from, to, says) in [
        (REGISTRY, "\"code\": 2101", "\"code\": 3199", "outside of the category capability"),
        (REGISTRY, "\"code\": 1001", "\"code\": 1000", "session_not_initialized"),
        (REGISTRY, "\"name\": \"capability_expired\"", "\"name\": \"capability_denied\"", "twice"),
        (REGISTRY, "\"category\": \"auth\"", "\"category\": \"guard\"", "outside of the category guard"),
        (REGISTRY, "\"transient\": true", "\"transient\": false", "has `transient` true"),
        (REGISTRY, "\"nativeDefault\": true", "\"nativeDefault\": false", "exactly one entry"),
        (REGISTRY, "\"firstCode\": 1000", "\"firstCode\": 900", "the categories and their numbers"),
        (REGISTRY, "\"strategy\": \"reinitialize\"", "\"strategy\": \"pray\"", "does not satisfy spec/meta"),
        (VERSIONS, "\"chioErrorCode\": 1000", "\"chioErrorCode\": 1999", "no error 1999"),
        (VERSIONS, "\"exact_match\"", "\"nearest\"", "does not satisfy spec/meta"),
        (REQUEST, "\"type\": \"array\"", "\"type\": \"array\", \"type\": \"array\"", "twice"),
        (REQUEST, "\"minItems\": 1", "\"minItems\": 2", "ancestors: an array has"),
    ] {
        let copy = Copy::new();
        copy.replace(path, from, to);
        let error = format!("{:#}", generate(copy.root()).err().unwrap_or_else(|| panic!("accepted {to}")));
        assert!(error.contains(says), "{to}: {error}");
        assert!(error.contains(path), "{to}: {error}");
        assert_eq!(copy.run(&[]).status.code(), Some(1));
    }
}

/// Adding an optional field is one edit and one command: no other file needs a change to compile.
#[test]
fn an_optional_field_reaches_every_output_and_leaves_the_constructor_alone() {
    let copy = Copy::new();
    let before = copy.read("generated/rust/src/types/agent.rs");
    copy.replace(
        REQUEST,
        "\"properties\": {",
        "\"properties\": {\n    \"trace_parent\": {\"type\": \"string\", \"description\": \"Trace of the caller.\"},",
    );
    assert!(copy.run(&[]).status.success());

    let after = copy.read("generated/rust/src/types/agent.rs");
    assert!(after.contains("    /// Trace of the caller.\n"));
    assert!(after.contains("    pub trace_parent: Option<String>,\n"));
    assert!(after.contains("    pub fn with_trace_parent(mut self, value: impl Into<String>) -> Self {\n"));
    assert_eq!(constructor(&before), constructor(&after));
    let python = copy.read("generated/python/chio_spec/types.py");
    assert!(python.contains("    #: Trace of the caller.\n    trace_parent: NotRequired[str]\n"));
    let reference = copy.read("generated/docs/protocol.md");
    assert!(reference.contains("| `trace_parent` | string | optional | Trace of the caller. |\n"));
}

/// The signature of `ToolCallRequest::new`.
fn constructor(rust: &str) -> &str {
    let start = rust.find("impl ToolCallRequest {").unwrap();
    let rest = rust.get(start..).unwrap();
    rest.get(..rest.find(") -> Self").unwrap()).unwrap()
}
