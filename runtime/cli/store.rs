//! Opening the receipt log for one command.

use std::future::Future;

use chio_store::{SqliteOptions, SqliteStore, StoreError};

use super::failure::{Failure, OrFail};
use super::home::Home;

/// The store of a home folder, created when there is none.
pub(crate) fn open(home: &Home) -> Result<SqliteStore, Failure> {
    open_at(home.ensure()?)
}

/// The store of a home folder, if there is one. Looking creates nothing.
pub(crate) fn open_existing(home: &Home) -> Result<Option<SqliteStore>, Failure> {
    if home.has_store() { open_at(home.path()?).map(Some) } else { Ok(None) }
}

fn open_at(path: &std::path::Path) -> Result<SqliteStore, Failure> {
    SqliteStore::open(path, &SqliteOptions::default()).map_err(explain)
}

/// Runs a command's asynchronous part to its end.
pub(crate) fn wait<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing("starting the runtime")?
        .block_on(future)
}

/// A store error with the command that helps.
pub(crate) fn explain(error: StoreError) -> Failure {
    let hint = match &error {
        StoreError::RolledBack { .. } | StoreError::Forked { .. } | StoreError::AnchorMissing { .. } => {
            Some("chio log fsck shows what is wrong; chio log fsck --re-anchor accepts the database as it is")
        }
        StoreError::AnchorDamaged { .. } | StoreError::Damaged { .. } => {
            Some("chio log fsck shows what is wrong")
        }
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
