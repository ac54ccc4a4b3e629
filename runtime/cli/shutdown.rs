//! Being asked to end: Ctrl-C, SIGTERM from a supervisor, or SIGHUP when the terminal is gone.

use tokio_util::sync::CancellationToken;

use super::failure::{Failure, OrFail};

/// A token that is cancelled once somebody asks this process to end. From the return on the process no longer ends by
/// itself when asked, so whoever calls this ends it. Must be called within a Tokio runtime.
pub(crate) fn requested() -> Result<CancellationToken, Failure> {
    let asked = signals().doing("listening for signals")?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        asked.await;
        told.cancel();
    });
    Ok(token)
}

#[cfg(unix)]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // A limit on the size of files must be a failed write, which the kernel answers for, and not the end of the process.
    // The handler outlives what is dropped here.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            // It cannot be asked this way; it ends in another.
            std::future::pending::<()>().await;
        }
    })
}
