//! What the README promises is what CI runs.

use std::path::Path;

#[test]
fn the_two_commands_of_the_readme_are_run_by_ci() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let readme = read("README.md");
    let setup = readme.split("\n## ").find(|section| section.starts_with("See it work")).unwrap();
    let commands: Vec<&str> = setup.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(commands.len(), 2, "the set-up has exactly two commands: {commands:?}");
    assert!(commands[0].contains("demo -- npx -y @modelcontextprotocol/server-filesystem ."), "{commands:?}");
    assert!(commands[1].contains("cargo test"), "{commands:?}");

    // CI adds that the lock file must be up to date, and nothing else.
    let ci = read(".ci/run").replace(" --locked", "");
    for command in commands {
        assert!(ci.lines().any(|line| line.trim() == command), "CI does not run: {command}");
    }
}
