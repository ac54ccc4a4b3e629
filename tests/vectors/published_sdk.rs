//! The published Python client (`chio-sdk` 0.1.0) verifies what we sign, and refuses what we refuse.
//!
//! It is installed once, from hashes, into a folder below `target/`. Where that is impossible the test says so loudly
//! and passes; under `CI` it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Vectors on which the client differs, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("receipts/algorithm", "it takes the name of the algorithm for signed"),
    ("receipts/verdict-missing", "it raises"),
    ("receipts/upper-case-signature", "it reads digits in either case"),
    ("receipts/duplicate-member", "the last of two members wins"),
    ("capabilities/valid-algorithm", "it takes the name of the algorithm for signed"),
    ("capabilities/upper-case-signature", "it reads digits in either case"),
    ("capabilities/duplicate-member", "the last of two members wins"),
    ("capabilities/chain-not-an-array", "an empty chain of any type is no chain"),
    ("manifests/unknown-member", "it does not close its objects"),
    ("manifests/unknown-hint", "it does not check the hint"),
];

/// Something signed, and what we say of it.
struct Question {
    id: String,
    kind: &'static str,
    text: String,
    now: u64,
    max_depth: Value,
    accepted: bool,
}

#[test]
fn the_published_client_agrees_on_the_vectors_and_on_what_the_program_signs() {
    let Some(python) = client() else { return };
    let mut questions = vectors();
    questions.extend(live());
    let verdicts = ask(&python, &questions);
    let differences: Vec<&str> = questions
        .iter()
        .zip(&verdicts)
        .filter(|(question, verdict)| question.accepted != **verdict)
        .map(|(question, _)| question.id.as_str())
        .collect();
    let expected: Vec<&str> = DIFFERENCES.iter().map(|(id, _)| *id).collect();
    assert_eq!(differences, expected);
    let accepted = verdicts.iter().filter(|verdict| **verdict).count();
    println!("the published client accepts {accepted} of {} signed objects", questions.len());
}

fn vectors() -> Vec<Question> {
    let mut questions = Vec::new();
    for (file, kind, member) in [
        ("receipts", "receipt", "receipt"),
        ("capabilities", "capability", "token"),
        ("manifests", "manifest", "signed_manifest"),
    ] {
        let path = format!("{}/spec/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let file_content: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for case in file_content["cases"].as_array().unwrap() {
            let expected = &case["expected"];
            let holds = |names: &[&str]| names.iter().all(|name| expected[*name] == true);
            let accepted = match kind {
                "receipt" => holds(&["signature_valid", "parameter_hash_valid"]),
                "capability" => {
                    holds(&["signature_valid", "delegation_chain_valid"])
                        && expected["time_status"] == "valid"
                }
                _ => expected.as_object().unwrap().values().all(|value| *value == true),
            };
            questions.push(Question {
                id: format!("{file}/{}", case["id"].as_str().unwrap()),
                kind,
                text: case[member].as_str().unwrap().to_owned(),
                now: case["now"].as_u64().unwrap_or(0),
                max_depth: case["max_depth"].clone(),
                accepted,
            });
        }
    }
    questions
}

/// Receipts of a governed server, and a token: all of them good.
fn live() -> Vec<Question> {
    let home = tempfile::tempdir().unwrap();
    let chio = |arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_chio"))
            .args(arguments)
            .env("CHIO_HOME", home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(run.status.success(), "chio {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    chio(&["demo"]);
    let listed = chio(&["receipt", "list", "--json"]);
    let receipts: Vec<Box<RawValue>> = serde_json::from_str(&listed).unwrap();
    assert!(receipts.len() >= 2, "the demonstration leaves an allowed and a denied call");
    let agent = chio_core::keys::SigningKey::from_seed([0x20; 32]).public().to_string();
    let token =
        chio(&["capability", "issue", "--subject", &agent, "--server", "files", "--tool", "*", "--json"]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let good = |id: String, kind, text: &str| Question {
        id,
        kind,
        text: text.to_owned(),
        now,
        max_depth: Value::Null,
        accepted: true,
    };
    let mut questions = vec![good("live token".to_owned(), "capability", token.trim_end())];
    for (place, receipt) in receipts.iter().enumerate() {
        questions.push(good(format!("live receipt {place}"), "receipt", receipt.get()));
    }
    questions
}

fn ask(python: &Path, questions: &[Question]) -> Vec<bool> {
    let asked: Vec<Value> = questions
        .iter()
        .map(|question| {
            let Question { kind, text, now, max_depth, .. } = question;
            json!({"kind": kind, "max_depth": max_depth, "now": now, "text": text})
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/published_sdk.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(Value::Array(asked).to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the published client could not be asked");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python that has the client, or `None` where it cannot be installed.
fn client() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published-sdk");
    std::fs::create_dir_all(&folder).unwrap();
    // Two test runs on one target folder take turns.
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (python, done) = (folder.join("venv/bin/python"), folder.join("installed.txt"));
    let wanted = include_str!("published_sdk.txt");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Some(python);
    }
    match install(&folder, &python) {
        Ok(()) => {
            std::fs::write(done, wanted).unwrap();
            Some(python)
        }
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "the published client cannot be installed: {reason}");
            eprintln!("SKIPPED: the published client cannot be installed: {reason}");
            None
        }
    }
}

fn install(folder: &Path, python: &Path) -> Result<(), String> {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/published_sdk.txt");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder.join("venv"));
    let mut fill = Command::new(python);
    fill.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        requirements,
    ]);
    for mut step in [make, fill] {
        let output = step.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}
