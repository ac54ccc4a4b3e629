//! What several servers offer, as one.
//!
//! Everything here is for sessions with several servers; the only one of a session speaks for itself. A server that
//! fails or hangs is left out and named in the log, and its names stay reserved, so that the names of the others do
//! not change under the client while it is away.

mod names;
mod pages;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use chio_json::Json;
use chio_spec::ServerId;
use serde_json::value::RawValue;

use crate::edge::Edge;
use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::servers::Member;
use crate::session::{Cancellation, RequestOptions};
use crate::upstream::{MOST_ENTRY_BYTES, MOST_LIST_BYTES, REQUEST_TIMEOUT, ToolList, Upstream};

pub(super) use names::Meant;
use names::Names;
use pages::Sizable;
pub(super) use pages::{Page, Pages};

/// How long a list waits for one server. One that needs longer appears in a later list.
const LIST_PATIENCE: Duration = Duration::from_secs(15);

/// How long a request waits for the servers' lists when it names what no list seen so far has.
const NAME_PATIENCE: Duration = Duration::from_secs(2);

/// A list this young is not fetched again for what it does not hold.
const FRESH: Duration = Duration::from_secs(1);

/// Bounds for a server that never stops listing.
const MOST_PAGES: usize = 1000;
const MOST_ENTRIES: usize = 20_000;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Tools,
    Resources,
    Templates,
    Prompts,
}

impl Kind {
    /// The capability it belongs to.
    pub(super) fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources | Self::Templates => "resources",
            Self::Prompts => "prompts",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
            Self::Prompts => "prompts/list",
        }
    }

    /// The member of a page that holds the entries.
    pub(super) fn entries(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The member of an entry by which it is called.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// One entry of a list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Position of its server.
    pub(super) member: usize,
    /// Its name or URI on its server.
    pub(super) own: Arc<str>,
    /// Whether it can be called as a task only.
    pub(super) needs_task: bool,
    /// Its definition, under the name that the client is to use.
    pub(super) shown: Arc<str>,
}

impl Sizable for Entry {
    fn bytes(&self) -> usize {
        self.shown.len()
    }
}

/// The lists of one session.
pub(super) struct Catalogue {
    pub(super) pages: HashMap<Kind, Pages<Entry>>,
    kept: Mutex<HashMap<(ServerId, Kind), Kept>>,
    /// Servers that are waited for so that the client can be told that they came.
    awaited: Mutex<HashSet<ServerId>>,
}

/// What one server listed last.
#[derive(Clone, Debug)]
struct Kept {
    list: Arc<Listing>,
    of: Weak<Upstream>,
    at: Instant,
    /// Whether it is still what the server says. What is not is only good for reserving names.
    current: bool,
}

/// All entries of one kind of one server: name or URI, definition, whether a tool can be called as a task only.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: Vec<(Arc<str>, Arc<str>, bool)>,
    bytes: usize,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let kinds = [Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts];
        Self {
            pages: kinds.into_iter().map(|kind| (kind, Pages::new())).collect(),
            kept: Mutex::default(),
            awaited: Mutex::default(),
        }
    }

    /// A server's list has changed.
    pub(super) fn forget(&self, server: &ServerId, kind: Kind) {
        let mut kept = self.lock();
        let kinds = if kind == Kind::Resources { vec![kind, Kind::Templates] } else { vec![kind] };
        for kind in kinds {
            if let Some(kept) = kept.get_mut(&(server.clone(), kind)) {
                kept.current = false;
            }
        }
    }

    fn kept(&self, server: &ServerId, kind: Kind) -> Option<Kept> {
        self.lock().get(&(server.clone(), kind)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(ServerId, Kind), Kept>> {
        // Every critical section is one operation of the map.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How old a list may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// Whatever was not said to have changed.
    Current,
    /// Asked for a moment ago.
    Fresh,
    /// Asked for now.
    Now,
}

impl Edge {
    /// Everything of one kind that the servers offer, in their order, under the names that the client is to use.
    pub(super) async fn offered(&self, kind: Kind) -> Arc<[Entry]> {
        let lists = self.listings(kind, Age::Now, LIST_PATIENCE).await;
        let names = matches!(kind, Kind::Tools | Kind::Prompts).then(|| self.names(&lists));
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for (member, (list, listed)) in lists.iter().enumerate() {
            for (own, definition, needs_task) in list.entries.iter().filter(|_| *listed) {
                let shown = match names.as_ref() {
                    Some(names) => renamed(definition, own, names.shown(member, own)),
                    // The first server that offers a URI is the one that is asked for it.
                    None if !seen.insert(Arc::clone(own)) => continue,
                    None => Some(Arc::clone(definition)),
                };
                if let Some(shown) = shown {
                    entries.push(Entry { member, own: Arc::clone(own), needs_task: *needs_task, shown });
                }
            }
        }
        entries.into()
    }

    /// What a client means by the name of a tool.
    pub(super) async fn tool_named(&self, name: &str, cancelled: &Cancellation) -> Meant {
        self.named(Kind::Tools, name, cancelled).await
    }

    /// What a client means by the name of a prompt.
    pub(super) async fn prompt_named(&self, name: &str, cancelled: &Cancellation) -> Meant {
        self.named(Kind::Prompts, name, cancelled).await
    }

    /// What has been listed decides, so that a server that hangs holds up no call of the others.
    async fn named(&self, kind: Kind, name: &str, cancelled: &Cancellation) -> Meant {
        let known = self.names(&self.known(kind)).meant(name);
        if known != Meant::Nothing {
            return known;
        }
        let asked = async {
            for age in [Age::Current, Age::Fresh] {
                let meant = self.names(&self.listings(kind, age, NAME_PATIENCE).await).meant(name);
                if meant != Meant::Nothing {
                    return meant;
                }
            }
            Meant::Nothing
        };
        tokio::select! {
            meant = asked => meant,
            () = patience(cancelled) => self.names(&self.known(kind)).meant(name),
        }
    }

    /// The position of the server that a URI, or a template of one, belongs to: the one that lists it, else the one
    /// with the template that says most about it, else the only one that has resources at all.
    pub(super) async fn resource_owner(&self, uri: &str, cancelled: &Cancellation) -> Option<usize> {
        let known = || owner_among(uri, &self.known(Kind::Resources), &self.known(Kind::Templates));
        if let Some(position) = known() {
            return Some(position);
        }
        let asked = async {
            for age in [Age::Current, Age::Fresh] {
                let (resources, templates) = tokio::join!(
                    self.listings(Kind::Resources, age, NAME_PATIENCE),
                    self.listings(Kind::Templates, age, NAME_PATIENCE),
                );
                if let Some(position) = owner_among(uri, &resources, &templates) {
                    return Some(position);
                }
            }
            None
        };
        let found = tokio::select! {
            found = asked => found,
            () = patience(cancelled) => known(),
        };
        if found.is_some() {
            return found;
        }
        let mut able = self.members().iter().enumerate().filter(|(_, member)| {
            member.running().is_some_and(|upstream| announces(&upstream, Kind::Resources.capability()))
        });
        match (able.next(), able.next()) {
            (Some((only, _)), None) => Some(only),
            _ => None,
        }
    }

    fn names(&self, lists: &[(Arc<Listing>, bool)]) -> Names {
        let offered: Vec<(&str, Vec<&str>)> = self
            .members()
            .iter()
            .zip(lists)
            .map(|(member, (list, _))| {
                (member.id().as_str(), list.entries.iter().map(|(own, ..)| &**own).collect())
            })
            .collect();
        Names::decide(&offered)
    }

    /// The list that each server gave last, also where it has changed or the server is away.
    fn known(&self, kind: Kind) -> Vec<(Arc<Listing>, bool)> {
        let kept = |member: &Member| self.catalogue.kept(member.id(), kind);
        self.members()
            .iter()
            .map(|member| (kept(member).map(|kept| kept.list).unwrap_or_default(), false))
            .collect()
    }

    /// The list of every server, and whether the server itself stands behind it now.
    async fn listings(&self, kind: Kind, age: Age, patience: Duration) -> Vec<(Arc<Listing>, bool)> {
        join_all(self.members().iter().map(|member| async move {
            let listing = tokio::time::timeout(patience, self.listing(member, kind, age)).await;
            let failure = match listing {
                Ok(Ok(list)) => return (list, true),
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    self.await_server(member, kind);
                    format!("it did not answer within {} s", patience.as_secs())
                }
            };
            tracing::warn!(server = %member.id(), reason = %failure, "a server is left out of {}", kind.method());
            let last = self.catalogue.kept(member.id(), kind);
            (last.map(|kept| kept.list).unwrap_or_default(), false)
        }))
        .await
    }

    async fn listing(&self, member: &Member, kind: Kind, age: Age) -> Result<Arc<Listing>, McpError> {
        let upstream = self.upstream(member).await?;
        if let Some(kept) = self.catalogue.kept(member.id(), kind) {
            let young = match age {
                Age::Current => true,
                Age::Fresh => kept.at.elapsed() < FRESH,
                Age::Now => false,
            };
            if young && kept.current && std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(&upstream)) {
                return Ok(kept.list);
            }
        }
        let list = match kind {
            // The upstream keeps these itself, for the kernel asks for them too.
            Kind::Tools => {
                let tools = match age {
                    Age::Current => upstream.tools().await?,
                    Age::Fresh | Age::Now => upstream.tools_anew().await?,
                };
                Listing::of_tools(&tools)
            }
            _ if !announces(&upstream, kind.capability()) => Listing::default(),
            _ => fetch(&upstream, kind).await?,
        };
        let list = Arc::new(list);
        let of = Arc::downgrade(&upstream);
        let kept = Kept { list: Arc::clone(&list), of, at: Instant::now(), current: true };
        self.catalogue.lock().insert((member.id().clone(), kind), kept);
        Ok(list)
    }

    /// Tells the client that a list has changed once a slow server is there.
    fn await_server(&self, member: &Member, kind: Kind) {
        let awaited = &self.catalogue.awaited;
        let new = awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(member.id().clone());
        let Some(edge) = self.me.upgrade().filter(|_| new) else { return };
        let id = member.id().clone();
        tokio::spawn(async move {
            let came = async {
                let member = edge.settings.servers.get(&id)?;
                edge.upstream(member).await.ok()
            };
            let came = tokio::select! {
                came = came => came.is_some(),
                () = edge.over.cancelled() => false,
            };
            edge.catalogue.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if came {
                edge.tell_list_changed(&id, kind);
            }
        });
    }
}

impl Listing {
    fn of_tools(tools: &ToolList) -> Self {
        let entries = tools
            .tools()
            .iter()
            .map(|tool| (Arc::from(tool.name.as_str()), Arc::from(tool.definition.get()), tool.needs_task));
        Self { entries: entries.collect(), bytes: 0 }
    }

    /// Takes a page in; answers the cursor of the next one.
    fn take_page(&mut self, page: &Json, kind: Kind) -> Result<Option<String>, McpError> {
        let broken = |reason: String| McpError::MalformedAnswer(format!("{}: {reason}", kind.method()));
        let members = Members::parse(page.get()).map_err(|error| broken(error.to_string()))?;
        let entries: Vec<&RawValue> =
            serde_json::from_str(members.get(kind.entries()).unwrap_or_default())
                .map_err(|error| broken(format!("`{}` is not an array: {error}", kind.entries())))?;
        for entry in entries {
            let bytes = entry.get().len();
            if bytes > MOST_ENTRY_BYTES {
                tracing::warn!(bytes, "hid an entry of {} that is too large", kind.method());
                continue;
            }
            self.bytes += bytes;
            match Members::parse(entry.get()).ok().and_then(|members| members.string(kind.key())) {
                Some(own) => self.entries.push((Arc::from(own), Arc::from(entry.get()), false)),
                None => tracing::warn!("hid an entry of {} without `{}`", kind.method(), kind.key()),
            }
        }
        if self.bytes > MOST_LIST_BYTES {
            return Err(broken(format!("more than {MOST_LIST_BYTES} bytes")));
        }
        if self.entries.len() > MOST_ENTRIES {
            return Err(broken(format!("more than {MOST_ENTRIES} entries")));
        }
        Ok(members.string("nextCursor"))
    }
}

async fn fetch(upstream: &Upstream, kind: Kind) -> Result<Listing, McpError> {
    let mut listing = Listing::default();
    let mut cursor: Option<String> = None;
    let mut seen = HashSet::new();
    for _ in 0..MOST_PAGES {
        let params = cursor
            .as_deref()
            .map_or_else(|| "{}".to_owned(), |cursor| format!(r#"{{"cursor":{}}}"#, quote(cursor)));
        let params = Json::from_text(params).map_err(|error| McpError::InvalidParams(error.to_string()))?;
        let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
        let page = upstream.request(kind.method(), Some(&params), options).await?;
        match listing.take_page(&page, kind)? {
            Some(next) if seen.insert(next.clone()) => cursor = Some(next),
            Some(_) => {
                let text = format!("{} returns to a page it had", kind.method());
                return Err(McpError::MalformedAnswer(text));
            }
            None => return Ok(listing),
        }
    }
    Err(McpError::MalformedAnswer(format!("{} has more than {MOST_PAGES} pages", kind.method())))
}

/// Ends when a request has waited long enough for lists, or nobody wants its answer any more.
async fn patience(cancelled: &Cancellation) {
    tokio::select! {
        () = tokio::time::sleep(NAME_PATIENCE) => {}
        () = cancelled.fired() => {}
    }
}

/// The position of the server that lists a URI, else of the one whose template says most about it.
fn owner_among(
    uri: &str,
    resources: &[(Arc<Listing>, bool)],
    templates: &[(Arc<Listing>, bool)],
) -> Option<usize> {
    let lists = |(list, _): &(Arc<Listing>, bool)| list.entries.iter().any(|(own, ..)| **own == *uri);
    resources.iter().position(lists).or_else(|| {
        let said = templates.iter().enumerate().flat_map(|(position, (list, _))| {
            list.entries.iter().filter_map(move |(template, ..)| Some((fit(template, uri)?, position)))
        });
        // Of equal ones the first server's.
        said.max_by_key(|(fit, position)| (*fit, usize::MAX - position)).map(|(_, position)| position)
    })
}

/// Whether a server announced a capability.
fn announces(upstream: &Upstream, capability: &str) -> bool {
    upstream.initialized().is_some_and(|initialized| {
        let members = Members::parse(initialized.result.get()).ok();
        let capabilities = members.as_ref().and_then(|members| members.get("capabilities"));
        capabilities
            .and_then(|capabilities| Members::parse(capabilities).ok())
            .is_some_and(|capabilities| capabilities.get(capability).is_some())
    })
}

/// A definition under another name; none for what has no name here.
fn renamed(definition: &Arc<str>, own: &str, shown: Option<&str>) -> Option<Arc<str>> {
    let shown = shown?;
    if shown == own {
        return Some(Arc::clone(definition));
    }
    let mut members = Members::parse(definition).ok()?;
    members.set("name", quote(shown));
    Some(Arc::from(members.to_text()))
}

/// How many bytes of a URI a template (RFC 6570) stands for literally; none when it cannot become the URI. What its
/// expressions may become is not looked at.
fn fit(template: &str, uri: &str) -> Option<usize> {
    if template == uri {
        return Some(uri.len());
    }
    let mut literals = template.split('{').enumerate().map(|(index, part)| match index {
        0 => Some(part),
        _ => part.split_once('}').map(|(_, literal)| literal),
    });
    let first = literals.next()??;
    let mut rest = uri.strip_prefix(first)?;
    let mut fit = first.len();
    let literals: Vec<&str> = literals.collect::<Option<_>>()?;
    let (last, middle) = literals.split_last()?;
    for literal in middle {
        let at = rest.find(literal)?;
        rest = rest.get(at + literal.len()..)?;
        fit += literal.len();
    }
    rest.ends_with(last).then_some(fit + last.len())
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn a_template_fits_the_uris_it_can_become() {
        for (template, uri, fits) in [
            ("test://one", "test://one", Some(10)),
            ("test://one", "test://two", None),
            ("test://{id}", "test://one", Some(7)),
            ("test://{id}/data", "test://1/data", Some(12)),
            ("test://{id}/data", "test://1/date", None),
            ("test://{a}/x/{b}", "test://1/x/2", Some(10)),
            ("test://{id", "test://1", None),
            ("{+path}", "anything", Some(0)),
        ] {
            assert_eq!(fit(template, uri), fits, "{template} {uri}");
        }
    }
}
