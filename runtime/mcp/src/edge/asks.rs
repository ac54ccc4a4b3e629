//! What servers ask of the client: sampling, elicitation and roots, each a call of the kernel.
//!
//! A server acts through the client here, so the policy must name the method: a grant of every tool does not cover
//! it. What is granted still is asked only of a client that said it can answer. Requests wait until the client is
//! ready; they are cancelled with whoever cancels first, the server or the end of the session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chio_json::Json;
use chio_kernel::{CallRequest, Outcome, Patience, Target};
use chio_spec::{ErrorCode, ServerId, ToolCallResult, ToolName};

use crate::channel::Route;
use crate::connection::Ask;
use crate::edge::Edge;
use crate::edge::calls::{RESULT_LIMIT, answered_by_peer};
use crate::edge::capabilities::{CLIENT_REQUESTS, ClientCapabilities};
use crate::edge::initialize::Introduced;
use crate::edge::methods::not_here;
use crate::edge::params::{Params, RELATED_TASK, invalid};
use crate::edge::results::{method_error, upstream_error};
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, METHOD_NOT_FOUND, Members, quote};
use crate::refusals::Refusals;
use crate::registry::chio_error;
use crate::servers::{Member, Owner};
use crate::session::{Incoming, ProgressSink, RequestOptions};
use crate::upstream::UpstreamEvents;

/// Elicitations by URL that a session remembers, to pass on when they are complete.
const MOST_ELICITATIONS: usize = 256;

/// JSON-RPC: the call needs the user to visit a URL first (MCP, "URL elicitation required").
const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The elicitations by URL that this session's client was given, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Elicitations {
    given: Arc<Mutex<VecDeque<(ServerId, String)>>>,
}

impl Elicitations {
    /// What the client is told of a `notifications/elicitation/complete`, if it is about one that it was given.
    pub(super) fn completed(&self, server: &ServerId, params: &Json) -> Option<Json> {
        let id = Members::parse(params.get()).ok().and_then(|params| params.string("elicitationId"))?;
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let known = given.iter().any(|(of, known)| of == server && *known == id);
        known.then(|| Json::from_value(&serde_json::json!({"elicitationId": id})))
    }

    fn give(&self, server: &ServerId, params: &Json) {
        let id = Members::parse(params.get()).ok().and_then(|params| params.string("elicitationId"));
        if let Some(id) = id {
            self.remember(server, id);
        }
    }

    /// Remembers the elicitations that a server's error asks the client to go through.
    fn give_required(&self, server: &ServerId, error: &ErrorObject) {
        let data = error.data.as_ref().filter(|_| error.code == URL_ELICITATION_REQUIRED);
        let Some(data) = data.and_then(|data| data.to_value().ok()) else { return };
        let required = data.get("elicitations").and_then(serde_json::Value::as_array);
        for elicitation in required.into_iter().flatten().take(MOST_ELICITATIONS) {
            if let Some(id) = elicitation.get("elicitationId").and_then(serde_json::Value::as_str) {
                self.remember(server, id.to_owned());
            }
        }
    }

    fn remember(&self, server: &ServerId, id: String) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= MOST_ELICITATIONS {
            given.pop_front();
        }
        given.push_back((server.clone(), id));
    }
}

impl Edge {
    /// Answers a request of a server.
    pub(super) async fn asked(&self, server: &ServerId, request: &Incoming) -> Result<Json, ErrorObject> {
        let _asked = self.asked.token();
        let method = request.method.as_str();
        let member = self.settings.servers.get(server).ok_or_else(|| not_here(method))?;
        let known = CLIENT_REQUESTS.iter().any(|(known, ..)| *known == method);
        // A shared server was told that its client can do nothing, and could not say whom it asks.
        if !known || member.owner() == Owner::Shared {
            let settings = &self.settings;
            let refusals = Refusals::new(&settings.kernel, server.clone(), settings.surface);
            let refusals = refusals.in_session_of(Arc::clone(&settings.authority), Arc::clone(&self.caller));
            return refusals.request(request).await;
        }
        tokio::select! {
            () = self.phases.until_ready() => {}
            () = request.cancelled.fired() => return Err(gone()),
            () = self.over.cancelled() => return Err(gone()),
        }
        let params = Params::of(request)?;
        let mut action = params.members.clone();
        // The client was not told that it could be asked for tasks, so it is asked for a plain answer.
        action.retain(|key| key != "_meta" && key != "task");
        let arguments = action.to_json().map_err(|error| invalid(&error.to_string()))?;
        let meta = AskMeta::of(self, member, &params).await?;
        let _asking = meta.task.as_deref().and_then(|task| self.tasks.asking(task));
        let route = match &meta.task {
            Some(task) => self.tasks.route(task),
            None => self.in_flight.route(server),
        };
        let forward = meta.forward.clone();
        let ask = self.ask(server, route, meta);
        let outcome = self.govern_ask(member, request, arguments, ask, &forward).await?;
        match outcome {
            (Outcome { result: ToolCallResult::Ok(ok), .. }, _) => Ok(ok.value.clone()),
            (outcome, Some(refusal)) if answered_by_peer(&outcome) => Err(refusal),
            (outcome, _) if !self.may_ask(method, server) => {
                // To the server this method does not exist: it was not told of it.
                Err(ErrorObject { code: METHOD_NOT_FOUND, ..method_error(&outcome) })
            }
            (outcome, _) => Err(method_error(&outcome)),
        }
    }

    async fn govern_ask(
        &self,
        member: &Member,
        request: &Incoming,
        arguments: Json,
        ask: Ask,
        for_client: &str,
    ) -> Result<(Outcome, Option<ErrorObject>), ErrorObject> {
        let settings = &self.settings;
        let method = ToolName::new(request.method.as_str()).map_err(|error| invalid(&error.to_string()))?;
        let target = Target::ClientRequest { method };
        let (meta, relay) = member.wrapped().follow_client(ask, Some(for_client)).map_err(upstream_error)?;
        let capability = settings
            .authority
            .capability_for(&target, member.id(), &settings.kernel)
            .map_err(|error| chio_error(error.code(), Some(&error.to_string()), None))?;
        // Whoever asked may withdraw it, and the session may end.
        let cancel = request.cancelled.token().child_token();
        let call = CallRequest {
            request_id: request.id.json().to_owned(),
            surface: settings.surface,
            caller: Arc::clone(&self.caller),
            capability,
            ancestors: Vec::new(),
            dpop_proof: None,
            server_id: member.id().clone(),
            target,
            arguments,
            meta: Some(meta),
            result_limit: RESULT_LIMIT,
            chunks: None,
            // People answer these. The time of the call that asks stands still meanwhile.
            patience: Patience::Task,
            model: None,
            cancel: cancel.clone(),
        };
        let ends = async {
            self.over.cancelled().await;
            cancel.cancel();
            std::future::pending().await
        };
        let outcome = tokio::select! {
            outcome = settings.kernel.call(call) => outcome,
            never = ends => never,
        };
        Ok((outcome, relay.refusal().cloned()))
    }

    /// How an allowed request reaches the client.
    fn ask(&self, server: &ServerId, route: Route, meta: AskMeta) -> Ask {
        let AskMeta { progress, task, .. } = meta;
        let client = self.client.clone();
        // Tasks have time enough for what they ask.
        let in_flight = task.is_none().then(|| self.in_flight.clone());
        let (server, elicitations) = (server.clone(), self.elicitations.clone());
        let declared = self.introduced.get().map(|introduced| Arc::clone(&introduced.client));
        let declared = declared.unwrap_or_default();
        Arc::new(move |method: String, params: Json| {
            let (client, declared) = (client.clone(), Arc::clone(&declared));
            let (server, elicitations, in_flight) = (server.clone(), elicitations.clone(), in_flight.clone());
            let options = RequestOptions {
                progress: progress.clone(),
                route: route.clone(),
                ..RequestOptions::default()
            };
            Box::pin(async move {
                beyond(&declared, &method, &params).map_err(McpError::Refused)?;
                // Only now: what was denied has not been given.
                if method == "elicitation/create" {
                    elicitations.give(&server, &params);
                }
                // A person answers. Which of the server's calls asks is not known, so none may run out of time for it.
                let _paused = in_flight.map(|in_flight| in_flight.pause(&server));
                // A request without parameters stays one.
                let params = Some(params).filter(|params| params.get() != "{}");
                client.request(&method, params.as_ref(), options).await
            })
        })
    }

    /// A server's answer that asks the client to go through elicitations first: they are for the client only where the
    /// server could have asked for them. None where it could not.
    pub(super) fn permitted(&self, server: &ServerId, refusal: &ErrorObject) -> Option<ErrorObject> {
        if refusal.code == URL_ELICITATION_REQUIRED {
            let declared = |introduced: &Introduced| introduced.client.part("elicitation", "url");
            if !self.introduced.get().is_some_and(declared) || !self.may_ask("elicitation/create", server) {
                tracing::warn!(%server, "withheld URLs that a tool server wants the user to visit");
                return None;
            }
            self.elicitations.give_required(server, refusal);
        }
        Some(refusal.clone())
    }

    /// The client has other roots: its own servers that may ask for them are told.
    pub(super) fn roots_changed(&self) {
        let declared = self.introduced.get().is_some_and(|introduced| introduced.client.allow("roots/list"));
        for member in self.members().iter().filter(|member| member.owner() == Owner::Session) {
            if let (true, Some(upstream)) =
                (declared && self.may_ask("roots/list", member.id()), member.running())
            {
                upstream.notify("notifications/roots/list_changed", None);
            }
        }
    }
}

/// What a request needs beyond what the client declared.
fn beyond(capabilities: &ClientCapabilities, method: &str, params: &Json) -> Result<(), ErrorObject> {
    let params = Members::parse(params.get()).map_err(|error| invalid(&error.to_string()))?;
    if !capabilities.allow(method) {
        let text = format!("the client does not answer {method}");
        return Err(ErrorObject::new(METHOD_NOT_FOUND, text));
    }
    match method {
        "sampling/createMessage" => {
            let has_tools = params.get("tools").is_some() || params.get("toolChoice").is_some();
            if has_tools && !capabilities.part("sampling", "tools") {
                return Err(invalid("the client does not sample with tools"));
            }
            let context = params.get("includeContext").is_some_and(|context| context != r#""none""#);
            if context && !capabilities.part("sampling", "context") {
                return Err(invalid("the client includes no context; leave `includeContext` out"));
            }
        }
        "elicitation/create" => {
            let can = match params.string("mode").as_deref() {
                None if params.get("mode").is_none() => capabilities.elicits_forms(),
                Some("form") => capabilities.elicits_forms(),
                Some("url") => capabilities.part("elicitation", "url"),
                _ => false,
            };
            if !can {
                return Err(invalid("the client does not take elicitations of this mode"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// The `_meta` of a server's request.
struct AskMeta {
    /// For the client.
    forward: String,
    /// Hands the client's progress to the server, under the server's own token.
    progress: Option<ProgressSink>,
    /// The task of ours that the request belongs to.
    task: Option<String>,
}

impl AskMeta {
    async fn of(edge: &Edge, member: &Member, params: &Params<'_>) -> Result<Self, ErrorObject> {
        let meta = params.members.get("_meta").unwrap_or("{}");
        let mut meta = Members::parse(meta).map_err(|error| invalid(&format!("`_meta`: {error}")))?;
        let task = match meta.remove(RELATED_TASK) {
            Some(theirs) => edge.tasks.learnt(member.id(), &theirs).await,
            // A server without tasks of its own does not say that it works on one of ours.
            None if edge.in_flight.route(member.id()) == Route::Unrelated => {
                edge.tasks.only_one_with(member.id())
            }
            None => None,
        };
        if let Some(task) = &task {
            meta.set(RELATED_TASK, format!(r#"{{"taskId":{}}}"#, quote(task)));
        }
        let token = meta.remove("progressToken").map(std::borrow::Cow::into_owned);
        let progress = token.zip(member.running()).map(|(token, upstream)| {
            let upstream = Arc::downgrade(&upstream);
            let sink: ProgressSink = Arc::new(move |progress: &Json| {
                let Some(upstream) = upstream.upgrade() else { return };
                let Ok(mut members) = Members::parse(progress.get()) else { return };
                members.set("progressToken", token.as_str());
                if let Ok(params) = members.to_json() {
                    upstream.notify("notifications/progress", Some(&params));
                }
            });
            sink
        });
        meta.retain(|key| !key.starts_with("chio.dev/"));
        Ok(Self { forward: meta.to_text(), progress, task })
    }
}

fn gone() -> ErrorObject {
    chio_error(ErrorCode::CallCancelled, None, None)
}
