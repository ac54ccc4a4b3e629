//! Prompts, and completions of their arguments and of resource templates.

use chio_json::Json;
use chio_kernel::Target;

use crate::edge::Edge;
use crate::edge::params::{Params, invalid, method};
use crate::jsonrpc::{ErrorObject, Members, quote};
use crate::session::Incoming;

impl Edge {
    pub(super) async fn get_prompt(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let meta = params.meta()?;
        let (name, method) = (params.string("name")?, method(request)?);
        let mut arguments = params.only(&["name", "arguments"]);
        let (member, name) = match self.prompt_meant(&name, &meta, &request.cancelled).await {
            Ok(meant) => meant,
            Err(instead) => {
                let target = Target::Prompt { method, name };
                return self.deny_method(request, target, &arguments, meta, instead).await;
            }
        };
        arguments.set("name", quote(&name));
        let target = Target::Prompt { method, name };
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
        let method = method(request)?;
        let mut arguments = params.only(&["ref", "argument", "context"]);
        let (member, target) = match reference.string("type").as_deref() {
            Some("ref/prompt") => {
                let name = named(&reference, "name")?;
                match self.prompt_meant(&name, &meta, &request.cancelled).await {
                    Ok((member, name)) => {
                        reference.set("name", quote(&name));
                        (Ok(member), Target::Prompt { method, name })
                    }
                    Err(instead) => (Err(instead), Target::Prompt { method, name }),
                }
            }
            Some("ref/resource") => {
                let uri = named(&reference, "uri")?;
                let member = self.member_of(&uri, &request.cancelled).await;
                (member, Target::Resource { method, uri, subscribe: false })
            }
            _ => return Err(invalid("`ref.type` must be \"ref/prompt\" or \"ref/resource\"")),
        };
        let reference = reference.to_text();
        arguments.set("ref", reference);
        match member {
            Ok(member) => self.govern_method(request, member, target, &arguments, meta).await,
            Err(instead) => self.deny_method(request, target, &arguments, meta, instead).await,
        }
    }
}
