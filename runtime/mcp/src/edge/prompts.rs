//! Prompts, and completions of their arguments and of resource templates.

use chio_json::Json;
use chio_kernel::Target;
use chio_spec::ServerId;

use crate::edge::Edge;
use crate::edge::params::{Meta, Params, invalid, method};
use crate::jsonrpc::{ErrorObject, Members, quote};
use crate::servers::Member;
use crate::session::{Cancellation, Incoming};

impl Edge {
    pub(super) async fn get_prompt(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let meta = params.meta()?;
        let (member, name) = self.prompt_meant(&params.string("name")?, &meta, &request.cancelled).await?;
        let mut arguments = params.only(&["name", "arguments"]);
        arguments.set("name", quote(&name));
        let target = Target::Prompt { method: method(request)?, name };
        self.govern_method(request, member, target, &arguments, meta).await
    }

    /// A completion reveals what a prompt or a resource template would, so it needs the same grant.
    pub(super) async fn complete(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let meta = params.meta()?;
        let reference = params.members.get("ref").ok_or_else(|| invalid("`ref` is missing"))?;
        let mut reference = Members::parse(reference).map_err(|error| invalid(&format!("`ref`: {error}")))?;
        let named = |reference: &Members<'_>, key: &str| {
            reference.string(key).ok_or_else(|| invalid(&format!("`ref.{key}` must be a string")))
        };
        let (member, target) = match reference.string("type").as_deref() {
            Some("ref/prompt") => {
                let (member, name) =
                    self.prompt_meant(&named(&reference, "name")?, &meta, &request.cancelled).await?;
                reference.set("name", quote(&name));
                (member, Target::Prompt { method: method(request)?, name })
            }
            Some("ref/resource") => {
                let uri = named(&reference, "uri")?;
                let member = self.member_of(&uri, &request.cancelled).await?;
                (member, Target::Resource { method: method(request)?, uri, subscribe: false })
            }
            _ => return Err(invalid("`ref.type` must be \"ref/prompt\" or \"ref/resource\"")),
        };
        let mut arguments = params.only(&["ref", "argument", "context"]);
        let reference = reference.to_text();
        arguments.set("ref", reference);
        self.govern_method(request, member, target, &arguments, meta).await
    }

    /// The server and its own name for a prompt that the client names.
    async fn prompt_meant(
        &self,
        name: &str,
        meta: &Meta,
        cancelled: &Cancellation,
    ) -> Result<(&Member, String), ErrorObject> {
        if let Some(only) = self.only_member() {
            return Ok((only, name.to_owned()));
        }
        let viewer = self.viewer(meta).await;
        let may_use = |server: &ServerId, name: &str| viewer.may_get(self, server, name);
        self.member_meant("prompt", name, self.prompt_named(name, cancelled).await, may_use)
    }
}
