//! What the process around the edge does for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chio_mcp::channel::Channel;
use chio_mcp::servers::ServerStatus;
use chio_policy::Identity;
use chio_spec::ErrorCode;
use tokio_util::sync::CancellationToken;

/// A session at work behind the edge. It ends by itself, or soon after its `stop` fired; then the servers that belong
/// to the session alone have ended, all receipts are written, and whatever is still in its channel is delivered as far
/// as the client reads it.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the process around the edge does for it.
pub trait Host: Send + Sync + 'static {
    /// Opens a session for an authenticated caller: builds its
    /// [`EdgeSettings`](chio_mcp::edge::EdgeSettings) and answers the future of
    /// [`Edge::serve`](chio_mcp::edge::Edge::serve) over `channel`. Must not block; what takes time belongs into the
    /// future.
    ///
    /// # Errors
    /// The registry's entry for why there is no session now. The client is told it as the answer to its `initialize`.
    fn open(
        &self,
        identity: &Arc<Identity>,
        session_id: &str,
        channel: Channel,
        stop: CancellationToken,
    ) -> Result<Serving, ErrorCode>;

    /// Whether a request with the credentials of `now` may use a session that `opened_by` opened. It must be the same
    /// caller; a host whose policy looks at more than that also asks whether the caller is still given the same, for a
    /// renewed token may carry fewer scopes or claims than the one that opened the session.
    fn is_same_caller(&self, opened_by: &Identity, now: &Identity) -> bool {
        opened_by.is_same_caller(now)
    }

    /// How the servers behind the edge are, for operators.
    fn servers(&self) -> Vec<ServerStatus>;
}
