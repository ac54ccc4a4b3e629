//! What the program answers, by its exit code, when it is given the vectors: 0 for valid and trusted, 2 for invalid, 3
//! for valid by a key that nothing vouches for.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::family::folder;
use crate::make::{KERNEL, public};

#[test]
fn the_program_answers_as_the_files_say() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("input.json");
    let (kernel, publisher) = (public(KERNEL), public(0x31));
    let mut asked = 0;
    let mut disagreements = Vec::new();
    let mut ask = |command: [&str; 2], key: &str, id: &Value, text: &Value, expected: i32| {
        std::fs::write(&input, text.as_str().unwrap()).unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_chio"))
            .args(command)
            .args([input.to_str().unwrap(), "--key", key])
            .env("CHIO_HOME", home.path().join("home"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        asked += 1;
        if status.code() != Some(expected) {
            disagreements.push(format!("chio {command:?} says {:?} of {id}, not {expected}", status.code()));
        }
    };
    for case in cases("receipts") {
        let expected = match case["expected"]["trust"].as_str().unwrap() {
            "trusted" => 0,
            "integrity_only" => 3,
            _ => 2,
        };
        ask(["receipt", "verify"], &kernel, &case["id"], &case["receipt"], expected);
    }
    for case in cases("log") {
        let (text, good) = match case["of"].as_str().unwrap() {
            "checkpoint" => (&case["checkpoint"], case["fault"].is_null()),
            "bundle" => (&case["bundle"], case["valid"] == true),
            _ => continue,
        };
        ask(["log", "verify"], &kernel, &case["id"], text, if good { 0 } else { 2 });
    }
    for case in cases("manifests") {
        let good = case["expected"].as_object().unwrap().values().all(|answer| *answer == true);
        let expected = if good { 0 } else { 2 };
        ask(["manifest", "verify"], &publisher, &case["id"], &case["signed_manifest"], expected);
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
    println!("the program answers {asked} questions as the files say");
}

fn cases(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file).with_extension("json")).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array_mut().unwrap().drain(..).collect()
}
