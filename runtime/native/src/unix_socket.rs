//! A Unix socket file that appears with its final rights, replaces only a dead predecessor and goes away with us.
//!
//! The socket is bound inside a new folder of mode 0700 and moved to its path with mode 0600 already set: between a
//! bind in place and a change of mode, anybody could connect. While a predecessor is looked at and replaced, a lock on
//! the surrounding folder keeps two servers that start together from removing each other's socket.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::NativeError;

/// A listening Unix socket and the file that names it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    _file: SocketFile,
}

impl UnixSocket {
    /// Listens at `path`, with the file's mode 0600.
    pub(crate) fn bind(path: &Path) -> Result<Self, NativeError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let lock = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let lock = lock.map_err(|error| failed("locking the folder of", path, error))?;
        ensure_replaceable(path)?;
        let listener = bind_private(folder, path).map_err(|error| failed("listening on", path, error))?;
        let file = SocketFile::of(path).map_err(|error| failed("looking at", path, error))?;
        drop(lock);
        let listener =
            UnixListener::from_std(listener).map_err(|error| failed("listening on", path, error))?;
        Ok(Self { listener, _file: file })
    }
}

/// Passes when nothing is at `path`, or a socket on which nobody listens.
fn ensure_replaceable(path: &Path) -> Result<(), NativeError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at", path, error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(NativeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // A full backlog or missing rights: somebody may well listen there.
        Ok(_) | Err(_) => Err(NativeError::SocketInUse { path: path.to_owned() }),
    }
}

fn bind_private(folder: &Path, path: &Path) -> io::Result<StdListener> {
    // Short names: the path of a socket holds about a hundred bytes.
    let private = PrivateFolder::create(folder.join(format!(".chio-{:x}", std::process::id())))?;
    let inside = private.0.join("s");
    let listener = StdListener::bind(&inside)?;
    fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    fs::rename(&inside, path)?;
    Ok(listener)
}

/// A folder of mode 0700 that is removed when dropped.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn create(path: PathBuf) -> io::Result<Self> {
        let folder = Self(path);
        // We hold the lock, so a folder of this name was left by a process that died while it bound.
        folder.remove();
        DirBuilder::new().mode(0o700).create(&folder.0)?;
        Ok(folder)
    }

    /// Never recursive: should the name belong to somebody else's folder, that folder stays.
    fn remove(&self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The file of our socket; removed when dropped, unless another file stands there by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        // The working directory may change before we end.
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode));
        if still_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> NativeError {
    NativeError::system(format!("{doing} {}", path.display()), error)
}
