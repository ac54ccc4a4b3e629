//! The name of a wrapped server, read from its command: what a person would call it.
//!
//! `npx -y @modelcontextprotocol/server-filesystem .` is `server-filesystem`, `python -m mcp_server_git` is
//! `mcp_server_git`, `./build/tool.js` is `tool`. The name stands in grants and receipts, so who depends on it gives it
//! with `--server-id`.

use std::ffi::OsString;
use std::path::Path;

/// Programs that run another one, which is named by their first argument that is no option and none of these words.
const RUNNERS: [&str; 21] = [
    "npx", "npm", "pnpm", "yarn", "bun", "bunx", "node", "deno", "tsx", "uv", "uvx", "pipx", "python",
    "python3", "py", "docker", "podman", "java", "dotnet", "env", "cargo",
];

/// Subcommands of those programs.
const VERBS: [&str; 8] = ["run", "exec", "dlx", "x", "tool", "start", "container", "task"];

/// Options of those programs whose value is the next argument and not the program.
const WITH_VALUE: [&str; 24] = [
    "-v",
    "--volume",
    "-e",
    "--env",
    "--env-file",
    "--name",
    "--mount",
    "-p",
    "--publish",
    "--network",
    "-w",
    "--workdir",
    "-u",
    "--user",
    "--entrypoint",
    "--platform",
    "--with",
    "--python",
    "--directory",
    "--project",
    "--prefix",
    "--index-url",
    "-C",
    "--require",
];

/// Longest name that is derived; longer ones are cut.
const LONGEST: usize = 64;

/// A name for the server that `command` starts.
pub(crate) fn derive(command: &[OsString]) -> String {
    let words: Vec<String> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = words.first().map(String::as_str).unwrap_or_default();
    let name = if RUNNERS.contains(&base(program).as_str()) {
        target(words.get(1..).unwrap_or_default()).unwrap_or(program)
    } else {
        program
    };
    let name = cleaned(name);
    if name.is_empty() { "server".to_owned() } else { name }
}

/// What a runner runs.
fn target(arguments: &[String]) -> Option<&str> {
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument) {
            arguments.next();
        } else if !(argument.starts_with('-') || argument.contains('=') || VERBS.contains(&argument)) {
            return Some(argument);
        }
    }
    None
}

/// The last segment of a path or package, without version, tag and extension.
fn base(name: &str) -> String {
    let unscoped =
        name.rsplit(['/', '\\']).find(|segment| !segment.is_empty() && *segment != ".").unwrap_or_default();
    let unversioned = unscoped.split(['@', ':']).find(|part| !part.is_empty()).unwrap_or_default();
    let path = Path::new(unversioned);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("js" | "mjs" | "cjs" | "ts" | "py" | "sh" | "exe" | "cmd" | "bat" | "jar" | "rb") => {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        }
        _ => unversioned.to_owned(),
    }
}

fn cleaned(name: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.') {
            character
        } else {
            '-'
        }
    };
    let name: String = base(name).chars().map(plain).take(LONGEST).collect();
    name.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_people_call_them() {
        for (command, name) in [
            ("npx -y @modelcontextprotocol/server-filesystem .", "server-filesystem"),
            ("npx -y @modelcontextprotocol/server-everything@2025.1.2", "server-everything"),
            ("/usr/bin/npx --yes -p pkg server", "server"),
            ("uvx mcp-server-git --repository .", "mcp-server-git"),
            ("uv --directory /srv run server.py", "server"),
            ("python3 -m mcp_server_time", "mcp_server_time"),
            ("python /opt/tools/weather.py --port 1", "weather"),
            ("node build/index.js", "index"),
            ("docker run -i --rm -v /a:/b -e TOKEN mcp/github:1.0", "github"),
            ("env TOKEN=1 ./my-server", "my-server"),
            ("./target/debug/notes.exe", "notes"),
            ("npx", "npx"),
            ("...", "server"),
        ] {
            let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            assert_eq!(derive(&words), name, "{command}");
        }
        assert_eq!(derive(&[]), "server");
    }
}
