//! The built-in tools of `chio serve --demo`: enough to see each kind of outcome on the wire.

use std::time::Duration;

use async_trait::async_trait;
use chio_json::Json;
use chio_kernel::{ChunkSink, KernelError, Target, ToolCall, ToolOutput, ToolServerConnection};
use chio_spec::{ServerId, ToolDefinition, ToolName};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most chunks that `count` streams.
const LONGEST_COUNT: u64 = 10_000;

/// Longest that `sleep` sleeps, in milliseconds.
const LONGEST_SLEEP: u64 = 600_000;

/// The tools.
pub(super) struct DemoTools {
    id: ServerId,
}

impl DemoTools {
    pub(super) fn new(id: ServerId) -> DemoTools {
        DemoTools { id }
    }
}

#[derive(Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Deserialize)]
struct Sleep {
    milliseconds: u64,
}

#[derive(Deserialize)]
struct Count {
    to: u64,
    #[serde(default)]
    pause_milliseconds: u64,
}

#[derive(Deserialize)]
struct Fail {
    #[serde(default)]
    message: Option<String>,
}

#[async_trait]
impl ToolServerConnection for DemoTools {
    fn server_id(&self) -> &ServerId {
        &self.id
    }

    async fn list(&self) -> Result<Vec<ToolDefinition>, KernelError> {
        let integer = json!({"type": "integer"});
        let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required});
        [
            ("echo", "Returns its arguments.", json!({"type": "object"})),
            ("add", "Adds two integers.", object(json!({"a": integer, "b": integer}), json!(["a", "b"]))),
            (
                "sleep",
                "Answers after a while.",
                object(json!({"milliseconds": integer}), json!(["milliseconds"])),
            ),
            (
                "count",
                "Streams the numbers from 1, one chunk each.",
                object(json!({"to": integer, "pause_milliseconds": integer}), json!(["to"])),
            ),
            ("fail", "Fails with a message.", object(json!({"message": {"type": "string"}}), json!([]))),
        ]
        .into_iter()
        .map(|(name, description, schema)| {
            let name =
                ToolName::new(name).map_err(|error| KernelError::ToolServerError(error.to_string()))?;
            Ok(ToolDefinition::new(description, false, Json::from_value(&schema), None, name))
        })
        .collect()
    }

    async fn invoke(&self, call: &ToolCall, chunks: &ChunkSink) -> Result<ToolOutput, KernelError> {
        let Target::Tool(tool) = &call.target else {
            return Err(KernelError::ToolServerError("there are only tools here".to_owned()));
        };
        match tool.as_str() {
            "echo" => Ok(ToolOutput::Value(call.arguments.clone())),
            "add" => {
                let Add { a, b } = read(call)?;
                let sum = a.checked_add(b).ok_or_else(|| failed("the sum is too large"))?;
                Ok(ToolOutput::Value(Json::from_value(&json!({"sum": sum}))))
            }
            "sleep" => {
                let Sleep { milliseconds } = read(call)?;
                if milliseconds > LONGEST_SLEEP {
                    return Err(failed(&format!("`milliseconds` is at most {LONGEST_SLEEP}")));
                }
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(ToolOutput::Value(Json::from_value(&json!({"slept_milliseconds": milliseconds}))))
            }
            "count" => count(read(call)?, chunks).await,
            "fail" => {
                let Fail { message } = read(call)?;
                Err(failed(message.as_deref().unwrap_or("it failed, as it was asked to")))
            }
            other => Err(failed(&format!("there is no tool {other}"))),
        }
    }
}

async fn count(
    Count { to, pause_milliseconds }: Count,
    chunks: &ChunkSink,
) -> Result<ToolOutput, KernelError> {
    if to > LONGEST_COUNT || pause_milliseconds > LONGEST_SLEEP {
        return Err(failed(&format!("`to` is at most {LONGEST_COUNT}, a pause at most {LONGEST_SLEEP} ms")));
    }
    for number in 1..=to {
        chunks.send(Json::from_value(&json!({"number": number}))).await?;
        if pause_milliseconds > 0 {
            tokio::time::sleep(Duration::from_millis(pause_milliseconds)).await;
        }
    }
    Ok(ToolOutput::Stream { announced: Some(to) })
}

fn read<'call, T: Deserialize<'call>>(call: &'call ToolCall) -> Result<T, KernelError> {
    serde_json::from_str(call.arguments.get())
        .map_err(|error| failed(&format!("the arguments do not fit: {error}")))
}

fn failed(message: &str) -> KernelError {
    KernelError::ToolServerError(message.to_owned())
}
