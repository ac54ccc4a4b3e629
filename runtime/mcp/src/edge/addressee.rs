//! Which server a name or a URI means, and what becomes of a call that means none.
//!
//! An only server is meant by everything and says itself what it does not have. With several, a call that none of them
//! takes is a call all the same: the kernel denies it, under the name of the edge, and it leaves its receipt.

use chio_json::Json;
use chio_kernel::{CallRequest, Patience, Target};
use chio_spec::{ErrorCode, ServerId};
use serde_json::{Value, json};

use crate::edge::Edge;
use crate::edge::calls::{Called, RESULT_LIMIT};
use crate::edge::catalogue::Meant;
use crate::edge::params::{Meta, invalid};
use crate::jsonrpc::{ErrorObject, Members};
use crate::registry::{chio_error, entry};
use crate::servers::Member;
use crate::session::{Cancellation, Incoming};

/// What the receipt of a call that means no server names as its server.
const EDGE: &str = "chio";

/// MCP: there is no such resource.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// The server that is meant, and its own name for what is called, or what the client is told instead.
pub(super) type Addressee<'a, T> = Result<(&'a Member, T), ErrorObject>;

impl Edge {
    /// The server and its own name for a tool that the client names.
    pub(super) async fn tool_meant(
        &self,
        name: &str,
        meta: &Meta,
        cancelled: &Cancellation,
    ) -> Addressee<'_, String> {
        if let Some(only) = self.only_member() {
            return Ok((only, name.to_owned()));
        }
        let viewer = self.viewer(meta).await;
        let may_use = |server: &ServerId, name: &str| viewer.may_call(self, server, name);
        self.member_meant("tool", name, self.tool_named(name, cancelled).await, may_use)
    }

    /// The same for a prompt.
    pub(super) async fn prompt_meant(
        &self,
        name: &str,
        meta: &Meta,
        cancelled: &Cancellation,
    ) -> Addressee<'_, String> {
        if let Some(only) = self.only_member() {
            return Ok((only, name.to_owned()));
        }
        let viewer = self.viewer(meta).await;
        let may_use = |server: &ServerId, name: &str| viewer.may_get(self, server, name);
        self.member_meant("prompt", name, self.prompt_named(name, cancelled).await, may_use)
    }

    /// The server that a URI belongs to.
    pub(super) async fn member_of(
        &self,
        uri: &str,
        cancelled: &Cancellation,
    ) -> Result<&Member, ErrorObject> {
        if let Some(only) = self.only_member() {
            return Ok(only);
        }
        let subscribed = self.subscribed_at(uri);
        if let Some(member) = subscribed.and_then(|id| self.settings.servers.get(&id)) {
            return Ok(member);
        }
        let position = self.resource_owner(uri, cancelled).await;
        position.and_then(|position| self.members().get(position)).ok_or_else(|| {
            ErrorObject::new(RESOURCE_NOT_FOUND, "no server here offers this resource")
                .with_data(Json::from_value(&json!({"uri": uri})))
        })
    }

    fn member_meant(
        &self,
        what: &str,
        name: &str,
        meant: Meant,
        may_use: impl Fn(&ServerId, &str) -> bool,
    ) -> Addressee<'_, String> {
        let nothing = || Err(invalid(&format!("there is no {what} named {name}")));
        match meant {
            Meant::One(position, own) => {
                let member = self.members().get(position);
                member.map(|member| (member, own)).ok_or_else(|| invalid("there is no such server"))
            }
            Meant::Several(servers) => {
                // Names that the caller may not use are not told it.
                let may = |(at, _): &&(usize, String)| {
                    self.members().get(*at).is_some_and(|member| may_use(member.id(), name))
                };
                let names: Vec<&str> = servers.iter().filter(may).map(|(_, shown)| shown.as_str()).collect();
                if names.is_empty() {
                    return nothing();
                }
                Err(invalid(&format!(
                    "several servers offer a {what} named {name}; use one of {}",
                    names.join(", ")
                )))
            }
            Meant::Nothing => nothing(),
        }
    }

    /// Denies a call that means no server, with a receipt. The client is told `instead` where that is why.
    pub(super) async fn deny_unaddressed(
        &self,
        request: &Incoming,
        target: Target,
        arguments: Json,
        meta: Meta,
        instead: ErrorObject,
    ) -> Result<Called, ErrorObject> {
        let settings = &self.settings;
        let server_id = self.nobody()?;
        let given = self.credentials(&target, &server_id, &meta)?;
        let call = CallRequest {
            request_id: request.id.json().to_owned(),
            surface: settings.surface,
            caller: given.caller,
            capability: given.capability,
            ancestors: given.ancestors,
            dpop_proof: given.dpop_proof,
            server_id,
            target,
            arguments,
            meta: None,
            result_limit: RESULT_LIMIT,
            chunks: None,
            patience: Patience::Call,
            model: meta.model,
            cancel: request.cancelled.token().clone(),
        };
        let outcome = settings.kernel.call(call).await;
        let code = outcome.error;
        let code =
            code.filter(|code| matches!(code, ErrorCode::ToolNotRegistered | ErrorCode::ScopeExceeded));
        Ok(Called { outcome, refusal: None, instead: code.map(|code| registered(instead, code)) })
    }

    /// The same for a method other than `tools/call`.
    pub(super) async fn deny_method(
        &self,
        request: &Incoming,
        target: Target,
        arguments: &Members<'_>,
        meta: Meta,
        instead: ErrorObject,
    ) -> Result<Json, ErrorObject> {
        let arguments = arguments.to_json().map_err(|error| invalid(&format!("the parameters: {error}")))?;
        self.deny_unaddressed(request, target, arguments, meta, instead).await?.method_answer()
    }

    /// A name that no server has.
    fn nobody(&self) -> Result<ServerId, ErrorObject> {
        let mut name = EDGE.to_owned();
        loop {
            let id = ServerId::new(name.as_str())
                .map_err(|error| chio_error(ErrorCode::InternalError, Some(&error.to_string()), None))?;
            if self.settings.kernel.server(&id).is_none() {
                return Ok(id);
            }
            name.push('_');
        }
    }
}

/// The error with the registry's entry beside what it says.
fn registered(error: ErrorObject, code: ErrorCode) -> ErrorObject {
    let data = error.data.as_ref().and_then(|data| data.to_value().ok());
    let mut data = data.filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.insert("chioError".to_owned(), entry(code));
    }
    error.with_data(Json::from_value(&data))
}
