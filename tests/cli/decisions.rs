//! Deciding without a call, and stopping every call.

use crate::program::Program;

#[test]
fn a_check_explains_itself() {
    let program = Program::new();
    let check = ["check", "--tool", "write_file", "--params", r#"{"path":"src/../.env"}"#];
    let told = program.run(check).expect(2).out;
    for words in ["deny", "no  forbidden-path", "guards.forbidden_path.patterns", "the safe preset"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let report = program.run(check.iter().chain(&["--json"])).expect(2).json();
    assert_eq!(report["decision"]["guard"], "forbidden-path");
    assert_eq!(report["code"]["name"], "guard_denied");
    program.run(["check", "--tool", "write_file", "--params", r#"{"path":"src/main.rs"}"#]).expect(0);
    program.run(["check", "--tool", "write_file", "--params", "[1,"]).expect(1);
}

#[test]
fn a_check_names_the_line_of_the_policy() {
    let program = Program::new();
    let policy = program.file(
        "rules.yaml",
        "guards:\n  tool_access:\n    block: [write]\ncapabilities:\n  default:\n    tools:\n      - {server: fs, tool: '*'}\n",
    );
    let check = ["check", "--policy", &policy, "--server", "fs", "--json", "--tool"];
    program.run(check.iter().chain(&["echo"])).expect(0);
    let denied = program.run(check.iter().chain(&["write"])).expect(2).json();
    assert_eq!(denied["decision"]["guard"], "mcp-tool");
    assert_eq!(denied["rule"]["line"], 3);
    let elsewhere = ["check", "--policy", &policy, "--server", "other", "--json", "--tool", "echo"];
    assert_eq!(program.run(elsewhere).expect(2).json()["decision"]["guard"], "scope");
    let broken = program.file("broken.yaml", "guards:\n  tool_acces: {}\n");
    let refused = program.run(["check", "--policy", &broken, "--tool", "echo"]).expect(1);
    assert!(refused.err.contains("broken.yaml:2"), "{}", refused.err);
}

#[test]
fn a_stop_stops_everything_until_it_is_lifted() {
    let program = Program::new();
    program.demonstrated();
    program.run(["stop"]).expect(0);
    assert_eq!(program.run(["stop", "--json"]).expect(0).json()["changed"], false);
    let denied = program.run(["check", "--tool", "echo", "--json"]).expect(2).json();
    assert_eq!(denied["decision"]["guard"], "emergency_stop");
    program.run(["resume"]).expect(0);
    program.run(["check", "--tool", "echo"]).expect(0);
    program.run(["stop", "--agent", "not-a-key"]).expect(1);
}

#[test]
fn a_setting_that_nobody_follows_is_refused() {
    let program = Program::new();
    program.run(["init"]).expect(0);
    let file = program.home().join("chio.yaml");
    let start = ["serve", "--demo", "--listen", "unix:///nowhere/at/all.sock"];
    for (text, words) in [
        ("loging: {}\n", "loging"),
        ("trusted_issuers: [abc]\n", "trusted issuer"),
        ("receipts: {checkpoint_interval: 5}\n", "receipts"),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = program.run(start).expect(1);
        assert!(refused.err.contains(words), "{}", refused.err);
    }
}
