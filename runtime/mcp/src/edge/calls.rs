//! Requests that act: each becomes one call of the kernel.

use std::sync::{Arc, PoisonError};

use chio_json::Json;
use chio_kernel::{CallRequest, Outcome, Patience, Target};
use chio_spec::{ErrorCode, ToolCallResult, ToolName};

use crate::channel::Route;
use crate::connection::{CallRelay, Following};
use crate::edge::Edge;
use crate::edge::results::{method_error, refusal_with_receipt, tool_result, upstream_error};
use crate::jsonrpc::{ErrorObject, INVALID_PARAMS, METHOD_NOT_FOUND, Members};
use crate::registry::chio_error;
use crate::session::{Incoming, ProgressSink};
use crate::stdio::MAX_LINE_BYTES;

/// What the envelope and the receipt's reference may add to a result.
const ENVELOPE_BYTES: usize = 64 * 1024;

impl Edge {
    pub(super) async fn call_tool(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        if params.members.get("task").is_some() {
            let message = "this server does not offer tasks; call the tool without `task`";
            return Err(ErrorObject::new(METHOD_NOT_FOUND, message));
        }
        let name = params.string("name")?;
        let arguments = match params.members.get("arguments") {
            None => crate::upstream::empty_object(),
            Some(text) if text.starts_with('{') => params.json("arguments")?,
            Some(_) => return Err(invalid("`arguments` must be an object")),
        };
        let name = ToolName::new(name)
            .map_err(|error| chio_error(ErrorCode::InvalidParams, Some(&error.to_string()), None))?;
        let (outcome, relay) = self.govern(request, &params, Target::Tool(name), arguments).await?;
        match relay.refusal() {
            Some(refusal) if answered_by_server(&outcome) => Err(refusal_with_receipt(refusal, &outcome)),
            _ => tool_result(&outcome),
        }
    }

    pub(super) async fn read_resource(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let arguments = params.only(&["uri"])?;
        let target = Target::Resource { method: method(request)?, uri, subscribe: false };
        self.govern_method(request, &params, target, arguments).await
    }

    pub(super) async fn subscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let uri = params.string("uri")?;
        let arguments = params.only(&["uri"])?;
        let target = Target::Resource { method: method(request)?, uri: uri.clone(), subscribe: true };
        // Before the server knows: its first update may overtake its answer.
        let new = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).insert(uri.clone());
        let answer = self.govern_method(request, &params, target, arguments).await;
        if answer.is_err() && new {
            self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).remove(&uri);
        }
        answer
    }

    pub(super) async fn unsubscribe(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let uri = Params::of(request)?.string("uri")?;
        let answer = self.relay(request).await;
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).remove(&uri);
        answer
    }

    pub(super) async fn get_prompt(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let name = params.string("name")?;
        let arguments = params.only(&["name", "arguments"])?;
        let target = Target::Prompt { method: method(request)?, name };
        self.govern_method(request, &params, target, arguments).await
    }

    /// A completion reveals what a prompt or a resource template would, so it needs the same grant.
    pub(super) async fn complete(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let reference = params.members.get("ref").ok_or_else(|| invalid("`ref` is missing"))?;
        let reference = Members::parse(reference).map_err(|error| invalid(&format!("`ref`: {error}")))?;
        let named = |key: &str| {
            reference.string(key).ok_or_else(|| invalid(&format!("`ref.{key}` must be a string")))
        };
        let target = match reference.string("type").as_deref() {
            Some("ref/prompt") => Target::Prompt { method: method(request)?, name: named("name")? },
            Some("ref/resource") => {
                Target::Resource { method: method(request)?, uri: named("uri")?, subscribe: false }
            }
            _ => return Err(invalid("`ref.type` must be \"ref/prompt\" or \"ref/resource\"")),
        };
        let arguments = params.only(&["ref", "argument", "context"])?;
        self.govern_method(request, &params, target, arguments).await
    }

    async fn govern_method(
        &self,
        request: &Incoming,
        params: &Params<'_>,
        target: Target,
        arguments: Json,
    ) -> Result<Json, ErrorObject> {
        let (outcome, relay) = self.govern(request, params, target, arguments).await?;
        match (&outcome.result, relay.refusal()) {
            (ToolCallResult::Ok(ok), _) => Ok(ok.value.clone()),
            (_, Some(refusal)) if answered_by_server(&outcome) => {
                Err(refusal_with_receipt(refusal, &outcome))
            }
            _ => Err(method_error(&outcome)),
        }
    }

    /// Sends one request through the kernel.
    async fn govern(
        &self,
        request: &Incoming,
        params: &Params<'_>,
        target: Target,
        arguments: Json,
    ) -> Result<(Outcome, CallRelay), ErrorObject> {
        let settings = &self.settings;
        let meta = params.members.get("_meta");
        let progress = self.progress_for(request, meta)?;
        let following = Following { progress, task: None };
        let followed = self.server.follow_server(Arc::clone(&self.upstream), meta, following);
        let (meta, relay) = followed.map_err(upstream_error)?;
        let server_id = self.server.id().clone();
        let capability = settings
            .authority
            .capability_for(&target, &server_id, &settings.kernel)
            .map_err(|error| chio_error(error.code(), Some(&error.to_string()), None))?;
        let call = CallRequest {
            request_id: request.id.json().to_owned(),
            surface: settings.surface,
            caller: Arc::clone(&self.caller),
            capability,
            ancestors: Vec::new(),
            dpop_proof: None,
            patience: Patience::Call,
            model: None,
            server_id,
            target,
            arguments,
            meta: Some(meta),
            result_limit: MAX_LINE_BYTES - ENVELOPE_BYTES,
            chunks: None,
            cancel: request.cancelled.token().clone(),
        };
        Ok((settings.kernel.call(call).await, relay))
    }

    /// Hands the server's progress to the client, under the client's own token.
    fn progress_for(
        &self,
        request: &Incoming,
        meta: Option<&str>,
    ) -> Result<Option<ProgressSink>, ErrorObject> {
        let Some(meta) = meta else { return Ok(None) };
        let meta = Members::parse(meta).map_err(|error| invalid(&format!("`_meta`: {error}")))?;
        let Some(token) = meta.get("progressToken").map(str::to_owned) else { return Ok(None) };
        let client = self.client.clone();
        let related = request.id.clone();
        Ok(Some(Arc::new(move |progress: &Json| {
            let Ok(mut members) = Members::parse(progress.get()) else { return };
            members.set("progressToken", token.as_str());
            if let Ok(params) = members.to_json() {
                let _ =
                    client.notify("notifications/progress", Some(&params), Route::Within(related.clone()));
            }
        })))
    }
}

/// Whether the outcome is the server's own answer, and not a denial or a fault of ours.
fn answered_by_server(outcome: &Outcome) -> bool {
    outcome.logged && outcome.error == Some(ErrorCode::ToolServerError)
}

/// The parameters of a request, taken apart.
struct Params<'a> {
    members: Members<'a>,
}

impl<'a> Params<'a> {
    fn of(request: &'a Incoming) -> Result<Self, ErrorObject> {
        let text = request.params.as_ref().map_or("{}", Json::get);
        let members = Members::parse(text).map_err(|error| invalid(&format!("the parameters: {error}")))?;
        Ok(Self { members })
    }

    fn string(&self, key: &str) -> Result<String, ErrorObject> {
        self.members.string(key).ok_or_else(|| invalid(&format!("`{key}` must be a string")))
    }

    fn json(&self, key: &str) -> Result<Json, ErrorObject> {
        let text = self.members.get(key).unwrap_or("null");
        Json::from_text(text.to_owned()).map_err(|error| invalid(&format!("`{key}`: {error}")))
    }

    /// The parameters that are the action: the receipt keeps them, and the server gets them and no others.
    fn only(&self, keys: &[&str]) -> Result<Json, ErrorObject> {
        let mut members = self.members.clone();
        members.retain(|key| keys.contains(&key));
        members.to_json().map_err(|error| invalid(&format!("the parameters: {error}")))
    }
}

fn method(request: &Incoming) -> Result<ToolName, ErrorObject> {
    ToolName::new(request.method.as_str()).map_err(|error| invalid(&error.to_string()))
}

fn invalid(text: &str) -> ErrorObject {
    ErrorObject::new(INVALID_PARAMS, text)
}
