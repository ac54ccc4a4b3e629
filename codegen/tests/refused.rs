//! One fixture per rule of the profile: a schema that breaks the rule, and beside it what the generator says.
//!
//! After a change of words, `CHIO_BLESS=1 cargo test -p chio-codegen` writes the messages anew; read them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn every_fixture_is_refused_with_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let update = std::env::var_os("CHIO_BLESS").is_some();
    let (mut faults, mut count, mut messages) = (Vec::new(), 0, BTreeSet::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files = BTreeMap::from([(
            format!("spec/schemas/refused/{name}.schema.json"),
            std::fs::read_to_string(&path).unwrap(),
        )]);
        let Err(error) = chio_codegen::model(&files) else {
            faults.push(format!("{name}: accepted"));
            continue;
        };
        let found = format!("{error:#}\n");
        messages.insert(found.replace(&name, ""));
        let expected_path = path.with_extension("txt");
        if update {
            std::fs::write(&expected_path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            faults.push(format!("{name}: expected\n{expected}but found\n{found}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{count} schemas refused, with {} different messages", messages.len());
    assert!(count >= 80, "fixtures are missing: only {count} found");
}
