//! What each side is told that the other can do: never more than holds.
//!
//! A server is told the client's capabilities that the client declared, that this edge carries and that the policy
//! grants that server. A client is told the server's capabilities that this edge carries; what lies between them
//! and has rules of its own (tasks, the version) is the edge's to announce.

use chio_json::Json;
use serde_json::{Map, Value, json};

use crate::jsonrpc::Members;
use crate::servers::Owner;

/// The requests of a server to its client, the client capability each needs, and what of that capability is passed
/// on. Nothing else that a server may ask is carried.
pub(super) const CLIENT_REQUESTS: [(&str, &str, &[&str]); 3] = [
    ("sampling/createMessage", "sampling", &["context", "tools"]),
    ("elicitation/create", "elicitation", &["form", "url"]),
    ("roots/list", "roots", &["listChanged"]),
];

/// The capabilities of servers that are carried, and what of each is passed on.
const SERVER_CAPABILITIES: [(&str, &[&str]); 5] = [
    ("tools", &["listChanged"]),
    ("resources", &["subscribe", "listChanged"]),
    ("prompts", &["listChanged"]),
    ("completions", &[]),
    ("logging", &[]),
];

/// The client's capabilities as it declared them.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientCapabilities(Map<String, Value>);

impl ClientCapabilities {
    pub(super) fn of(capabilities: Option<&str>) -> Self {
        let declared = capabilities.and_then(|text| serde_json::from_str(text).ok());
        Self(declared.unwrap_or_default())
    }

    /// Whether the client declared what a request of a server needs.
    pub(super) fn allow(&self, method: &str) -> bool {
        CLIENT_REQUESTS.iter().any(|(known, capability, _)| *known == method && self.has(capability))
    }

    /// Whether the client declared a part of a capability.
    pub(super) fn part(&self, capability: &str, part: &str) -> bool {
        self.0.get(capability).and_then(|value| value.get(part)).is_some_and(declares)
    }

    /// Whether elicitations by form can be sent: an empty `elicitation` means just these.
    pub(super) fn elicits_forms(&self) -> bool {
        self.part("elicitation", "form") || !self.part("elicitation", "url")
    }

    /// What of it a server is told, given which requests it is granted.
    pub(super) fn reduced(&self, granted: impl Fn(&str) -> bool) -> Json {
        let told = CLIENT_REQUESTS
            .iter()
            .filter(|(method, capability, _)| self.has(capability) && granted(method))
            .map(|(_, capability, parts)| {
                let parts = parts.iter().filter(|part| self.part(capability, part));
                let kept: Map<_, _> = parts
                    .filter_map(|part| {
                        Some(((*part).to_owned(), self.0.get(*capability)?.get(*part)?.clone()))
                    })
                    .collect();
                ((*capability).to_owned(), Value::Object(kept))
            });
        Json::from_value(&Value::Object(told.collect()))
    }

    fn has(&self, capability: &str) -> bool {
        self.0.get(capability).is_some_and(declares)
    }
}

fn declares(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// The capabilities that an edge announced to its client.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced(Map<String, Value>);

impl Announced {
    /// What may be offered before the servers were asked: everything that is carried. What needs a server that is
    /// the client's own is left out where there is none.
    pub(super) fn anything(own_servers: bool) -> Self {
        let capabilities = SERVER_CAPABILITIES.iter().filter(|(name, _)| own_servers || *name != "logging");
        let parts = |parts: &[&str]| {
            let parts = parts.iter().filter(|part| own_servers || **part != "listChanged");
            Value::Object(parts.map(|part| ((*part).to_owned(), true.into())).collect())
        };
        let announced = capabilities.map(|(name, known)| ((*name).to_owned(), parts(known)));
        Self(announced.collect()).with_tasks()
    }

    /// What is carried of the capabilities in a server's answer to initialization.
    pub(super) fn of_server(result: &Json, owner: Owner) -> Result<Self, String> {
        let members = Members::parse(result.get()).map_err(|error| error.to_string())?;
        let theirs: Map<String, Value> = serde_json::from_str(members.get("capabilities").unwrap_or("{}"))
            .map_err(|error| error.to_string())?;
        let mut announced = Map::new();
        for (name, parts) in SERVER_CAPABILITIES {
            // What a shared server says unasked reaches nobody.
            let unheard = |part: &str| owner == Owner::Shared && matches!(part, "listChanged" | "logging");
            let Some(theirs) = theirs.get(name).filter(|value| declares(value) && !unheard(name)) else {
                continue;
            };
            let kept = parts.iter().filter(|part| !unheard(part)).filter_map(|part| {
                Some(((*part).to_owned(), theirs.get(*part).filter(|value| declares(value))?.clone()))
            });
            announced.insert(name.to_owned(), Value::Object(kept.collect()));
        }
        let announced = Self(announced);
        let has_tasks = theirs.get("tasks").and_then(|tasks| tasks.pointer("/requests/tools/call"));
        Ok(if has_tasks.is_some_and(declares) { announced.with_tasks() } else { announced })
    }

    /// The tasks are the edge's own, whatever a server's tasks can do.
    fn with_tasks(mut self) -> Self {
        let tasks = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
        self.0.insert("tasks".to_owned(), tasks);
        self
    }

    /// Adds how this edge agrees on versions.
    pub(super) fn with_protocol(mut self, selected: &str, counter_offer: bool) -> Self {
        let (compatibility, downgrade) =
            if counter_offer { ("counter_offer", "counter_offer") } else { ("exact_match", "reject") };
        let protocol = json!({
            "supportedProtocolVersions": chio_spec::versions::MCP_PROTOCOL_VERSIONS,
            "selectedProtocolVersion": selected,
            "compatibility": compatibility,
            "downgradeBehavior": downgrade,
            "errorRegistry": {
                "schema": "chio.error-registry.v1",
                "path": "spec/errors/chio-error-registry.v1.json",
            },
        });
        self.0.insert("experimental".to_owned(), json!({"chioProtocol": protocol}));
        self
    }

    pub(super) fn has(&self, capability: &str) -> bool {
        self.0.contains_key(capability)
    }

    /// Whether a part was announced, such as `listChanged` of `tools`.
    pub(super) fn part(&self, capability: &str, part: &str) -> bool {
        self.0.get(capability).and_then(|value| value.get(part)).is_some_and(declares)
    }

    pub(super) fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_what_is_declared_and_carried_and_granted_and_no_more() {
        let declared = ClientCapabilities::of(Some(
            r#"{"sampling":{"tools":{},"odd":{}},"elicitation":{"url":{}},"roots":{"listChanged":true},
                "tasks":{"list":{}},"experimental":{"x":{}}}"#,
        ));
        let all = declared.reduced(|_| true).to_value().unwrap();
        assert_eq!(
            all,
            json!({"sampling": {"tools": {}}, "elicitation": {"url": {}}, "roots": {"listChanged": true}})
        );
        let some = declared.reduced(|method| method == "roots/list").to_value().unwrap();
        assert_eq!(some, json!({"roots": {"listChanged": true}}));
        let none = ClientCapabilities::of(Some("{}"));
        assert_eq!(none.reduced(|_| true).to_value().unwrap(), json!({}));
        assert!(declared.allow("roots/list") && !none.allow("roots/list") && !declared.allow("tools/call"));
    }

    #[test]
    fn an_empty_elicitation_means_forms() {
        let modes = |text: &str| {
            let declared = ClientCapabilities::of(Some(text));
            (declared.elicits_forms(), declared.part("elicitation", "url"))
        };
        assert_eq!(modes(r#"{"elicitation":{}}"#), (true, false));
        assert_eq!(modes(r#"{"elicitation":{"form":{}}}"#), (true, false));
        assert_eq!(modes(r#"{"elicitation":{"url":{}}}"#), (false, true));
        assert_eq!(modes(r#"{"elicitation":{"form":{},"url":{}}}"#), (true, true));
    }

    #[test]
    fn a_client_is_told_only_what_holds() {
        let result = Json::from_value(&json!({"capabilities": {
            "tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": false},
            "logging": {}, "completions": {}, "experimental": {"x": {}},
            "tasks": {"list": {}, "requests": {"tools": {"call": {}}}},
        }}));
        let own = Announced::of_server(&result, Owner::Session).unwrap().to_value();
        let tasks = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
        assert_eq!(
            own,
            json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {},
                "completions": {}, "tasks": tasks})
        );
        let shared = Announced::of_server(&result, Owner::Shared).unwrap().to_value();
        assert_eq!(
            shared,
            json!({"tools": {}, "resources": {"subscribe": true}, "completions": {}, "tasks": tasks})
        );
        let any = Announced::anything(false).to_value();
        assert_eq!(
            any,
            json!({"tools": {}, "resources": {"subscribe": true}, "prompts": {}, "completions": {}, "tasks": tasks})
        );
        assert!(Announced::anything(true).part("tools", "listChanged"));
    }
}
