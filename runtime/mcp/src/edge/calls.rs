//! Requests that act: each becomes one call of the kernel.

use std::sync::Arc;

use chio_json::{Json, Signed};
use chio_kernel::{CallRequest, CallerSession, Outcome, Patience, Target};
use chio_spec::{CapabilityToken, DpopProof, ErrorCode, ServerId, ToolCallResult, ToolName};
use tokio_util::sync::CancellationToken;

use crate::channel::Route;
use crate::connection::Following;
use crate::edge::Edge;
use crate::edge::params::{Meta, Params, RELATED_TASK, invalid};
use crate::edge::results::{
    ToolAnswer, annotated, instead_with_receipt, method_error, refusal_with_receipt, strip_meta, tool_result,
    upstream_error,
};
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Members, quote};
use crate::registry::chio_error;
use crate::servers::Member;
use crate::session::{Incoming, ProgressSink};
use crate::stdio::MAX_LINE_BYTES;
use crate::upstream::Upstream;
use crate::upstream::is_method;

/// What the envelope and the receipt's reference may add to a result.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// The largest result that a message can carry.
pub(super) const RESULT_LIMIT: usize = MAX_LINE_BYTES - ENVELOPE_BYTES;

/// One call on its way to the kernel.
pub(super) struct Call<'a> {
    pub(super) request_id: String,
    pub(super) member: &'a Member,
    /// The server, or why there is none now.
    pub(super) upstream: Result<Arc<Upstream>, McpError>,
    pub(super) target: Target,
    pub(super) arguments: Json,
    pub(super) meta: Meta,
    pub(super) following: Following,
    pub(super) patience: Patience,
    pub(super) cancel: CancellationToken,
}

/// By whose leave a call is made.
pub(super) struct Credentials {
    pub(super) caller: Arc<CallerSession>,
    pub(super) capability: Signed<CapabilityToken>,
    pub(super) ancestors: Vec<Signed<CapabilityToken>>,
    pub(super) dpop_proof: Option<DpopProof>,
}

/// What became of a call.
pub(super) struct Called {
    pub(super) outcome: Outcome,
    /// The server's own error, where it answered with one.
    pub(super) refusal: Option<ErrorObject>,
    /// What the client is told instead of it: why there was no server to call, or that the server may not ask so.
    pub(super) instead: Option<ErrorObject>,
}

impl Called {
    /// The answer to a `tools/call`.
    pub(super) fn tool_answer(&self, task: Option<&str>) -> ToolAnswer {
        match &self.refusal {
            Some(refusal) if answered_by_peer(&self.outcome) => {
                Err(refusal_with_receipt(refusal, &self.outcome))
            }
            _ => tool_result(&self.outcome, self.instead.as_ref(), task),
        }
    }

    /// The answer to any other method.
    pub(super) fn method_answer(&self) -> Result<Json, ErrorObject> {
        match (&self.outcome.result, &self.refusal) {
            // A subscription has an empty result.
            (ToolCallResult::Ok(ok), _) if ok.value.get() == "{}" => Ok(ok.value.clone()),
            (ToolCallResult::Ok(ok), _) => annotated(&ok.value, &self.outcome, None),
            (_, Some(refusal)) if answered_by_peer(&self.outcome) => {
                Err(refusal_with_receipt(refusal, &self.outcome))
            }
            _ => Err(match &self.instead {
                Some(instead) => instead_with_receipt(instead, &self.outcome),
                None => method_error(&self.outcome),
            }),
        }
    }
}

impl Edge {
    pub(super) async fn call_tool(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let name = params.string("name")?;
        let arguments = params.object("arguments")?;
        let meta = params.meta()?;
        if is_method(&name) {
            // In grants and receipts these are the methods, and nothing else may go by their names.
            return Err(invalid(&format!("{name} is the name of a method and of no tool")));
        }
        let asked = self.task_asked(&params)?;
        let (member, own) = match self.tool_meant(&name, &meta, &request.cancelled).await {
            Ok(meant) => meant,
            Err(instead) => {
                let target = Target::Tool(tool_name(&name)?);
                let called = self.deny_unaddressed(request, target, arguments, meta, instead).await?;
                // Where a task was asked for, a result of the tool would not be understood.
                return if asked.is_some() { called.method_answer() } else { called.tool_answer(None) };
            }
        };
        let target = Target::Tool(tool_name(&own)?);
        let upstream = self.reach(member, request.cancelled.token()).await;
        if let Err(misuse) = check_task_support(&upstream, &own, asked.is_some()).await
            // What a tool says about tasks is not told to those who may not call it.
            && self.viewer(&meta).await.may_call(self, member.id(), &own)
        {
            return Err(misuse);
        }
        if let Some(asked) = asked {
            return self.begin_task(request, member, target, arguments, meta, &asked);
        }
        let mut call = self.call_of(request, member, upstream, target, arguments, meta);
        let flight = self.in_flight.enter(member.id(), &request.id);
        call.patience = flight.patience();
        self.govern(call).await?.tool_answer(None)
    }

    /// A call that lasts as long as its request.
    pub(super) fn call_of<'a>(
        &self,
        request: &Incoming,
        member: &'a Member,
        upstream: Result<Arc<Upstream>, McpError>,
        target: Target,
        arguments: Json,
        meta: Meta,
    ) -> Call<'a> {
        let progress = meta.progress_token.clone().map(|token| self.progress(&request.id, token));
        Call {
            request_id: request.id.json().to_owned(),
            member,
            upstream,
            target,
            arguments,
            meta,
            following: Following { progress, task: None },
            patience: Patience::Call,
            cancel: request.cancelled.token().clone(),
        }
    }

    pub(super) async fn govern_method(
        &self,
        request: &Incoming,
        member: &Member,
        target: Target,
        arguments: &Members<'_>,
        meta: Meta,
    ) -> Result<Json, ErrorObject> {
        let arguments = arguments.to_json().map_err(|error| invalid(&format!("the parameters: {error}")))?;
        let flight = self.in_flight.enter(member.id(), &request.id);
        let upstream = self.reach(member, request.cancelled.token()).await;
        let mut call = self.call_of(request, member, upstream, target, arguments, meta);
        call.patience = flight.patience();
        self.govern(call).await?.method_answer()
    }

    /// Sends one call through the kernel. A server that cannot be reached does not keep it from its receipt.
    pub(super) async fn govern(&self, call: Call<'_>) -> Result<Called, ErrorObject> {
        let settings = &self.settings;
        let Call { request_id, member, upstream, target, arguments, meta, following, patience, cancel } =
            call;
        let (followed, unavailable) = match upstream {
            Ok(upstream) => (member.follow(upstream, Some(&meta.forward), following), None),
            Err(error) => {
                let text = error.to_string();
                let unavailable = chio_error(ErrorCode::ServerUnavailable, Some(&text), None);
                (member.wrapped().follow_failure(error, Some(&meta.forward)), Some(unavailable))
            }
        };
        let (for_server, relay) = followed.map_err(upstream_error)?;
        let given = self.credentials(&target, member.id(), &meta)?;
        let call = CallRequest {
            request_id,
            surface: settings.surface,
            caller: given.caller,
            capability: given.capability,
            ancestors: given.ancestors,
            dpop_proof: given.dpop_proof,
            server_id: member.id().clone(),
            target,
            arguments,
            meta: Some(for_server),
            result_limit: RESULT_LIMIT,
            chunks: None,
            patience,
            model: meta.model,
            cancel,
        };
        let outcome = settings.kernel.call(call).await;
        // A denial has its own reason; only what failed for want of a server says that there is none.
        let unavailable = unavailable.filter(|_| outcome.error == Some(ErrorCode::ServerUnavailable));
        let Some(refusal) = relay.refusal() else {
            return Ok(Called { outcome, refusal: None, instead: unavailable });
        };
        let refusal = self.permitted(member.id(), refusal);
        let withheld = refusal.is_none().then(|| {
            let text = "the tool server wants the user to visit a URL first, which is passed on only where \
                        the policy grants the server elicitation/create and the client takes URLs";
            chio_error(ErrorCode::MethodNotGoverned, Some(text), None)
        });
        Ok(Called { outcome, refusal, instead: withheld })
    }

    /// What a call is made under: the capability that the caller presents, else what it is given by default.
    pub(super) fn credentials(
        &self,
        target: &Target,
        server: &ServerId,
        meta: &Meta,
    ) -> Result<Credentials, ErrorObject> {
        let settings = &self.settings;
        if let Some(presented) = meta.presented.as_deref() {
            return Ok(Credentials {
                caller: Arc::clone(&self.presenting),
                capability: presented.capability.clone(),
                ancestors: presented.ancestors.clone(),
                dpop_proof: presented.dpop_proof.clone(),
            });
        }
        let capability = settings
            .authority
            .capability_for(target, server, &settings.kernel)
            .map_err(|error| chio_error(error.code(), Some(&error.to_string()), None))?;
        let caller = Arc::clone(&self.caller);
        Ok(Credentials { caller, capability, ancestors: Vec::new(), dpop_proof: None })
    }

    /// Hands the server's progress to the client, under the client's own token.
    fn progress(&self, request: &crate::jsonrpc::Id, token: String) -> ProgressSink {
        let client = self.client.clone();
        let route = Route::Within(request.clone());
        Arc::new(move |progress: &Json| {
            if let Some(params) = progress_params(progress, &token, None) {
                let _ = client.notify("notifications/progress", Some(&params), route.clone());
            }
        })
    }
}

fn tool_name(name: &str) -> Result<ToolName, ErrorObject> {
    ToolName::new(name).map_err(|error| chio_error(ErrorCode::InvalidParams, Some(&error.to_string()), None))
}

/// A tool can be called as a task if it says so, and must be if it says that.
async fn check_task_support(
    upstream: &Result<Arc<Upstream>, McpError>,
    name: &str,
    as_task: bool,
) -> Result<(), ErrorObject> {
    // Without its server nothing can be said of the tool; the call finds out.
    let Ok(upstream) = upstream else { return Ok(()) };
    let Ok(list) = upstream.tools().await else { return Ok(()) };
    let Some(tool) = list.get(name) else { return Ok(()) };
    let refused = |text: String| Err(ErrorObject::new(METHOD_NOT_FOUND, text));
    match (as_task, tool.needs_task) {
        (false, true) => refused(format!("the tool {name} can be called as a task only")),
        (true, false) if !supports_task(&tool.definition) => {
            refused(format!("the tool {name} cannot be called as a task"))
        }
        _ => Ok(()),
    }
}

/// A server's progress in terms of the client: its token, and its name for the task.
pub(super) fn progress_params(progress: &Json, token: &str, task: Option<&str>) -> Option<Json> {
    let mut members = Members::parse(progress.get()).ok()?;
    members.set("progressToken", token);
    strip_meta(&mut members);
    let meta = members.get("_meta").unwrap_or("{}").to_owned();
    let mut meta = Members::parse(&meta).ok()?;
    let named = meta.remove(RELATED_TASK).is_some();
    if let Some(task) = task {
        meta.set(RELATED_TASK, format!(r#"{{"taskId":{}}}"#, quote(task)));
    }
    if named || task.is_some() {
        members.set("_meta", meta.to_text());
    }
    members.to_json().ok()
}

pub(super) fn supports_task(definition: &Json) -> bool {
    let Ok(tool) = Members::parse(definition.get()) else { return false };
    let execution = tool.get("execution").and_then(|execution| Members::parse(execution).ok());
    let support = execution.and_then(|execution| execution.string("taskSupport"));
    matches!(support.as_deref(), Some("optional" | "required"))
}

/// Whether the outcome is the other side's own answer, and not a denial or a fault of ours.
pub(super) fn answered_by_peer(outcome: &Outcome) -> bool {
    outcome.logged && outcome.error == Some(ErrorCode::ToolServerError)
}
