//! How the edge answers and what it keeps: from `chio.yaml`.

use std::time::Duration;

use chio_config::{McpConfig, McpLimits, Secret};
use chio_mcp_edge::auth::Authentication;
use chio_mcp_edge::{EdgeConfig, Limits};
use url::Url;
use zeroize::Zeroizing;

use crate::cli::failure::{Failure, OrFail};

/// The settings of the edge; the admin token of the command line wins.
pub(super) fn settings(
    config: &McpConfig,
    public: Url,
    admin: Option<&Secret>,
    auth: &Authentication,
) -> Result<EdgeConfig, Failure> {
    let admin = admin.or(config.admin_token.as_ref()).map(Secret::reveal);
    if let Some(token) = admin {
        auth.check_admin_token(token)
            .doing("reading the admin token")
            .hint("make one with: openssl rand -hex 32")?;
    }
    let streams = &config.streams;
    let silence = Duration::from_millis(streams.close_silent_after_ms);
    Ok(EdgeConfig {
        public_url: Some(public),
        allowed_hosts: config.allowed_hosts.clone(),
        allowed_origins: config.allowed_origins.clone(),
        admin_token: admin.map(|token| Zeroizing::new(token.to_owned())),
        limits: limits(&config.limits),
        answer_delay: Duration::from_millis(streams.answer_within_ms),
        close_silent_after: (!silence.is_zero()).then_some(silence),
    })
}

fn limits(limits: &McpLimits) -> Limits {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let rate = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Limits {
        sessions: count(limits.sessions),
        connections: count(limits.connections),
        requests_in_flight: count(limits.requests_in_flight),
        buffered_bytes: count(limits.buffered_bytes),
        undelivered_bytes: count(limits.undelivered_bytes),
        replay_events: count(limits.replay_events),
        body_bytes: count(limits.body_bytes),
        idle: Duration::from_secs(limits.idle_seconds),
        sessions_per_minute: rate(limits.sessions_per_minute),
        failures_per_minute: rate(limits.failures_per_minute),
        requests_per_minute: rate(limits.requests_per_minute),
        ..Limits::default()
    }
}
