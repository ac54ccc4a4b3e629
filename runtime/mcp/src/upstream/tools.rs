//! The tools of a server, listed once.
//!
//! The kernel asks for every call whether the tool exists, and lists are filtered, so the whole list
//! is fetched and kept. It is dropped when the server says that it changed; a change that is announced
//! while the list is being fetched makes the fetched one unfit to keep.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use chio_json::Json;

use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::session::{RequestOptions, Session};
use crate::upstream::{MOST_ENTRY_BYTES, MOST_LIST_BYTES, REQUEST_TIMEOUT, is_method};

/// Bounds for a server that never stops listing.
const MOST_PAGES: usize = 1000;
const MOST_TOOLS: usize = 20_000;

/// A list this young is not fetched again for a name it does not have.
const FRESH: Duration = Duration::from_secs(1);

/// One tool as its server describes it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name, unique in the list.
    pub name: String,
    /// Its whole definition, as it arrived.
    pub definition: Json,
    /// Whether it can be called as a task only.
    pub needs_task: bool,
}

/// All tools of a server.
#[derive(Debug, Default)]
pub struct ToolList {
    tools: Vec<Tool>,
    by_name: HashMap<String, usize>,
    bytes: usize,
    /// The `_meta` of the first page.
    meta: Option<Json>,
}

impl ToolList {
    /// The tools in the server's order.
    #[must_use]
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.by_name.get(name).and_then(|index| self.tools.get(*index))
    }

    /// What the server said about the list itself.
    #[must_use]
    pub fn meta(&self) -> Option<&Json> {
        self.meta.as_ref()
    }

    /// Takes a page in; answers the cursor of the next one.
    fn take_page(&mut self, page: &Json) -> Result<Option<String>, McpError> {
        let broken = |reason: String| McpError::MalformedAnswer(format!("the list of tools: {reason}"));
        let members = Members::parse(page.get()).map_err(|error| broken(error.to_string()))?;
        let tools: Vec<&serde_json::value::RawValue> =
            serde_json::from_str(members.get("tools").unwrap_or_default())
                .map_err(|error| broken(format!("`tools` is not an array: {error}")))?;
        for tool in tools {
            if tool.get().len() > MOST_ENTRY_BYTES {
                tracing::warn!(bytes = tool.get().len(), "hid a tool whose definition is too large");
                continue;
            }
            let members = Members::parse(tool.get()).ok();
            match members.as_ref().and_then(|members| members.string("name")) {
                // `*` stands for every tool in a grant, so it cannot be the name of one.
                Some(name) if name.is_empty() || name == "*" => {
                    tracing::warn!(%name, "hid a tool whose name cannot be granted");
                }
                Some(name) if is_method(&name) => {
                    tracing::warn!(%name, "hid a tool that is called like a method");
                }
                Some(name) if self.by_name.contains_key(&name) => {
                    tracing::warn!(%name, "hid the second tool of the same name");
                }
                Some(name) => {
                    let definition =
                        Json::from_text(tool.get().to_owned()).map_err(|error| broken(error.to_string()))?;
                    let needs_task = members.is_some_and(|members| needs_task(&members));
                    self.bytes += tool.get().len();
                    self.by_name.insert(name.clone(), self.tools.len());
                    self.tools.push(Tool { name, definition, needs_task });
                }
                None => tracing::warn!("hid a tool without a name"),
            }
        }
        if self.bytes > MOST_LIST_BYTES {
            return Err(broken(format!("more than {MOST_LIST_BYTES} bytes")));
        }
        if self.tools.len() > MOST_TOOLS {
            return Err(broken(format!("more than {MOST_TOOLS} tools")));
        }
        if self.meta.is_none() {
            self.meta = members
                .get("_meta")
                .filter(|meta| meta.len() <= MOST_ENTRY_BYTES)
                .and_then(|meta| Json::from_text(meta.to_owned()).ok());
        }
        Ok(members.string("nextCursor"))
    }
}

fn needs_task(tool: &Members<'_>) -> bool {
    let execution = tool.get("execution").and_then(|execution| Members::parse(execution).ok());
    execution.and_then(|execution| execution.string("taskSupport")).as_deref() == Some("required")
}

/// The list that is kept.
#[derive(Debug, Default)]
pub(super) struct ToolCache {
    generation: AtomicU64,
    kept: StdMutex<Option<Kept>>,
    fetching: Mutex<()>,
}

#[derive(Debug, Clone)]
struct Kept {
    list: Arc<ToolList>,
    generation: u64,
    at: Instant,
}

impl ToolCache {
    pub(super) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) async fn get(&self, session: &Session, has_tools: bool) -> Result<Arc<ToolList>, McpError> {
        self.get_if(session, has_tools, |_| true).await
    }

    pub(super) async fn get_anew(
        &self,
        session: &Session,
        has_tools: bool,
    ) -> Result<Arc<ToolList>, McpError> {
        self.get_if(session, has_tools, |kept| kept.at.elapsed() < FRESH).await
    }

    async fn get_if(
        &self,
        session: &Session,
        has_tools: bool,
        good: impl Fn(&Kept) -> bool,
    ) -> Result<Arc<ToolList>, McpError> {
        if !has_tools {
            return Ok(Arc::default());
        }
        if let Some(kept) = self.kept().filter(&good) {
            return Ok(kept.list);
        }
        // One fetch serves all who wait for it.
        let _fetching = self.fetching.lock().await;
        if let Some(kept) = self.kept().filter(&good) {
            return Ok(kept.list);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let list = Arc::new(fetch(session).await?);
        let kept = Kept { list: Arc::clone(&list), generation, at: Instant::now() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(list)
    }

    fn kept(&self) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.filter(|kept| kept.generation == self.generation.load(Ordering::Acquire))
    }
}

async fn fetch(session: &Session) -> Result<ToolList, McpError> {
    let mut list = ToolList::default();
    let mut cursor: Option<String> = None;
    let mut seen = HashSet::new();
    for _ in 0..MOST_PAGES {
        let params = cursor.as_deref().map_or_else(|| "{}".to_owned(), cursor_params);
        let params = Json::from_text(params).map_err(|error| McpError::InvalidParams(error.to_string()))?;
        let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
        let page = session.request("tools/list", Some(&params), options).await?;
        match list.take_page(&page)? {
            Some(next) if seen.insert(next.clone()) => cursor = Some(next),
            Some(_) => {
                return Err(McpError::MalformedAnswer(
                    "the list of tools returns to a page it had".to_owned(),
                ));
            }
            None => return Ok(list),
        }
    }
    Err(McpError::MalformedAnswer(format!("the list of tools has more than {MOST_PAGES} pages")))
}

fn cursor_params(cursor: &str) -> String {
    format!(r#"{{"cursor":{}}}"#, quote(cursor))
}
