//! How much the client wants to be told: a level for all its servers, also those that start later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
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
    /// Nobody waits for its answer.
    pub(super) fn tell(&self, member: &Member, upstream: &Arc<Upstream>) {
        let Some(level) = self.to_tell(member, upstream) else { return };
        let (server, upstream) = (member.id().clone(), Arc::clone(upstream));
        let mut told = Box::pin(async move {
            if let Err(error) = set(&upstream, &level).await {
                tracing::debug!(%server, %error, "a server did not take the log level");
            }
        });
        // The request is on its way before whatever the server is needed for.
        if (&mut told).now_or_never().is_none() {
            tokio::spawn(told);
        }
    }

    /// The level, if the server is to be told; it is noted that it was.
    fn to_tell(&self, member: &Member, upstream: &Arc<Upstream>) -> Option<String> {
        let mut state = self.lock();
        let level = state.level.clone()?;
        let knows = state.told.get(member.id()).is_some_and(|(told, known)| {
            std::ptr::eq(told.as_ptr(), Arc::as_ptr(upstream)) && *known == level
        });
        if knows || member.owner() == Owner::Shared || !keeps_log(upstream) {
            return None;
        }
        state.told.insert(member.id().clone(), (Arc::downgrade(upstream), level.clone()));
        Some(level)
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
        let told = running.filter_map(|(member, upstream)| {
            let level = self.log_level.to_tell(member, &upstream)?;
            Some(async move { (member, set(&upstream, &level).await) })
        });
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

async fn set(upstream: &Upstream, level: &str) -> Result<(), McpError> {
    let params = Json::from_value(&json!({"level": level}));
    let options = RequestOptions { timeout: Some(REQUEST_TIMEOUT), ..RequestOptions::default() };
    upstream.request(METHOD, Some(&params), options).await.map(drop)
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
