//! What several servers offer, as one.
//!
//! Everything here is for sessions with several servers; the only one of a session speaks for itself. A server that
//! fails or hangs is left out and named in the log, and its names stay reserved, so that the names of the others do
//! not change under the client while it is away.

mod listing;
mod names;
mod pages;
mod uris;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use chio_spec::ServerId;

use crate::edge::Edge;
use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::servers::Member;
use crate::session::Cancellation;
use crate::upstream::Upstream;

use listing::{Listing, announces, fetch};
pub(super) use names::Meant;
use names::Names;
use pages::Sizable;
pub(super) use pages::{Page, Pages};
use uris::owner_among;

/// How long a list waits for one server. One that needs longer appears in a later list.
const LIST_PATIENCE: Duration = Duration::from_secs(15);

/// How long a request waits for the lists of servers that run when it names what no list seen so far has.
const NAME_PATIENCE: Duration = Duration::from_secs(2);

/// A list this young is not fetched again for what it does not hold.
const FRESH: Duration = Duration::from_secs(1);

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
    /// What the client's last list lacks, and whether it is being waited for.
    left_out: Mutex<HashMap<(ServerId, Kind), bool>>,
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

impl Catalogue {
    pub(super) fn new() -> Self {
        let kinds = [Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts];
        Self {
            pages: kinds.into_iter().map(|kind| (kind, Pages::new())).collect(),
            kept: Mutex::default(),
            left_out: Mutex::default(),
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

    fn left_out(&self) -> MutexGuard<'_, HashMap<(ServerId, Kind), bool>> {
        // As is every one of this.
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
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
        for (member, (_, listed)) in self.members().iter().zip(&lists) {
            self.await_unless(*listed, member, kind);
        }
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

    async fn named(&self, kind: Kind, name: &str, cancelled: &Cancellation) -> Meant {
        let find =
            || Some(self.names(&self.known(kind)).meant(name)).filter(|meant| *meant != Meant::Nothing);
        self.sought(&[kind], cancelled, find).await.unwrap_or(Meant::Nothing)
    }

    /// The position of the server that a URI, or a template of one, belongs to: the one that lists it, else the one
    /// with the template that says most about it, else the only one that has resources at all.
    pub(super) async fn resource_owner(&self, uri: &str, cancelled: &Cancellation) -> Option<usize> {
        let find = || owner_among(uri, &self.known(Kind::Resources), &self.known(Kind::Templates));
        let found = self.sought(&[Kind::Resources, Kind::Templates], cancelled, find).await;
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

    /// What the lists say that are known. What they do not have is asked of all servers for a moment, and then of
    /// those that are still starting, as long as that takes them. So a server that hangs or starts slowly holds up no
    /// call to the others that was listed once, and a call that comes before any list finds its server all the same.
    async fn sought<T>(
        &self,
        kinds: &[Kind],
        cancelled: &Cancellation,
        find: impl Fn() -> Option<T>,
    ) -> Option<T> {
        if let Some(found) = find() {
            return Some(found);
        }
        let late: Vec<&Member> = self.members().iter().filter(|member| member.running().is_none()).collect();
        let asked = async {
            for age in [Age::Current, Age::Fresh] {
                join_all(kinds.iter().map(|kind| self.listings(*kind, age, NAME_PATIENCE))).await;
                if let Some(found) = find() {
                    return Some(found);
                }
            }
            None
        };
        let found = tokio::select! {
            found = asked => found,
            () = patience(cancelled) => find(),
        };
        if found.is_some() {
            return found;
        }
        tokio::select! {
            found = self.sought_at(&late, kinds, find) => found,
            () = cancelled.fired() => None,
        }
    }

    /// The same of servers that did not run a moment ago, each as soon as it is there.
    async fn sought_at<T>(
        &self,
        late: &[&Member],
        kinds: &[Kind],
        find: impl Fn() -> Option<T>,
    ) -> Option<T> {
        let coming = late.iter().filter(|member| member.is_starting() || member.running().is_some());
        let mut coming: FuturesUnordered<_> = coming
            .map(|member| async move {
                if self.upstream(member).await.is_ok() {
                    let lists = kinds.iter().map(|kind| self.listing(member, *kind, Age::Current));
                    let _ = tokio::time::timeout(NAME_PATIENCE, join_all(lists)).await;
                }
            })
            .collect();
        while coming.next().await.is_some() {
            if let Some(found) = find() {
                return Some(found);
            }
        }
        None
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
                Err(_) => format!("it did not answer within {} s", patience.as_secs()),
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
        let lacked =
            age != Age::Now && self.catalogue.left_out().remove(&(member.id().clone(), kind)).is_some();
        if lacked && !list.entries.is_empty() {
            self.tell_list_changed(member.id(), kind);
        }
        Ok(list)
    }

    /// Waits for the list of a server that the client's list lacks; it is told when it comes.
    fn await_unless(&self, listed: bool, member: &Member, kind: Kind) {
        let key = (member.id().clone(), kind);
        if listed {
            self.catalogue.left_out().remove(&key);
            return;
        }
        // One that failed is not started again before somebody needs it.
        let comes = member.is_starting() || member.running().is_some();
        let awaited = {
            let mut left_out = self.catalogue.left_out();
            let awaited = left_out.entry(key.clone()).or_default();
            std::mem::replace(awaited, *awaited || comes)
        };
        let Some(edge) = self.me.upgrade().filter(|_| comes && !awaited) else { return };
        tokio::spawn(async move {
            if let Some(member) = edge.settings.servers.get(&key.0) {
                tokio::select! {
                    _ = edge.listing(member, kind, Age::Fresh) => {}
                    () = edge.over.cancelled() => {}
                }
            }
            if let Some(awaited) = edge.catalogue.left_out().get_mut(&key) {
                *awaited = false;
            }
        });
    }
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

/// Ends when a request has waited long enough for lists, or nobody wants its answer any more.
async fn patience(cancelled: &Cancellation) {
    tokio::select! {
        () = tokio::time::sleep(NAME_PATIENCE) => {}
        () = cancelled.fired() => {}
    }
}
