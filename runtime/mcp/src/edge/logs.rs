//! How much the client wants to be told: a level for all its servers, also those that start later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;

use chio_json::Json;
use chio_spec::ServerId;
use serde_json::json;

use crate::edge::Edge;
use crate::edge::params::{Params, invalid};
use crate::edge::results::upstream_error;
use crate::error::McpError;
use crate::jsonrpc::{ErrorObject, Members};
use crate::servers::{Member, Owner};
use crate::session::{Incoming, RequestOptions};
use crate::upstream::{REQUEST_TIMEOUT, Upstream, empty_object};

const METHOD: &str = "logging/setLevel";

/// The levels of RFC 5424, as MCP writes them.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// The level that the client chose, and which running servers know it.
#[derive(Default)]
pub(super) struct LogLevel {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    level: Option<String>,
    told: HashMap<ServerId, (Weak<Upstream>, String)>,
}

impl LogLevel {
    /// Tells a server the level, unless it knows or keeps no log. Its refusal is its own affair, for whoever needs
    /// the server needs it for something else.
    pub(super) async fn tell(&self, member: &Member, upstream: &Arc<Upstream>) {
        if let Err(error) = self.set(member, upstream).await {
            tracing::debug!(server = %member.id(), %error, "a server did not take the log level");
        }
    }

    async fn set(&self, member: &Member, upstream: &Arc<Upstream>) -> Result<(), McpError> {
        let level = {
            let mut state = self.lock();
            let Some(level) = state.level.clone() else { return Ok(()) };
            let knows = state.told.get(member.id()).is_some_and(|(told, known)| {
                std::ptr::eq(told.as_ptr(), Arc::as_ptr(upstream)) && *known == level
            });
            if knows || member.owner() == Owner::Shared || !keeps_log(upstream) {
                return Ok(());
            }
            state.told.insert(member.id().clone(), (Arc::downgrade(upstream), level.clone()));
            level
        };
        let params = Json::from_value(&json!({"level": level}));
        let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
        upstream.request(METHOD, Some(&params), options).await.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves level and knowledge consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    pub(super) async fn set_log_level(&self, request: &Incoming) -> Result<Json, ErrorObject> {
        let level = Params::of(request)?.string("level")?;
        if !LEVELS.contains(&level.as_str()) {
            return Err(invalid(&format!("`level` must be one of {}", LEVELS.join(", "))));
        }
        self.log_level.lock().level = Some(level);
        let running = self.members().iter().filter_map(|member| Some((member, member.running()?)));
        let told = running
            .map(|(member, upstream)| async move { (member, self.log_level.set(member, &upstream).await) });
        for (member, outcome) in join_all(told).await {
            match (outcome, self.only_member()) {
                (Err(error), Some(_)) => return Err(upstream_error(error)),
                (Err(error), None) => {
                    tracing::warn!(server = %member.id(), %error, "a server did not take the log level");
                }
                (Ok(()), _) => {}
            }
        }
        Ok(empty_object())
    }
}

fn keeps_log(upstream: &Upstream) -> bool {
    let Some(initialized) = upstream.initialized() else { return false };
    let members = Members::parse(initialized.result.get());
    members.is_ok_and(|members| {
        members
            .get("capabilities")
            .and_then(|capabilities| Members::parse(capabilities).ok())
            .is_some_and(|capabilities| capabilities.get("logging").is_some())
    })
}
