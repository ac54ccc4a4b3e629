//! Judges messages by the official JSON Schema of the protocol revision, and what Chio adds to them by ours.
//!
//! The official schema is taken from the official conformance suite, which carries it to judge its peers by. It has one
//! known flaw, which the suite mends too: numbers in elicitation schemas may be fractions, and the schema says integers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::edge::root;
use crate::home::finish;
use crate::specification::Specification;
use crate::suite;
use crate::tee::{Message, Sender, Tee};

/// Judges messages.
pub struct Judge {
    definitions: Value,
    ours: Specification,
    compiled: RefCell<BTreeMap<String, Rc<Validator>>>,
}

impl Judge {
    /// The judge, unless the suite cannot be installed here.
    pub fn load() -> Option<Self> {
        let suite = suite::installed()?;
        let mut command = Command::new(suite.node());
        command.arg(root().join("tests/mcp/clients/schema.mjs")).arg(suite.program());
        let ran = finish(command, Duration::from_secs(60));
        assert!(ran.status.success(), "{ran:?}");
        let mut schema: Value = serde_json::from_str(&ran.stdout).unwrap();
        let mut definitions = schema["$defs"].take();
        for member in ["minimum", "maximum", "default"] {
            definitions["NumberSchema"]["properties"][member]["type"] = "number".into();
        }
        Some(Self { definitions, ours: Specification::read(), compiled: RefCell::default() })
    }

    /// Everything that passed a relay must be valid.
    pub fn approve(&self, tee: &Tee) {
        let messages = tee.messages();
        assert!(messages.iter().any(|message| message.sender == Sender::Edge), "nothing was recorded");
        let faults: Vec<String> = messages.iter().flat_map(|message| self.faults(message)).collect();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    fn faults(&self, message: &Message) -> Vec<String> {
        let content = &message.content;
        let mut faults = Vec::new();
        if let Some(method) = content["method"].as_str() {
            let unknown = if content.get("id").is_some() { "JSONRPCRequest" } else { "JSONRPCNotification" };
            let name = self.of_method(method).unwrap_or_else(|| unknown.to_owned());
            faults.extend(self.official(&name, content));
            let meta = &content["params"]["_meta"];
            for member in ["modelMetadata", "chioModelMetadata"] {
                faults.extend(
                    meta.get(member).into_iter().flat_map(|value| self.by_ours("ModelMetadata", value)),
                );
            }
        } else if let Some(error) = content.get("error") {
            let required = error["code"] == -32042;
            let name = if required { "URLElicitationRequiredError" } else { "JSONRPCErrorResponse" };
            faults.extend(self.official(name, content));
            let entry = error["data"].get("chioError");
            faults.extend(entry.into_iter().flat_map(|entry| self.by_ours("ChioErrorEntry", entry)));
        } else {
            faults.extend(self.official("JSONRPCResultResponse", content));
            match &message.answers {
                Some(request) => faults.extend(self.result(message.sender, request, &content["result"])),
                None => faults.push(format!("an answer to no request: {content}")),
            }
        }
        faults
    }

    fn result(&self, sender: Sender, request: &Value, result: &Value) -> Vec<String> {
        let method = request["method"].as_str().unwrap();
        let is_task = request["params"].get("task").is_some();
        let mut faults = match (method, is_task) {
            (_, true) => self.official("CreateTaskResult", result),
            ("tasks/result", _) => self.official("CallToolResult", result),
            _ => self.official(&self.result_of(method), result),
        };
        if sender == Sender::Edge && method == "initialize" {
            let protocol = &result["capabilities"]["experimental"]["chioProtocol"];
            faults.extend(self.by_ours("ChioProtocol", protocol));
        }
        if sender == Sender::Edge && (method == "tasks/result" || method == "tools/call" && !is_task) {
            let members = result["_meta"].as_object().into_iter().flatten();
            let added = members.filter(|(name, _)| name.starts_with("chio.dev/"));
            let added: serde_json::Map<_, _> =
                added.map(|(name, value)| (name.clone(), value.clone())).collect();
            faults.extend(self.by_ours("McpResultMeta", &added.into()));
        }
        faults
    }

    /// The definition of a request or notification.
    fn of_method(&self, method: &str) -> Option<String> {
        let mut definitions = self.definitions.as_object().unwrap().iter();
        let found = definitions.find(|(_, definition)| definition["properties"]["method"]["const"] == method);
        found.map(|(name, _)| name.clone())
    }

    /// The definition of a method's result.
    fn result_of(&self, method: &str) -> String {
        let request = self.of_method(method).unwrap_or_default();
        let name = format!("{}Result", request.strip_suffix("Request").unwrap_or_default());
        if self.definitions.get(&name).is_some() { name } else { "EmptyResult".to_owned() }
    }

    fn official(&self, name: &str, value: &Value) -> Vec<String> {
        let validator = self.validator(name, || {
            let schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": format!("#/$defs/{name}"),
                "$defs": self.definitions,
            });
            jsonschema::validator_for(&schema).unwrap()
        });
        judge(&validator, name, value)
    }

    fn by_ours(&self, name: &str, value: &Value) -> Vec<String> {
        let validator = self.validator(&format!("ours {name}"), || self.ours.validator(name));
        judge(&validator, name, value)
    }

    fn validator(&self, key: &str, compile: impl FnOnce() -> Validator) -> Rc<Validator> {
        let mut compiled = self.compiled.borrow_mut();
        Rc::clone(compiled.entry(key.to_owned()).or_insert_with(|| Rc::new(compile())))
    }
}

fn judge(validator: &Validator, name: &str, value: &Value) -> Vec<String> {
    let mut shown = value.to_string();
    if shown.len() > 600 {
        shown = shown.chars().take(600).collect();
    }
    let faults = validator.iter_errors(value);
    faults.map(|fault| format!("{name}{}: {fault}\n    in {shown}", fault.instance_path())).collect()
}

/// The official schema is found and says no to what is wrong.
#[test]
fn the_judge_tells_right_from_wrong() {
    let Some(judge) = Judge::load() else { return };
    let message = |content: Value, answers: Option<Value>| Message {
        sender: Sender::Edge,
        session: String::new(),
        status: 200,
        content,
        answers,
    };
    let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let right = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": []}});
    let wrong = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "nameless schema"}]}});
    assert_eq!(judge.faults(&message(right.clone(), Some(listed.clone()))), Vec::<String>::new());
    assert!(!judge.faults(&message(wrong, Some(listed))).is_empty());
    assert!(!judge.faults(&message(right, None)).is_empty());
    let no_null = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no"}});
    assert!(!judge.faults(&message(no_null, None)).is_empty());
    assert!(Path::new(&suite::installed().unwrap().program()).exists());
}
