//! A wrapped MCP server as the kernel sees it.
//!
//! One allowed call becomes one MCP request, and its result is the server's own JSON, untouched: for a
//! tool that is a `CallToolResult`, and one with `isError` is a completed call. What a surface wants to
//! hear beside the result, progress and the server's own error object, does not pass through the
//! kernel; a [`CallRelay`] carries it, named by a member of the call's metadata that never leaves this
//! process.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;

use chio_json::Json;
use chio_kernel::{ChunkSink, KernelError, Target, ToolCall, ToolOutput, ToolServerConnection};
use chio_spec::{ServerId, ToolDefinition, ToolName};

use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, Members, quote};
use crate::session::{ProgressSink, RequestOptions};
use crate::upstream::{Tool, Upstream};

/// The member of a call's metadata that names its relay.
const RELAY: &str = "chio.dev/relay";

/// Methods by which a resource is reached.
const RESOURCE_METHODS: [&str; 3] = ["resources/read", "resources/subscribe", "completion/complete"];
/// Methods by which a prompt is reached.
const PROMPT_METHODS: [&str; 2] = ["prompts/get", "completion/complete"];

/// One wrapped MCP server, under the name that grants and receipts use.
pub struct WrappedServer {
    id: ServerId,
    upstream: Upstream,
    relays: Relays,
}

impl WrappedServer {
    /// The server `upstream` under the name `id`.
    #[must_use]
    pub fn new(id: ServerId, upstream: Upstream) -> Self {
        Self { id, upstream, relays: Relays::default() }
    }

    /// The name of the server in grants and receipts.
    #[must_use]
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// The connection to the server.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Prepares to follow one call: the metadata to hand to the kernel with it, and what the server says
    /// about it beside its result. `meta` is the caller's `_meta`; its progress token is taken out, for
    /// the connection to the server uses its own.
    ///
    /// # Errors
    /// [`McpError::InvalidParams`] when `meta` is not an object.
    pub fn follow(
        &self,
        meta: Option<&str>,
        progress: Option<ProgressSink>,
    ) -> Result<(Json, CallRelay<'_>), McpError> {
        let invalid = |reason: String| McpError::InvalidParams(format!("`_meta`: {reason}"));
        let mut members = Members::parse(meta.unwrap_or("{}")).map_err(|error| invalid(error.to_string()))?;
        members.remove("progressToken");
        let relay = self.relays.open(progress);
        members.set(RELAY, quote(&relay.key));
        let meta = members.to_json().map_err(|error| invalid(error.to_string()))?;
        Ok((meta, relay))
    }

    /// The MCP request that makes an allowed call.
    fn request<'call>(&self, call: &'call ToolCall) -> Result<Request<'call>, KernelError> {
        let broken = |reason: String| KernelError::ToolServerError(reason);
        let mut meta = Members::parse(call.meta.as_ref().map_or("{}", Json::get))
            .map_err(|error| broken(format!("the call's metadata cannot be read: {error}")))?;
        let relay = meta.remove(RELAY).and_then(|key| self.relays.find(&key));
        let (method, mut params) = match &call.target {
            Target::Tool(name) => {
                let mut params = Members::default();
                params.set("name", quote(name.as_str()));
                params.set("arguments", call.arguments.get());
                ("tools/call", params)
            }
            Target::ClientRequest { .. } => {
                return Err(broken("its client cannot be asked here".to_owned()));
            }
            Target::Resource { method, .. } | Target::Prompt { method, .. } => {
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
        let list = self.upstream.tools().await.map_err(|error| kernel_error(&error))?;
        Ok(list.tools().iter().filter_map(definition).collect())
    }

    async fn knows(&self, target: &Target, _meta: Option<&Json>) -> Result<bool, KernelError> {
        match target {
            Target::Tool(name) => {
                let list = self.upstream.tools().await.map_err(|error| kernel_error(&error))?;
                if list.get(name.as_str()).is_some() {
                    return Ok(true);
                }
                let list = self.upstream.tools_anew().await.map_err(|error| kernel_error(&error))?;
                Ok(list.get(name.as_str()).is_some())
            }
            Target::Resource { method, .. } => Ok(RESOURCE_METHODS.contains(&method.as_str())),
            Target::Prompt { method, .. } => Ok(PROMPT_METHODS.contains(&method.as_str())),
            Target::ClientRequest { .. } => Ok(false),
        }
    }

    // The kernel drops the future when the call is cancelled, and the session then tells the server.
    async fn invoke(&self, call: &ToolCall, _: &ChunkSink) -> Result<ToolOutput, KernelError> {
        let Request { method, params, relay } = self.request(call)?;
        let options = RequestOptions {
            progress: relay.as_ref().and_then(|relay| relay.progress.clone()),
            ..RequestOptions::default()
        };
        match self.upstream.request(method, Some(&params), options).await {
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

/// What the server says about one call beside its result. Dropping it ends the relaying.
pub struct CallRelay<'server> {
    relays: &'server Relays,
    key: String,
    relay: Arc<Relay>,
}

impl CallRelay<'_> {
    /// The JSON-RPC error that the server answered the call with, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&ErrorObject> {
        self.relay.refusal.get()
    }
}

impl Drop for CallRelay<'_> {
    fn drop(&mut self) {
        self.relays.lock().remove(&self.key);
    }
}

struct Relay {
    progress: Option<ProgressSink>,
    refusal: OnceLock<ErrorObject>,
}

#[derive(Default)]
struct Relays {
    next: AtomicU64,
    /// Random: metadata of another surface must not be able to name a relay of this one.
    secret: RandomState,
    open: Mutex<HashMap<String, Arc<Relay>>>,
}

impl Relays {
    fn open(&self, progress: Option<ProgressSink>) -> CallRelay<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("{number}-{:016x}", self.secret.hash_one(number));
        let relay = Arc::new(Relay { progress, refusal: OnceLock::new() });
        self.lock().insert(key.clone(), Arc::clone(&relay));
        CallRelay { relays: self, key, relay }
    }

    /// The relay whose key this JSON string is.
    fn find(&self, key: &str) -> Option<Arc<Relay>> {
        self.lock().get(key.trim_matches('"')).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Relay>>> {
        // Every critical section is one operation of the map.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the call may have taken effect decides between a failure and an interruption.
fn kernel_error(error: &McpError) -> KernelError {
    if error.outcome_unknown() {
        KernelError::Interrupted(error.to_string())
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
