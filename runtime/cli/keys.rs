//! Key files: 64 hexadecimal digits, readable by their owner alone.
//!
//! Two keys live in `$CHIO_HOME/keys`: `kernel.key` signs receipts and checkpoints, `authority.key` issues capabilities.
//! A third, `login.key`, is made where the hosted edge runs its own authorization server.
//! They are apart because they can be lost apart: whoever holds only the second can hand out authority, but not rewrite
//! what was decided. Both are created on first use. A key file is written in full under another name and then linked to
//! its own, which fails when the name is taken: so processes that start at once agree on one key, and nobody ever reads
//! half a key.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chio_core::keys::SigningKey;
use zeroize::Zeroizing;

use super::failure::{Failure, OrFail};
use super::home::{Home, private_folder};

/// More than a key file ever holds.
const LONGEST_FILE: u64 = 256;

/// The keys of a home folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Signs receipts and checkpoints.
    Kernel,
    /// Issues capabilities.
    Authority,
    /// Signs the access tokens of the hosted edge's own authorization server.
    Login,
}

impl Role {
    fn file(self, home: &Path) -> PathBuf {
        home.join("keys").join(match self {
            Role::Kernel => "kernel.key",
            Role::Authority => "authority.key",
            Role::Login => "login.key",
        })
    }
}

/// The key of that role, created when there is none.
pub(crate) fn load_or_create(home: &Home, role: Role) -> Result<SigningKey, Failure> {
    let path = role.file(home.ensure()?);
    match read(&path)? {
        Some(key) => Ok(key),
        None => create(&path).map(|(key, _)| key),
    }
}

/// The key of that role, if it was ever created. Looking creates nothing.
pub(crate) fn load(home: &Home, role: Role) -> Result<Option<SigningKey>, Failure> {
    read(&role.file(home.path()?))
}

/// The key in a file that must exist.
pub(crate) fn open(path: &Path) -> Result<SigningKey, Failure> {
    read(path)?.ok_or_else(|| {
        Failure::new(format_args!("the key file {} does not exist", path.display()))
            .hint("make one with: chio capability keygen --out FILE")
    })
}

/// Creates a key file with a new key, or reads the one that is there already. Tells whether it is new.
pub(crate) fn create(path: &Path) -> Result<(SigningKey, bool), Failure> {
    let key = generate()?;
    let new = write(path, &key).doing(format_args!("creating the key file {}", path.display()))?;
    if new {
        return Ok((key, true));
    }
    open(path).map(|key| (key, false))
}

/// A new key from the system's randomness.
pub(crate) fn generate() -> Result<SigningKey, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| {
        Failure::new(format_args!("the system gives no randomness for a new key: {error}"))
    })?;
    Ok(SigningKey::from_seed(*seed))
}

fn read(path: &Path) -> Result<Option<SigningKey>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).doing(format_args!("opening the key file {}", path.display())),
    };
    refuse_shared(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST_FILE)
        .read_to_string(&mut text)
        .doing(format_args!("reading the key file {}", path.display()))?;
    let key = SigningKey::from_seed_hex(text.trim_ascii())
        .doing(format_args!("reading the key file {}", path.display()))
        .hint("restore the file from a backup; a new key would not verify what the old one signed")?;
    Ok(Some(key))
}

/// A key that others can read may already be theirs. Pipes and terminals have no rights to speak of.
#[cfg(unix)]
fn refuse_shared(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata().doing(format_args!("looking at the key file {}", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        let shown = path.display();
        return Err(Failure::new(format_args!(
            "others can read the key file {shown}: its mode is {mode:03o}"
        ))
        .hint(format_args!("if nobody else has seen it, run: chmod 600 {shown}")));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_shared(_path: &Path, _file: &File) -> Result<(), Failure> {
    Ok(())
}

/// Writes the key unless the file exists; tells whether it did.
fn write(path: &Path, key: &SigningKey) -> io::Result<bool> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    private_folder(folder)?;
    let draft = folder.join(format!(".new-key-{}", uuid::Uuid::now_v7()));
    let written = write_draft(&draft, key).and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    let removed = fs::remove_file(&draft);
    let new = written?;
    removed?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(new)
}

fn write_draft(draft: &Path, key: &SigningKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(key.seed_hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}
