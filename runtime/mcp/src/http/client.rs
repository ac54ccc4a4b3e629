//! One HTTP client for all servers.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;

use crate::error::McpError;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a silent connection is asked whether it still exists. Streams may be silent for long, and a peer that
/// is gone without a word would otherwise never be missed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The client, made when it is first needed. It keeps no cookies and follows no redirects.
pub(super) fn shared() -> Result<Client, McpError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // It fails when another part of the process has installed one, which then is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .user_agent(concat!("chio/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| McpError::NotInitialized {
            reason: format!("this process cannot speak HTTP: {}", describe(error)),
        })?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// What went wrong, with its causes and without the URL, whose query may hold a secret.
pub(super) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
