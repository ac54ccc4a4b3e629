//! Lists, filtered to what the caller may use.
//!
//! What is listed and then denied wastes an agent's turns and tells it what exists. Tools are listed whole:
//! all pages of the server, what the policy and the caller's capability let through, in one page.
//! Resources and prompts can be many, so their pages pass one by one. A resource template is shown when some
//! filling of it may be read.

use chio_json::Json;
use chio_kernel::Target;
use chio_spec::{Operation, ToolName};
use serde_json::value::RawValue;

use crate::edge::Edge;
use crate::edge::results::upstream_error;
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, INVALID_PARAMS, Members};
use crate::session::Incoming;

impl Edge {
    pub(super) async fn list_tools(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let has_cursor = request
            .params
            .as_ref()
            .and_then(|params| Members::parse(params.get()).ok())
            .is_some_and(|params| params.get("cursor").is_some_and(|cursor| cursor != "null"));
        if has_cursor {
            return Err(ErrorObject::new(
                INVALID_PARAMS,
                "the list of tools has one page, and no such cursor",
            ));
        }
        let list = self.upstream.tools().await.map_err(upstream_error)?;
        let shown = list.tools().iter().filter(|tool| !tool.needs_task && self.may_call(&tool.name));
        let mut tools = String::from("[");
        for tool in shown {
            if tools.len() > 1 {
                tools.push(',');
            }
            tools.push_str(tool.definition.get());
        }
        tools.push(']');
        let mut result = Members::default();
        result.set("tools", tools);
        if let Some(meta) = list.meta() {
            result.set("_meta", meta.get());
        }
        result.to_json().map_err(|error| broken(&error.to_string()))
    }

    pub(super) async fn list_resources(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let page = self.relay(request).await?;
        filtered(&page, "resources", |resource| resource.string("uri").is_some_and(|uri| self.may_read(&uri)))
    }

    pub(super) async fn list_templates(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let page = self.relay(request).await?;
        filtered(&page, "resourceTemplates", |template| {
            template.string("uriTemplate").is_some_and(|template| self.may_read_some(&template))
        })
    }

    pub(super) async fn list_prompts(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let page = self.relay(request).await?;
        filtered(&page, "prompts", |prompt| prompt.string("name").is_some_and(|name| self.may_get(&name)))
    }

    fn may_call(&self, name: &str) -> bool {
        let server = self.server.id().as_str();
        if !self.settings.kernel.policy().pipeline().visible(server, name) {
            return false;
        }
        ToolName::new(name).is_ok_and(|name| self.covered(&Target::Tool(name)))
    }

    fn may_read(&self, uri: &str) -> bool {
        let method = ToolName::new("resources/read");
        method.is_ok_and(|method| {
            self.covered(&Target::Resource { method, uri: uri.to_owned(), subscribe: false })
        })
    }

    fn may_get(&self, name: &str) -> bool {
        let method = ToolName::new("prompts/get");
        method.is_ok_and(|method| self.covered(&Target::Prompt { method, name: name.to_owned() }))
    }

    /// Whether a default grant may admit a URI that the template (RFC 6570) can become. Every one of them begins
    /// with what stands before the first expression, and nothing more is certain of them all.
    fn may_read_some(&self, template: &str) -> bool {
        let start = template.split('{').next().unwrap_or_default();
        let defaults = self.settings.kernel.policy().default_grants();
        defaults.iter().flat_map(|default| &default.scope.resource_grants).any(|grant| {
            let pattern = grant.uri_pattern.as_str();
            let meets = match pattern.strip_suffix('*') {
                Some(prefix) => prefix.starts_with(start) || start.starts_with(prefix),
                None => pattern.starts_with(start),
            };
            meets && grant.operations.contains(&Operation::Read)
        })
    }

    /// Whether the capability that the caller would present has a grant for the target.
    fn covered(&self, target: &Target) -> bool {
        self.settings.authority.covers(target, self.server.id())
    }
}

/// The page without the entries that do not pass, which are copied as they are.
fn filtered(
    page: &Json,
    key: &'static str,
    keep: impl Fn(&Members<'_>) -> bool,
) -> Result<Json, ErrorObject> {
    let mut members = Members::parse(page.get()).map_err(|error| broken(&error.to_string()))?;
    let entries = members.get(key).unwrap_or_default().to_owned();
    let entries: Vec<&RawValue> =
        serde_json::from_str(&entries).map_err(|error| broken(&error.to_string()))?;
    let kept: Vec<&str> = entries
        .iter()
        .map(|entry| entry.get())
        .filter(|entry| Members::parse(entry).is_ok_and(|entry| keep(&entry)))
        .collect();
    members.set(key, format!("[{}]", kept.join(",")));
    members.to_json().map_err(|error| broken(&error.to_string()))
}

fn broken(reason: &str) -> ErrorObject {
    upstream_error(McpError::MalformedAnswer(format!("the list: {reason}")))
}
