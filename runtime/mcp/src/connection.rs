//! A wrapped MCP server as the kernel sees it.
//!
//! One allowed call becomes one MCP request, and its result is the server's own JSON, untouched: for a
//! tool that is a `CallToolResult`, and one with `isError` is a completed call. What a surface wants to
//! hear beside the result, progress and the server's own error object, does not pass through the
//! kernel; a [`CallRelay`] carries it, named by a member of the call's metadata that never leaves this
//! process.

mod relay;
mod task;

use std::sync::Arc;

use async_trait::async_trait;

use chio_json::Json;
use chio_kernel::{ChunkSink, KernelError, Target, ToolCall, ToolOutput, ToolServerConnection};
use chio_spec::{ServerId, ToolDefinition, ToolName};

use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::servers::Subscriber;
use crate::session::RequestOptions;
use crate::upstream::{CLIENT_METHODS, Tool, Upstream};

use relay::{Relay, Relays, Way};

pub use relay::{Ask, CallRelay, Following, TaskCall};

/// The member of a call's metadata that names its relay.
const RELAY: &str = "chio.dev/relay";

/// Methods by which a resource is reached.
const RESOURCE_METHODS: [&str; 3] = ["resources/read", "resources/subscribe", "completion/complete"];
/// Methods by which a prompt is reached.
const PROMPT_METHODS: [&str; 2] = ["prompts/get", "completion/complete"];

/// Where a server is found that a call does not name.
#[async_trait]
pub trait UpstreamSource: Send + Sync + 'static {
    /// The server, ready; it is started if need be.
    ///
    /// # Errors
    /// Why there is none.
    async fn upstream(self: Arc<Self>) -> Result<Arc<Upstream>, McpError>;
}

/// A server that runs is found where it is.
#[async_trait]
impl UpstreamSource for Upstream {
    async fn upstream(self: Arc<Self>) -> Result<Arc<Upstream>, McpError> {
        Ok(self)
    }
}

/// One wrapped MCP server, under the name that grants and receipts use.
pub struct WrappedServer {
    id: ServerId,
    default: Option<Arc<dyn UpstreamSource>>,
    relays: Arc<Relays>,
}

impl WrappedServer {
    /// The server of the name `id`. Calls that name no relay go to `default`; without one they fail, for
    /// nobody can tell which session's server they are meant for.
    #[must_use]
    pub fn new(id: ServerId, default: Option<Arc<dyn UpstreamSource>>) -> Self {
        Self { id, default, relays: Arc::default() }
    }

    /// The name of the server in grants and receipts.
    #[must_use]
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// Prepares one call to `upstream`: the metadata to hand to the kernel with it, and what the server says
    /// about it beside its result. `meta` is the caller's `_meta`; its progress token is taken out, for
    /// the connection to the server uses its own.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow_server(
        &self,
        upstream: Arc<Upstream>,
        meta: Option<&str>,
        following: Following,
    ) -> Result<(Json, CallRelay), McpError> {
        self.follow(upstream, None, meta, following)
    }

    /// Prepares one request to the client of a session, which `ask` reaches. `meta` is the server's.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow_client(&self, ask: Ask, meta: Option<&str>) -> Result<(Json, CallRelay), McpError> {
        self.open(Way::Client(ask), meta)
    }

    /// Prepares one call to a server that cannot be reached, so that the call still gets its decision and its
    /// receipt. `meta` is the caller's.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow_failure(
        &self,
        reason: McpError,
        meta: Option<&str>,
    ) -> Result<(Json, CallRelay), McpError> {
        self.open(Way::Nowhere(reason), meta)
    }

    pub(crate) fn follow(
        &self,
        upstream: Arc<Upstream>,
        subscriber: Option<Subscriber>,
        meta: Option<&str>,
        following: Following,
    ) -> Result<(Json, CallRelay), McpError> {
        self.open(Way::Server { upstream, subscriber, following }, meta)
    }

    fn open(&self, way: Way, meta: Option<&str>) -> Result<(Json, CallRelay), McpError> {
        let invalid = |reason: String| McpError::InvalidParams(format!("`_meta`: {reason}"));
        let mut members = Members::parse(meta.unwrap_or("{}")).map_err(|error| invalid(error.to_string()))?;
        members.remove("progressToken");
        let relay = self.relays.open(way);
        members.set(RELAY, quote(&relay.key));
        let meta = members.to_json().map_err(|error| invalid(error.to_string()))?;
        Ok((meta, relay))
    }

    /// The relay that a call's metadata names.
    fn relay_in(&self, meta: Option<&Json>) -> Result<Option<Arc<Relay>>, KernelError> {
        let members =
            Members::parse(meta.map_or("{}", Json::get)).map_err(|error| unreadable_meta(&error))?;
        Ok(members.get(RELAY).and_then(|key| self.relays.find(key)))
    }

    /// The MCP request that makes an allowed call, and the relay that it takes.
    fn request<'call>(&self, call: &'call ToolCall) -> Result<Request<'call>, KernelError> {
        let broken = |reason: String| KernelError::ToolServerError(reason);
        let mut meta = Members::parse(call.meta.as_ref().map_or("{}", Json::get))
            .map_err(|error| unreadable_meta(&error))?;
        let relay = meta.remove(RELAY).and_then(|key| self.relays.find(&key));
        let (method, mut params) = match &call.target {
            Target::Tool(name) => {
                let mut params = Members::default();
                params.set("name", quote(name.as_str()));
                params.set("arguments", call.arguments.get());
                ("tools/call", params)
            }
            Target::Resource { method, .. }
            | Target::Prompt { method, .. }
            | Target::ClientRequest { method } => {
                let params = Members::parse(call.arguments.get())
                    .map_err(|error| broken(format!("the parameters cannot be read: {error}")))?;
                (method.as_str(), params)
            }
        };
        if !meta.is_empty() {
            params.set("_meta", meta.to_text());
        }
        let params = params.to_json().map_err(|error| broken(error.to_string()))?;
        Ok(Request { method, params, relay })
    }

    /// The server that a call without a relay goes to.
    async fn default_upstream(&self) -> Result<Arc<Upstream>, McpError> {
        match &self.default {
            Some(default) => Arc::clone(default).upstream().await,
            None => {
                Err(wrong_way("the call does not say which session's copy of the server it is meant for"))
            }
        }
    }

    async fn knows_tool(&self, upstream: &Upstream, name: &ToolName) -> Result<bool, KernelError> {
        let list = upstream.tools().await.map_err(|error| kernel_error(&error))?;
        if list.get(name.as_str()).is_some() {
            return Ok(true);
        }
        let list = upstream.tools_anew().await.map_err(|error| kernel_error(&error))?;
        Ok(list.get(name.as_str()).is_some())
    }
}

struct Request<'call> {
    method: &'call str,
    params: Json,
    relay: Option<Arc<Relay>>,
}

#[async_trait]
impl ToolServerConnection for WrappedServer {
    fn server_id(&self) -> &ServerId {
        &self.id
    }

    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError> {
        let upstream = self.default_upstream().await.map_err(|error| kernel_error(&error))?;
        let list = upstream.tools().await.map_err(|error| kernel_error(&error))?;
        Ok(list.tools().iter().filter_map(definition).collect())
    }

    async fn knows(&self, target: &Target, meta: Option<&Json>) -> Result<bool, KernelError> {
        let way = self.relay_in(meta)?;
        let way = way.as_deref().map(|relay| &relay.way);
        match (target, way) {
            // Whatever it was that failed, this call was never sent.
            (_, Some(Way::Nowhere(reason))) => Err(KernelError::Unavailable(reason.to_string())),
            (Target::Tool(name), Some(Way::Server { upstream, .. })) => self.knows_tool(upstream, name).await,
            (Target::Tool(name), None) => {
                let upstream = self.default_upstream().await.map_err(|error| kernel_error(&error))?;
                self.knows_tool(&upstream, name).await
            }
            (Target::Resource { .. } | Target::Prompt { .. }, None) if self.default.is_none() => {
                self.default_upstream().await.map_err(|error| kernel_error(&error))?;
                Ok(false)
            }
            (Target::Resource { method, .. }, Some(Way::Server { .. }) | None) => {
                Ok(RESOURCE_METHODS.contains(&method.as_str()))
            }
            (Target::Prompt { method, .. }, Some(Way::Server { .. }) | None) => {
                Ok(PROMPT_METHODS.contains(&method.as_str()))
            }
            (Target::ClientRequest { method }, Some(Way::Client(_))) => {
                Ok(CLIENT_METHODS.contains(&method.as_str()))
            }
            // A relay that leads the other way.
            _ => Ok(false),
        }
    }

    // The kernel drops the future when the call is cancelled, and the session then tells the server.
    async fn invoke(&self, call: &ToolCall, _: &ChunkSink) -> Result<ToolOutput, KernelError> {
        let Request { method, params, relay } = self.request(call)?;
        let asks_client = matches!(call.target, Target::ClientRequest { .. });
        let answer = match relay.as_deref().map(|relay| &relay.way) {
            Some(Way::Client(ask)) if asks_client => ask(method.to_owned(), params).await,
            Some(Way::Client(_)) => Err(wrong_way("the relay leads to a client, and the call to a server")),
            _ if asks_client => Err(wrong_way("the call does not say which client it is meant for")),
            Some(Way::Nowhere(reason)) => return Err(KernelError::Unavailable(reason.to_string())),
            Some(Way::Server { upstream, subscriber, following }) => {
                let options =
                    RequestOptions { progress: following.progress.clone(), ..RequestOptions::default() };
                match (&call.target, &following.task, subscriber) {
                    (Target::Tool(_), Some(task), _) => {
                        task::call(upstream, &params, task, following.progress.clone()).await
                    }
                    (Target::Resource { subscribe: true, .. }, _, Some(subscriber)) => {
                        subscriber.subscribe(upstream, &params, options).await
                    }
                    _ => upstream.request(method, Some(&params), options).await,
                }
            }
            None => match self.default_upstream().await {
                Ok(upstream) => upstream.request(method, Some(&params), RequestOptions::default()).await,
                Err(error) => Err(error),
            },
        };
        match answer {
            Ok(result) if result.get().starts_with('{') => Ok(ToolOutput::Value(result)),
            Ok(_) => Err(KernelError::ToolServerError("the result is not a JSON object".to_owned())),
            Err(error) => {
                let kernel_error = kernel_error(&error);
                if let (McpError::Refused(refusal), Some(relay)) = (error, relay) {
                    let _ = relay.refusal.set(refusal);
                }
                Err(kernel_error)
            }
        }
    }
}

fn wrong_way(reason: &str) -> McpError {
    McpError::InvalidParams(reason.to_owned())
}

fn unreadable_meta(error: &serde_json::Error) -> KernelError {
    KernelError::ToolServerError(format!("the call's metadata cannot be read: {error}"))
}

/// Whether the call may have taken effect decides between a failure and an interruption, and what never
/// left us is no failure of the server's.
fn kernel_error(error: &McpError) -> KernelError {
    if error.outcome_unknown() {
        KernelError::Interrupted(error.to_string())
    } else if error.never_sent() {
        KernelError::Unavailable(error.to_string())
    } else {
        KernelError::ToolServerError(error.to_string())
    }
}

/// The tool in terms of a Chio manifest; none for a name that cannot be granted.
fn definition(tool: &Tool) -> Option<ToolDefinition> {
    let name = ToolName::new(tool.name.as_str()).ok()?;
    let members = Members::parse(tool.definition.get()).ok()?;
    let json = |key: &str| members.get(key).and_then(|text| Json::from_text(text.to_owned()).ok());
    let read_only = members
        .get("annotations")
        .and_then(|text| Members::parse(text).ok().map(|hints| hints.get("readOnlyHint") == Some("true")))
        .unwrap_or(false);
    let input_schema = json("inputSchema").unwrap_or_else(crate::upstream::empty_object);
    let description = members.string("description").unwrap_or_default();
    let mut definition = ToolDefinition::new(description, !read_only, input_schema, None, name);
    if let Some(output_schema) = json("outputSchema") {
        definition = definition.with_output_schema(output_schema);
    }
    Some(definition)
}
