//! The folder that holds all state: `keys/`, `policy.yaml`, `chio.yaml`, `chio.db`.
//!
//! It is found without asking (`--home` or `CHIO_HOME`, else `./.chio` when it exists, else `~/.chio`) and only created
//! by commands that have something to keep, so that looking leaves no traces.
//!
//! A folder that is found without asking must be one that we made: it belongs to the user and nobody else has rights in
//! it. Editors start `chio wrap` in the folder of a project, and a project from elsewhere could bring a `.chio` with a
//! policy that allows everything. A usual clone does not have mode 0700; an archive can, so this narrows the gap and does
//! not close it: who opens foreign folders sets `CHIO_HOME`.

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};

use super::failure::{Failure, OrFail};

/// Name of the folder, in a project or in the user's own folder.
const FOLDER: &str = ".chio";

/// Where all state lives.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: Option<PathBuf>,
    given: bool,
}

impl Home {
    /// Finds the folder; nothing is created.
    pub(crate) fn resolve(given: Option<PathBuf>) -> Result<Home, Failure> {
        if let Some(path) = given {
            return Ok(Home::at(path));
        }
        let project = Path::new(FOLDER);
        if project.is_dir() {
            refuse_foreign(project)?;
            return Ok(Home { path: Some(project.to_owned()), given: false });
        }
        Ok(Home { path: std::env::home_dir().map(|user| user.join(FOLDER)), given: false })
    }

    /// The folder that somebody named.
    pub(crate) fn at(path: PathBuf) -> Home {
        Home { path: Some(path), given: true }
    }

    /// Whether the user named the folder.
    pub(crate) fn is_given(&self) -> bool {
        self.given
    }

    /// The option by which another command finds the same folder, with a space before it; nothing when it is found
    /// without.
    pub(crate) fn option(&self) -> String {
        match &self.path {
            Some(path) if self.given => format!(" --home {}", path.display()),
            _ => String::new(),
        }
    }

    /// The folder, which need not exist.
    pub(crate) fn path(&self) -> Result<&Path, Failure> {
        let unknown = || {
            Failure::new("the folder for Chio's state is not known: the user's home folder cannot be found")
        };
        self.path.as_deref().ok_or_else(|| unknown().hint("name a folder with --home or CHIO_HOME"))
    }

    /// The folder, created for its owner alone (mode 0700) when it is missing.
    pub(crate) fn ensure(&self) -> Result<&Path, Failure> {
        let path = self.path()?;
        private_folder(path)
            .doing(format_args!("creating the folder {}", path.display()))
            .hint("name another folder with --home or CHIO_HOME")?;
        Ok(path)
    }

    /// Whether there is a receipt log.
    pub(crate) fn has_store(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.join("chio.db").exists())
    }
}

/// Refuses a folder that came with a project. A link to a folder is refused too: its target is the choice of whoever
/// made the link.
#[cfg(unix)]
fn refuse_foreign(project: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;

    let metadata = project.symlink_metadata().doing("looking at the folder ./.chio")?;
    let mode = metadata.mode() & 0o777;
    let owner = metadata.uid();
    let problem = if metadata.is_symlink() {
        "it is a symbolic link".to_owned()
    } else if owner != rustix::process::geteuid().as_raw() {
        format!("it belongs to another user, whose number is {owner}")
    } else if mode & 0o077 != 0 {
        format!("others have rights in it: its mode is {mode:03o}, and `chio` makes its folders with 700")
    } else {
        return Ok(());
    };
    Err(Failure::new(format_args!(
        "the folder ./.chio is not taken for Chio's state, because it may have come with this project: {problem}"
    ))
    .hint("name the folder to use with --home or CHIO_HOME: --home ./.chio takes this one, --home ~/.chio your own"))
}

#[cfg(not(unix))]
fn refuse_foreign(_project: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Creates a folder, and what is missing above it, for its owner alone.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
