//! The demonstration tells its whole story on real input, and ends by itself.

use std::time::Duration;

use crate::home::{Home, Ran, finish};
use crate::peers;

/// What the demonstration must say, in this order.
const STORY: [&str; 9] = [
    "The agent lists the tools",
    "It makes a call that the policy allows",
    "allow",
    "It makes a call that the policy denies",
    "deny by forbidden-path",
    "the server never saw this call",
    "it is in the log",
    "caught",
    "chio wrap --",
];

#[test]
fn the_demonstration_needs_no_server() {
    let home = Home::new();
    let mut command = home.command(&["demo"]);
    command.env_remove("CHIO_HOME");
    told(finish(command, Duration::from_secs(60)));
    assert!(!home.side(".chio").exists() && !home.path().exists(), "the demonstration left something behind");
}

#[test]
fn the_demonstration_of_the_readme_ends_by_itself() {
    let Some(npm) = peers::npm() else { return };
    let home = Home::new();
    // `npx` finds the installed package from here, and the server serves a small folder.
    std::os::unix::fs::symlink(npm.join("node_modules"), home.side("node_modules")).unwrap();
    let mut command =
        home.command(&["demo", "--", "npx", "-y", "@modelcontextprotocol/server-filesystem", "."]);
    command.env_remove("CHIO_HOME");
    told(finish(command, Duration::from_secs(60)));
}

#[test]
fn a_demonstration_in_a_named_home_keeps_its_receipts() {
    let home = Home::new();
    told(home.run(&["demo"]));
    let receipts = home.receipts();
    assert_eq!(receipts.len(), 2, "{receipts:?}");
    assert_eq!(home.fsck(), 2);
    home.verify_each();
}

fn told(ran: Ran) {
    assert!(ran.status.success(), "{ran:?}");
    let mut rest = ran.stdout.as_str();
    for part in STORY {
        let Some(at) = rest.find(part) else { panic!("{part:?} is missing in its place:\n{}", ran.stdout) };
        rest = &rest[at + part.len()..];
    }
}
