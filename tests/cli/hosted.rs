//! `chio mcp serve-http`, from the outside: what it refuses to start with, and what it says when it starts. What it
//! serves is tested with real clients and servers elsewhere.

use crate::program::Program;

#[test]
fn an_edge_without_a_server_says_how_to_name_one() {
    let told = Program::new().run(["mcp", "serve-http", "--listen", "127.0.0.1:0"]).expect(1).err;
    assert!(told.contains("no MCP server") && told.contains("--upstream"), "{told}");
}

#[test]
fn an_edge_that_others_can_reach_needs_to_know_its_callers() {
    let told = Program::new().run(["mcp", "serve-http", "--listen", "0.0.0.0:0", "--", "true"]).expect(1).err;
    assert!(told.contains("--auth-token"), "{told}");
}

#[test]
fn an_edge_with_a_token_that_others_can_reach_needs_its_public_address() {
    let open =
        ["mcp", "serve-http", "--listen", "0.0.0.0:0", "--auth-token", "0123456789abcdef", "--", "true"];
    let told = Program::new().run(open).expect(1).err;
    assert!(told.contains("--public-url") && !told.contains("--auth-token"), "{told}");
}

#[test]
fn the_admin_token_is_not_that_of_the_clients() {
    let token = "0123456789abcdef";
    let same = [
        "mcp",
        "serve-http",
        "--listen",
        "127.0.0.1:0",
        "--auth-token",
        token,
        "--admin-token",
        token,
        "--",
        "true",
    ];
    let told = Program::new().run(same).expect(1).err;
    assert!(told.contains("every client could use it") && !told.contains(token), "{told}");
}

#[test]
fn a_short_token_is_refused_and_not_repeated() {
    for option in ["--auth-token", "--admin-token"] {
        let told = Program::new()
            .run(["mcp", "serve-http", "--listen", "127.0.0.1:0", option, "hunter2", "--", "true"])
            .expect(1)
            .err;
        assert!(told.contains("16") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn callers_are_known_in_one_way_only() {
    let both = ["mcp", "serve-http", "--auth-token", "0123456789abcdef", "--oauth", "--", "true"];
    let told = Program::new().run(both).expect(1).err;
    assert!(told.contains("cannot be used with"), "{told}");
}

#[test]
fn logins_approve_themselves_on_loopback_only() {
    let open = [
        "mcp",
        "serve-http",
        "--listen",
        "0.0.0.0:0",
        "--oauth",
        "--oauth-auto-approve",
        "--public-url",
        "https://edge.example",
        "--",
        "true",
    ];
    let told = Program::new().run(open).expect(1).err;
    assert!(told.contains("loopback"), "{told}");
}

#[test]
fn a_configuration_with_two_servers_of_one_name_is_refused_with_its_place() {
    let program = Program::new();
    let config = program.file(
        "chio.yaml",
        "servers:\n  - {id: a, command: ['true']}\n  - {id: a, url: 'http://127.0.0.1:1/mcp'}\n",
    );
    let told = program.run(["mcp", "serve-http", "--config", &config]).expect(1).err;
    assert!(told.contains("chio.yaml:3") && told.contains("name of another"), "{told}");
}

#[cfg(unix)]
#[test]
fn an_edge_that_may_not_open_enough_files_says_so_and_serves_fewer_connections() {
    let chio = env!("CARGO_BIN_EXE_chio");
    let script = format!("ulimit -n 400 && exec '{chio}' mcp serve-http --listen 127.0.0.1:0");
    let told = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("CHIO_HOME", Program::new().home())
        .output()
        .expect("a shell");
    let told = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.contains("400 open files, so 100 connections are served at a time instead of 10000"),
        "{told}"
    );
}
