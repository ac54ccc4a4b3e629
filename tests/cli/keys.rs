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
    assert_eq!(mode("policy.yaml"), 0o600);

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

/// What a policy needs to allow anything at all.
const EVERYTHING: &str =
    "capabilities: { default: { tools: [{ server: '*', tool: '*', operations: [invoke], ttl: 300 }] } }\n";

/// A project may bring a `.chio` with a policy that allows everything; only one that we made is taken unasked.
#[test]
fn a_home_that_came_with_a_project_is_not_taken() {
    let program = Program::new();
    let project = program.home().with_file_name(".chio");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("policy.yaml"), EVERYTHING).unwrap();
    let asked = |home: Option<&str>| {
        let mut command =
            program.command(["check", "--json", "--tool", "t", "--params", "{\"path\": \".env\"}"]);
        match home {
            Some(home) => command.env("CHIO_HOME", home),
            None => command.env_remove("CHIO_HOME"),
        };
        command.output().unwrap()
    };
    for mode in [0o755, 0o750, 0o707] {
        std::fs::set_permissions(&project, PermissionsExt::from_mode(mode)).unwrap();
        let refused = asked(None);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("./.chio") && told.contains("--home"), "{told}");
    }
    // Whoever names it means it.
    assert_eq!(asked(Some("./.chio")).status.code(), Some(0));
    // As we make it.
    std::fs::set_permissions(&project, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(asked(None).status.code(), Some(0));
    // A link leads where its maker wants.
    let elsewhere = program.home().with_file_name("elsewhere");
    std::fs::rename(&project, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &project).unwrap();
    assert_eq!(asked(None).status.code(), Some(1));
}

/// Whatever the policy in force says, keys and policy are out of reach.
#[test]
fn no_policy_lets_a_tool_reach_the_home() {
    let program = Program::new();
    let open = program.file("open.yaml", EVERYTHING);
    let exempt = "guards: { forbidden_path: { patterns: ['**/mine'], exceptions: ['**'] } }\n";
    let own = program.file("own.yaml", &format!("{exempt}{EVERYTHING}"));
    let key = serde_json::json!({"path": program.home().join("keys/kernel.key")}).to_string();
    let other = serde_json::json!({"path": program.home().with_file_name("notes")}).to_string();
    for policy in [vec![], vec!["--policy", &open], vec!["--policy", &own]] {
        let ask = |params: &str| {
            let arguments = ["check", "--json", "--tool", "read_file", "--params", params];
            program.run(arguments.iter().chain(&policy))
        };
        assert_eq!(ask(&key).expect(2).json()["decision"]["guard"], "forbidden-path", "{policy:?}");
        ask(&other).expect(0);
    }
}
