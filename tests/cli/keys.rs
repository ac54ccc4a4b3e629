//! Key files.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::program::Program;

#[test]
fn keys_are_for_their_owner_alone() {
    let program = Program::new();
    program.run(["init"]).expect(0);
    let mode = |path: &str| program.home().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("keys")), (0o700, 0o700));
    assert_eq!((mode("keys/kernel.key"), mode("keys/authority.key")), (0o600, 0o600));

    let path = program.home().join("keys/kernel.key");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let refused = program.run(["demo"]).expect(1);
    assert!(refused.err.contains("0640") || refused.err.contains("640"), "{}", refused.err);
    assert!(refused.err.contains("hint: ") && refused.err.contains("chmod 600"), "{}", refused.err);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    program.run(["demo"]).expect(0);
}

#[test]
fn processes_that_start_at_once_agree_on_one_key() {
    for _ in 0..5 {
        let program = Program::new();
        let start = |_| program.command(["init", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let running: Vec<_> = (0..8).map(start).collect();
        let reports: Vec<serde_json::Value> = running
            .into_iter()
            .map(|child| serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap())
            .collect();
        for report in &reports {
            assert_eq!(report["kernel_key"], reports[0]["kernel_key"]);
            assert_eq!(report["authority_key"], reports[0]["authority_key"]);
        }
        assert_ne!(reports[0]["kernel_key"], reports[0]["authority_key"]);
        let created = reports.iter().filter(|report| report["policy_created"] == true).count();
        assert_eq!(created, 1);
        let left = std::fs::read_dir(program.home().join("keys")).unwrap().count();
        assert_eq!(left, 2, "no draft is left behind");
    }
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let program = Program::new();
    let policy = program.home().join("policy.yaml");
    std::fs::create_dir_all(program.home()).unwrap();
    std::fs::write(&policy, "guards: {}\n").unwrap();
    let first = program.run(["init", "--json"]).expect(0).json();
    assert_eq!(first["policy_created"], false);
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), "guards: {}\n");
    let second = program.run(["init", "--json"]).expect(0).json();
    assert_eq!(first["kernel_key"], second["kernel_key"]);

    let (file, _) = program.holder();
    let before = std::fs::read(&file).unwrap();
    program.run(["capability", "keygen", "--out", &file]).expect(1);
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_damaged_key_is_not_replaced() {
    let program = Program::new();
    program.run(["init"]).expect(0);
    std::fs::write(program.home().join("keys/kernel.key"), "not a key\n").unwrap();
    let refused = program.run(["demo"]).expect(1);
    assert!(!refused.err.contains("not a key\n"), "secrets are never shown: {}", refused.err);
}
