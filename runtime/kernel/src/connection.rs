//! What stands behind the kernel: tool servers.
//!
//! The kernel knows a tool server only by [`ToolServerConnection`] (the name is the seed's). Bridges, wrapped MCP
//! servers and in-process tools all implement it, so every one of them gets the same decisions, deadlines and
//! receipts.

use std::sync::Arc;

use async_trait::async_trait;
use chio_json::Json;
use chio_spec::{ServerId, ToolDefinition, ToolName};

use crate::{ChunkSink, KernelError};

/// A tool server that the kernel may call once it has allowed a call.
#[async_trait]
pub trait ToolServerConnection: Send + Sync {
    /// The identifier under which grants and receipts name this server.
    fn server_id(&self) -> &ServerId;

    /// The tools that the server offers now.
    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError>;

    /// Whether the server offers `target` now, to a call with this metadata. Only tools can be unknown by default.
    async fn knows(&self, target: &Target, meta: Option<&Json>) -> Result<bool, KernelError> {
        let _ = meta;
        match target {
            Target::Tool(name) => Ok(self.list().await?.iter().any(|tool| tool.name == *name)),
            Target::Resource { .. } | Target::Prompt { .. } | Target::ClientRequest { .. } => Ok(true),
        }
    }

    /// Runs one allowed call to its end.
    ///
    /// A server that streams sends its chunks through `chunks` and returns [`ToolOutput::Stream`]. The kernel drops
    /// the future when the call is cancelled or its deadline passes, and then calls [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// [`KernelError::ToolServerError`] when the server answered with a failure; [`KernelError::Interrupted`] when
    /// it ended or broke off before it answered, so that the outcome is unknown; [`KernelError::Unavailable`] when
    /// the call certainly did not reach it, so that nothing is charged for it.
    async fn invoke(&self, call: &ToolCall, chunks: &ChunkSink) -> Result<ToolOutput, KernelError>;

    /// Tells the server that nobody waits for this call any more.
    async fn cancel(&self, call: &ToolCall, reason: &str) {
        let _ = (call, reason);
    }
}

/// One allowed call, as the tool server sees it.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// Identifier of the call, unique over the life of the log: the id of its receipt.
    pub call_id: Arc<str>,
    /// What is called.
    pub target: Target,
    /// The arguments, exactly as the guards saw them.
    pub arguments: Json,
    /// Protocol metadata of the caller that travels along and is not part of the action, such as MCP's `_meta`.
    pub meta: Option<Json>,
}

/// What a call aims at, and so which kind of grant it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A tool: needs a tool grant with `invoke`.
    Tool(ToolName),
    /// A resource: needs a resource grant with `read`, or `subscribe` for a subscription.
    Resource {
        /// The protocol method, for example `resources/read`; it is the receipt's `tool_name`.
        method: ToolName,
        /// URI of the resource.
        uri: String,
        /// Whether the call subscribes to the resource instead of reading it.
        subscribe: bool,
    },
    /// A prompt: needs a prompt grant with `get`.
    Prompt {
        /// The protocol method, for example `prompts/get`; it is the receipt's `tool_name`.
        method: ToolName,
        /// Name of the prompt.
        name: String,
    },
    /// A request of the tool server to its client: needs a tool grant with `invoke` that names the method itself. A
    /// grant of every tool does not cover it, for it is the client that acts.
    ClientRequest {
        /// The protocol method, for example `sampling/createMessage`; it is the receipt's `tool_name`.
        method: ToolName,
    },
}

impl Target {
    /// The receipt's `tool_name`: the tool, or the protocol method.
    #[must_use]
    pub fn tool_name(&self) -> &ToolName {
        match self {
            Self::Tool(name) => name,
            Self::Resource { method, .. } | Self::Prompt { method, .. } | Self::ClientRequest { method } => {
                method
            }
        }
    }
}

/// What an allowed call produced.
#[derive(Clone, Debug)]
pub enum ToolOutput {
    /// One JSON value, as the server sent it.
    Value(Json),
    /// The chunks that went through the [`ChunkSink`].
    Stream {
        /// Number of chunks that the server announced, when it announced one.
        announced: Option<u64>,
    },
}
