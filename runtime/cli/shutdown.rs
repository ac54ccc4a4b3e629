//! Being asked to end: Ctrl-C, SIGTERM from a supervisor, or SIGHUP when the terminal is gone.

/// Returns once somebody asks this process to end.
pub(crate) async fn requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        match (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
            (Ok(mut terminate), Ok(mut hangup)) => tokio::select! {
                () = interrupted() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            },
            _ => interrupted().await,
        }
    }
    #[cfg(not(unix))]
    interrupted().await;
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Signals cannot be received here; the process ends in another way.
        std::future::pending::<()>().await;
    }
}
