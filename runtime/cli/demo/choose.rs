//! Choosing two calls of a server that nobody here has seen: one that does no harm, and one that is denied.
//!
//! A tool that nobody vouches for is not called for a demonstration. What counts as harmless: the server says that the
//! tool only reads, or its name begins with a word that says so; and its required arguments can be made up without
//! meaning anything. The denied call needs no such care, because it never reaches the server.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Map, Value};

/// First words of names of tools that only look.
const LOOKING: [&str; 15] = [
    "list", "get", "read", "show", "search", "find", "describe", "count", "status", "help", "version",
    "ping", "echo", "current", "now",
];

/// Well-known tools that make a good first call, best first.
const GOOD: [&str; 6] =
    ["list_directory", "list_files", "list_allowed_directories", "git_status", "list_tables", "echo"];

/// Names of arguments that hold a folder.
const FOLDERS: [&str; 8] = ["path", "dir", "directory", "folder", "root", "cwd", "repo_path", "repository"];

/// Names of arguments that hold a file.
const FILES: [&str; 7] = ["path", "file", "file_path", "filename", "filepath", "source", "uri"];

/// The file that the safe preset keeps from everybody. It need not exist.
pub(super) const SECRET: &str = ".env";

/// A call to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) tool: String,
    pub(super) arguments: Value,
}

/// A call that does no harm, if there is one.
pub(super) fn harmless(tools: &[Value], command: &[OsString]) -> Option<Choice> {
    let mut candidates: Vec<(usize, Choice)> = tools
        .iter()
        .filter(|tool| only_looks(tool))
        .filter_map(|tool| {
            let name = tool.get("name")?.as_str()?;
            let arguments = made_up(tool, &folder(command))?;
            let rank = match GOOD.iter().position(|good| *good == name) {
                Some(rank) => rank,
                // The fewer arguments are made up, the better.
                None => GOOD.len() + arguments.len(),
            };
            Some((rank, Choice { tool: name.to_owned(), arguments: Value::Object(arguments) }))
        })
        .collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    candidates.into_iter().next().map(|(_, choice)| choice)
}

/// A call that names a secret: of a tool that takes a file, if there is one, else of any tool with one argument more.
pub(super) fn forbidden(tools: &[Value], command: &[OsString]) -> Option<Choice> {
    let reads = |tool: &&Value| name(tool).starts_with("read");
    let with_file = tools.iter().filter(|tool| file_argument(tool).is_some());
    let tool =
        with_file.clone().find(reads).or_else(|| with_file.clone().next()).or_else(|| tools.first())?;
    let mut arguments = made_up(tool, &folder(command)).unwrap_or_default();
    arguments.insert(file_argument(tool).unwrap_or("path").to_owned(), Value::from(SECRET));
    Some(Choice { tool: name(tool).to_owned(), arguments: Value::Object(arguments) })
}

fn name(tool: &Value) -> &str {
    tool.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn only_looks(tool: &Value) -> bool {
    let hint = |hint: &str| tool.get("annotations")?.get(hint)?.as_bool();
    if hint("destructiveHint") == Some(true) && hint("readOnlyHint") != Some(true) {
        return false;
    }
    let first_word = name(tool).split(['_', '-', '.', '/', ' ']).next().unwrap_or_default().to_lowercase();
    // camelCase: `listFiles` begins with `list`.
    let says_so = LOOKING.iter().any(|word| first_word == *word || camel_case_begins(name(tool), word));
    match hint("readOnlyHint") {
        Some(true) => true,
        Some(false) => GOOD.contains(&name(tool)),
        None => says_so,
    }
}

fn camel_case_begins(name: &str, word: &str) -> bool {
    name.strip_prefix(word).is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_uppercase()))
}

/// The argument that holds a file, of those the tool declares.
fn file_argument(tool: &Value) -> Option<&'static str> {
    let properties = tool.get("inputSchema")?.get("properties")?.as_object()?;
    let is_text = |name: &str| {
        properties.get(name).and_then(|schema| schema.get("type")) == Some(&Value::from("string"))
    };
    FILES.into_iter().find(|name| is_text(name))
}

/// Values for the required arguments that mean nothing; none when one cannot be made up.
fn made_up(tool: &Value, folder: &str) -> Option<Map<String, Value>> {
    let schema = tool.get("inputSchema");
    let required = schema.and_then(|schema| schema.get("required")).and_then(Value::as_array);
    let mut arguments = Map::new();
    for name in required.map(Vec::as_slice).unwrap_or_default() {
        let name = name.as_str()?;
        let property = schema?.get("properties")?.get(name)?;
        arguments.insert(name.to_owned(), value(name, property, folder)?);
    }
    Some(arguments)
}

fn value(name: &str, schema: &Value, folder: &str) -> Option<Value> {
    if let Some(value) = schema.get("default").or_else(|| schema.get("enum")?.get(0)) {
        return Some(value.clone());
    }
    match schema.get("type")?.as_str()? {
        "string" if FOLDERS.contains(&name) => Some(Value::from(folder)),
        "string" if name.contains("timezone") => Some(Value::from("UTC")),
        "string" if matches!(name, "message" | "text" | "query" | "pattern" | "name") => {
            Some(Value::from("hello"))
        }
        "integer" | "number" => Some(schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1))),
        "boolean" => Some(Value::from(false)),
        "array" => Some(Value::from(Vec::<Value>::new())),
        _ => None,
    }
}

/// The folder that the command names last, or the one we are in.
fn folder(command: &[OsString]) -> String {
    let named = command.iter().skip(1).rev().map(Path::new).find(|argument| argument.is_dir());
    let folder = named.unwrap_or_else(|| Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "so that tests can write json! in place")]
    fn tool(name: &str, properties: Value, required: Value) -> Value {
        json!({"name": name, "inputSchema": {"type": "object", "properties": properties, "required": required}})
    }

    #[test]
    fn the_file_system_server_lists_a_folder_and_is_denied_a_secret() {
        let path = json!({"path": {"type": "string"}});
        let tools = [
            tool("read_file", path.clone(), json!(["path"])),
            tool(
                "write_file",
                json!({"path": {"type": "string"}, "content": {"type": "string"}}),
                json!(["path", "content"]),
            ),
            tool("list_directory", path, json!(["path"])),
        ];
        let command = ["npx", "-y", "server", "/"].map(OsString::from);
        let allowed = harmless(&tools, &command);
        assert_eq!(
            allowed,
            Some(Choice { tool: "list_directory".to_owned(), arguments: json!({"path": "/"}) })
        );
        let denied = forbidden(&tools, &command);
        assert_eq!(denied, Some(Choice { tool: "read_file".to_owned(), arguments: json!({"path": ".env"}) }));
    }

    #[test]
    fn nothing_that_may_act_is_called() {
        let tools = [
            tool("send_mail", json!({}), json!([])),
            tool("listen", json!({}), json!([])),
            json!({"name": "get_rid_of_it", "annotations": {"destructiveHint": true}, "inputSchema": {}}),
            tool("get_secret", json!({"token": {"type": "string"}}), json!(["token"])),
        ];
        assert_eq!(harmless(&tools, &[]), None);
        let denied = forbidden(&tools, &[]);
        assert_eq!(denied, Some(Choice { tool: "send_mail".to_owned(), arguments: json!({"path": ".env"}) }));
        assert_eq!(forbidden(&[], &[]), None);
    }
}
