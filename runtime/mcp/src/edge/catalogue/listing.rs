//! What one server lists: fetched whole, within bounds.

use std::collections::HashSet;
use std::sync::Arc;

use chio_json::Json;
use serde_json::value::RawValue;

use crate::edge::catalogue::Kind;
use crate::error::McpError;
use crate::jsonrpc::{Members, quote};
use crate::session::RequestOptions;
use crate::upstream::{MOST_ENTRY_BYTES, MOST_LIST_BYTES, REQUEST_TIMEOUT, ToolList, Upstream};

/// Bounds for a server that never stops listing.
const MOST_PAGES: usize = 1000;
const MOST_ENTRIES: usize = 20_000;

/// All entries of one kind of one server: name or URI, definition, whether a tool can be called as a task only.
#[derive(Debug, Default)]
pub(in crate::edge) struct Listing {
    pub(super) entries: Vec<(Arc<str>, Arc<str>, bool)>,
    bytes: usize,
}

impl Listing {
    pub(super) fn of_tools(tools: &ToolList) -> Self {
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

pub(super) async fn fetch(upstream: &Upstream, kind: Kind) -> Result<Listing, McpError> {
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

/// Whether a server announced a capability.
pub(super) fn announces(upstream: &Upstream, capability: &str) -> bool {
    upstream.initialized().is_some_and(|initialized| {
        let members = Members::parse(initialized.result.get()).ok();
        let capabilities = members.as_ref().and_then(|members| members.get("capabilities"));
        capabilities
            .and_then(|capabilities| Members::parse(capabilities).ok())
            .is_some_and(|capabilities| capabilities.get(capability).is_some())
    })
}
