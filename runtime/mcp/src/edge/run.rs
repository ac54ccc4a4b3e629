//! `chio wrap`: one client on our standard input and output, one server below us.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::edge::{Edge, EdgeSettings, End};
use crate::process::Exit;
use crate::servers::Member;
use crate::stdio::{self, Side};

/// How long the last bytes may take to reach a client that does not read.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How a wrap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrapEnd {
    /// Which side ended it.
    pub end: End,
    /// How the server ended.
    pub server: Option<Exit>,
}

/// Serves the client on standard input and output until it leaves, the server ends or `stop` fires; then
/// ends the server's whole tree. On return every receipt is signed and every answer written. Standard
/// output carries MCP and nothing else from here on.
pub async fn wrap_stdio(settings: EdgeSettings, stop: CancellationToken) -> WrapEnd {
    let servers = Arc::clone(&settings.servers);
    let (stdout, written) = stdout();
    let (channel, pumps) = stdio::attach(stdin(), stdout, Side::Client);
    let end = Edge::serve(settings, channel, stop).await;
    drop(pumps);
    let _ = tokio::time::timeout(LAST_BYTES, written).await;
    servers.close().await;
    let server = servers.members().first().and_then(Member::exit);
    WrapEnd { end, server }
}

/// Standard input, read by a thread of its own. Tokio's own reads on its blocking pool, and a runtime cannot
/// end while such a read waits for a client that has gone silent.
fn stdin() -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    if runtime.block_on(theirs.write_all(bytes)).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "standard input cannot be read");
                    return;
                }
            }
        }
    });
    ours
}

/// Standard output, written by a thread of its own for the same reason, and a signal that all was written.
fn stdout() -> (DuplexStream, oneshot::Receiver<()>) {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let (done, written) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let mut stdout = std::io::stdout();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = runtime.block_on(theirs.read(&mut buffer)).unwrap_or(0);
            let bytes = buffer.get(..count).unwrap_or_default();
            if count == 0 || stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
                break;
            }
        }
        let _ = done.send(());
    });
    (ours, written)
}
