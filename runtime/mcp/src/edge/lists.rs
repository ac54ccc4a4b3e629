//! Lists, filtered to what the caller may use.
//!
//! What is listed and then denied wastes an agent's turns and tells it what exists. A caller that presents a
//! capability with its request is shown what that one covers. Tools are listed whole and paged here, and so is
//! everything of several servers; the pages of an only server's resources and prompts pass one by one, under the
//! server's own cursors. A resource template is shown when some filling of it may be read.

use std::sync::Arc;

use chio_json::Json;
use chio_kernel::{Standing, Target, reads_some};
use chio_spec::{ServerId, ToolName};
use serde_json::value::RawValue;

use crate::edge::Edge;
use crate::edge::catalogue::{Entry, Kind, Page};
use crate::edge::params::{Meta, Params, invalid};
use crate::edge::resources::forwarded;
use crate::edge::results::{strip_meta, upstream_error, without_our_keys, without_ours};
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, Members, quote};
use crate::servers::Member;
use crate::session::{Incoming, RequestOptions};
use crate::upstream::{REQUEST_TIMEOUT, is_method};

/// By whose leave a list is looked at.
pub(super) enum Viewer {
    /// What the policy gives the caller.
    Given,
    /// A capability that the caller presents.
    Presents(Standing),
    /// One that would not be accepted.
    Nobody,
}

impl Viewer {
    fn covers(&self, edge: &Edge, target: &Target, server: &ServerId) -> bool {
        match self {
            Self::Given => edge.settings.authority.covers(target, server),
            Self::Presents(standing) => standing.covers(target, server),
            Self::Nobody => false,
        }
    }

    pub(super) fn may_call(&self, edge: &Edge, server: &ServerId, name: &str) -> bool {
        !is_method(name)
            && edge.settings.kernel.policy().pipeline().visible(server.as_str(), name)
            && ToolName::new(name).is_ok_and(|name| self.covers(edge, &Target::Tool(name), server))
    }

    fn may_read(&self, edge: &Edge, server: &ServerId, uri: &str) -> bool {
        ToolName::new("resources/read").is_ok_and(|method| {
            let target = Target::Resource { method, uri: uri.to_owned(), subscribe: false };
            self.covers(edge, &target, server)
        })
    }

    fn may_read_some(&self, edge: &Edge, server: &ServerId, template: &str) -> bool {
        match self {
            Self::Given => {
                let grants = edge.settings.authority.grants();
                let here = |only: &String| only == server.as_str();
                let mut given = grants.iter().filter(|given| given.server.as_ref().is_none_or(here));
                given.any(|given| reads_some(&given.scope, template))
            }
            Self::Presents(standing) => reads_some(standing.scope(), template),
            Self::Nobody => false,
        }
    }

    pub(super) fn may_get(&self, edge: &Edge, server: &ServerId, name: &str) -> bool {
        ToolName::new("prompts/get")
            .is_ok_and(|method| self.covers(edge, &Target::Prompt { method, name: name.to_owned() }, server))
    }

    fn may_see(&self, edge: &Edge, kind: Kind, server: &ServerId, own: &str) -> bool {
        match kind {
            Kind::Tools => self.may_call(edge, server, own),
            Kind::Resources => self.may_read(edge, server, own),
            Kind::Templates => self.may_read_some(edge, server, own),
            Kind::Prompts => self.may_get(edge, server, own),
        }
    }
}

impl Edge {
    pub(super) async fn list_tools(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let Some(only) = self.only_member() else { return self.list_merged(&params, Kind::Tools).await };
        let viewer = self.viewer(&params.meta()?).await;
        let list =
            self.upstream(only).await.map_err(upstream_error)?.tools().await.map_err(upstream_error)?;
        let page = self.page(&params, Kind::Tools, &viewer, || {
            let entry = |tool: &crate::upstream::Tool| Entry {
                member: 0,
                own: Arc::from(tool.name.as_str()),
                needs_task: tool.needs_task,
                shown: Arc::from(tool.definition.get()),
            };
            list.tools().iter().map(entry).collect()
        })?;
        let first = params.cursor()?.is_none();
        listed(Kind::Tools, &page, list.meta().filter(|_| first))
    }

    pub(super) async fn list_resources(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        self.list(request, Kind::Resources).await
    }

    pub(super) async fn list_templates(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        self.list(request, Kind::Templates).await
    }

    pub(super) async fn list_prompts(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        self.list(request, Kind::Prompts).await
    }

    /// Whose eyes a request sees with.
    pub(super) async fn viewer(&self, meta: &Meta) -> Viewer {
        let Some(presented) = meta.presented.as_deref() else { return Viewer::Given };
        let kernel = &self.settings.kernel;
        let standing = kernel.standing(&self.presenting, &presented.capability, &presented.ancestors).await;
        match standing {
            Ok(standing) => Viewer::Presents(standing),
            Err(code) => {
                tracing::debug!(code = code.name(), "a presented capability shows nothing");
                Viewer::Nobody
            }
        }
    }

    async fn list(&self, request: &Incoming, kind: Kind) -> Result<Json, ErrorObject> {
        let params = Params::of(request)?;
        let Some(only) = self.only_member() else { return self.list_merged(&params, kind).await };
        let meta = params.meta()?;
        let viewer = self.viewer(&meta).await;
        let page = self.relay_list(request, only, &params, &meta).await?;
        filtered(&page, kind, |own| viewer.may_see(self, kind, only.id(), own))
    }

    async fn list_merged(&self, params: &Params<'_>, kind: Kind) -> Result<Json, ErrorObject> {
        let viewer = self.viewer(&params.meta()?).await;
        let offered = match params.cursor()? {
            None => Some(self.offered(kind).await),
            Some(_) => None,
        };
        let page = self.page(params, kind, &viewer, || offered.unwrap_or_default())?;
        listed(kind, &page, None)
    }

    /// The page that the request asks for.
    fn page(
        &self,
        params: &Params<'_>,
        kind: Kind,
        viewer: &Viewer,
        offered: impl FnOnce() -> Arc<[Entry]>,
    ) -> Result<Page<Entry>, ErrorObject> {
        let has_tasks = self.introduced.get().is_some_and(|introduced| introduced.announced.has("tasks"));
        let keep = |entry: &Entry| {
            let Some(member) = self.members().get(entry.member) else { return false };
            (has_tasks || !entry.needs_task) && viewer.may_see(self, kind, member.id(), &entry.own)
        };
        let unknown = || invalid("there is no such cursor; ask for the first page again");
        let pages = self.catalogue.pages.get(&kind).ok_or_else(unknown)?;
        match params.cursor()? {
            None => Ok(pages.first(offered(), keep)),
            Some(cursor) => pages.at(&cursor, keep).ok_or_else(unknown),
        }
    }

    /// Passes a request for a list to the only server.
    async fn relay_list(
        &self,
        request: &Incoming,
        only: &Member,
        params: &Params<'_>,
        meta: &Meta,
    ) -> Result<Json, ErrorObject> {
        let options = RequestOptions {
            timeout: Some(REQUEST_TIMEOUT),
            cancelled: Some(request.cancelled.clone()),
            ..RequestOptions::default()
        };
        let params = forwarded(params, &["cursor"], meta)?;
        let upstream = self.upstream(only).await.map_err(upstream_error)?;
        upstream.request(&request.method, Some(&params), options).await.map_err(upstream_error)
    }
}

fn listed(kind: Kind, page: &Page<Entry>, meta: Option<&Json>) -> Result<Json, ErrorObject> {
    let entries: Vec<_> = page.entries.iter().map(|entry| without_ours(&entry.shown)).collect();
    let mut result = Members::default();
    result.set(kind.entries(), format!("[{}]", entries.join(",")));
    if let Some(next) = &page.next {
        result.set("nextCursor", quote(next));
    }
    if let Some(meta) = meta {
        result.set("_meta", without_our_keys(meta.get()));
    }
    result.to_json().map_err(|error| broken(&error.to_string()))
}

/// The page without the entries that do not pass, which are copied as they are.
fn filtered(page: &Json, kind: Kind, keep: impl Fn(&str) -> bool) -> Result<Json, ErrorObject> {
    let mut members = Members::parse(page.get()).map_err(|error| broken(&error.to_string()))?;
    let entries = members.get(kind.entries()).unwrap_or_default().to_owned();
    let entries: Vec<&RawValue> =
        serde_json::from_str(&entries).map_err(|error| broken(&error.to_string()))?;
    let passes = |entry: &&str| {
        let entry = Members::parse(entry).ok();
        entry.and_then(|entry| entry.string(kind.key())).is_some_and(|own| keep(&own))
    };
    let kept: Vec<_> = entries.iter().map(|entry| entry.get()).filter(passes).map(without_ours).collect();
    members.set(kind.entries(), format!("[{}]", kept.join(",")));
    // Some write `null` for the last page, which clients that check what they are told refuse.
    if members.string("nextCursor").is_none() {
        members.remove("nextCursor");
    }
    strip_meta(&mut members);
    members.to_json().map_err(|error| broken(&error.to_string()))
}

fn broken(reason: &str) -> ErrorObject {
    upstream_error(McpError::MalformedAnswer(format!("the list: {reason}")))
}
