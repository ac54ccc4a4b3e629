//! The log as a whole.

use std::process::Command;

use crate::program::Program;

#[test]
fn a_stranger_can_check_that_a_receipt_is_in_the_log() {
    let program = Program::new();
    let id = program.demonstrated();
    let bundle = program.run(["log", "prove", &id]).expect(0);
    let key = bundle.json()["checkpoint"]["body"]["kernel_key"].as_str().unwrap().to_owned();
    let bundle = program.file("bundle.json", &bundle.out);
    let stranger = Program::new();
    for command in [["log", "verify"], ["receipt", "verify"]] {
        program.run(command.iter().chain(&[bundle.as_str()])).expect(0);
        stranger.run(command.iter().chain(&[bundle.as_str()])).expect(3);
        stranger.run(command.iter().chain(&[bundle.as_str(), "--key", &key])).expect(0);
    }
    let whole = std::fs::read_to_string(&bundle).unwrap();
    for (from, to) in [
        ("\"deny\"", "\"allow\""),
        ("\"tree_size\":2", "\"tree_size\":3"),
        ("\"leaf_index\":1", "\"leaf_index\":0"),
    ] {
        let changed = whole.replacen(from, to, 1);
        assert_ne!(changed, whole, "{from}");
        program.run(["log", "verify", changed.trim()]).expect(2);
    }
    program.run(["log", "prove", "rcpt-unknown"]).expect(1);
}

#[test]
fn checkpoints_are_chained() {
    let program = Program::new();
    program.run(["log", "checkpoint"]).expect(1);
    program.demonstrated();
    let first = program.run(["log", "checkpoint", "--json"]).expect(0);
    let same = program.run(["log", "checkpoint", "--json"]).expect(0);
    assert_eq!(first.out, same.out, "nothing was added, so nothing new is stated");
    program.demonstrated();
    let second = program.run(["log", "checkpoint", "--json"]).expect(0);
    assert_eq!(second.json()["body"]["checkpoint_seq"], 2);
    let chain = format!("{}{}", first.out, second.out);
    program.feed(["log", "verify", "-"], &chain).expect(0);
    program
        .feed(["log", "verify", "-"], &chain.replace("\"batch_start_seq\":3", "\"batch_start_seq\":2"))
        .expect(2);
    program.feed(["log", "verify", "-"], "").expect(2);
}

#[test]
fn the_examination_finds_what_was_changed() {
    let program = Program::new();
    program.demonstrated();
    let home = program.home();
    let clean = program.run(["log", "fsck", "--json"]).expect(0).json();
    assert_eq!((clean["clean"].as_bool(), clean["receipts"].as_u64()), (Some(true), Some(2)));
    let change = |from: &str, to: &str| {
        let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
                       db.execute('UPDATE receipts SET text = replace(text, ?, ?)', sys.argv[2:]); db.commit()";
        let database = format!("{}/chio.db", home.display());
        let changed = Command::new("python3").args(["-c", program, &database, from, to]).status().unwrap();
        assert!(changed.success());
    };
    change(r#""deny""#, r#""dent""#);
    let found = program.run(["log", "fsck"]).expect(2).out;
    assert!(found.contains("not clean"), "{found}");
    program.run(["log", "fsck", "--re-anchor"]).expect(2);
    change(r#""dent""#, r#""deny""#);
    program.run(["log", "fsck"]).expect(0);
}

#[test]
fn a_restored_backup_is_refused_until_it_is_accepted() {
    let program = Program::new();
    program.demonstrated();
    let files = ["chio.db", "chio.db-wal"].map(|name| program.home().join(name));
    let backup = files.clone().map(|file| std::fs::read(file).unwrap_or_default());
    program.demonstrated();
    for (file, bytes) in files.iter().zip(backup) {
        std::fs::write(file, bytes).unwrap();
    }
    drop(std::fs::remove_file(program.home().join("chio.db-shm")));
    let refused = program.run(["receipt", "list"]).expect(1);
    assert!(refused.err.contains("rolled back") && refused.err.contains("--re-anchor"), "{}", refused.err);
    program.run(["demo"]).expect(1);
    program.run(["log", "fsck"]).expect(2);
    program.run(["log", "fsck", "--re-anchor"]).expect(0);
    let left = program.run(["receipt", "list", "--json"]).expect(0).json();
    assert_eq!(left.as_array().unwrap().len(), 2);
}
