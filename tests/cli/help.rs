//! The command tree as it is documented by itself, and the conventions that hold for all of it.

use crate::program::Program;

/// Every command, by its path.
const COMMANDS: [&str; 29] = [
    "",
    "wrap",
    "demo",
    "serve",
    "mcp serve",
    "mcp serve-http",
    "check",
    "capability keygen",
    "capability issue",
    "capability attenuate",
    "capability inspect",
    "capability verify",
    "capability revoke",
    "receipt list",
    "receipt show",
    "receipt verify",
    "receipt tail",
    "log checkpoint",
    "log prove",
    "log verify",
    "log fsck",
    "manifest sign",
    "manifest verify",
    "stop",
    "resume",
    "init",
    "completions",
    "capability",
    "receipt",
];

/// Options and commands are what scripts rely on: a change must be seen by whoever makes it. To accept one, run the test
/// with `UPDATE_SNAPSHOTS=1`.
#[test]
fn the_command_tree_is_the_one_on_record() {
    let program = Program::new();
    let mut tree = String::new();
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("-h");
        let help = program.run(&arguments).expect(0).out;
        tree.push_str(&format!("$ chio {}\n{help}\n", arguments.join(" ")));
    }
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(recorded, &tree).unwrap();
    }
    let expected = std::fs::read_to_string(recorded).unwrap();
    for (number, (now, then)) in tree.lines().zip(expected.lines()).enumerate() {
        assert_eq!(now, then, "tests/cli/help.txt, line {}", number + 1);
    }
    assert_eq!(tree.lines().count(), expected.lines().count());
}

#[test]
fn wrong_usage_is_an_error_and_not_a_denial() {
    let program = Program::new();
    for arguments in
        [vec![], vec!["frobnicate"], vec!["wrap"], vec!["receipt", "show"], vec!["check", "--params", "{}"]]
    {
        let ran = program.run(&arguments).expect(1);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{ran:#?}");
    }
    let version = program.run(["--version"]).expect(0).out;
    assert!(version.starts_with("chio 0.") && version.contains("specification "), "{version}");
}

#[test]
fn an_error_says_what_happened_and_what_to_do() {
    let program = Program::new();
    let ran = program.run(["receipt", "show", "rcpt-nowhere"]).expect(1);
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
    assert!(ran.err.contains("\nhint: "), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "no colours where nobody sees them: {}", ran.err);
}

#[test]
fn every_option_is_an_environment_variable_too() {
    let program = Program::new();
    let checked =
        program.command(["check", "--params", "{}"]).env("CHIO_TOOL", "echo").env("CHIO_JSON", "1").output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(checked.stdout.starts_with(b"{"));
    // Empty is unset.
    let unset = program.command(["check", "--params", "{}"]).env("CHIO_TOOL", "").output().unwrap();
    assert_eq!(unset.status.code(), Some(1));
}

#[test]
fn looking_leaves_no_traces() {
    let program = Program::new();
    assert_eq!(program.run(["receipt", "list", "--json"]).expect(0).json(), serde_json::json!([]));
    program.run(["receipt", "tail", "--no-follow"]).expect(0);
    program.run(["check", "--tool", "echo"]).expect(0);
    program.run(["log", "fsck"]).expect(1);
    program.run(["receipt", "verify", "{}"]).expect(2);
    assert!(!program.home().exists());
}

#[test]
fn completions_know_the_commands() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = program.run(["completions", shell]).expect(0).out;
        assert!(script.contains("capability") && !script.contains("supervise"));
    }
}
