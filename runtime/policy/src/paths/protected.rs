//! Folders that no policy opens, whatever its patterns and exceptions say: where Chio keeps its keys and its log.
//!
//! Unlike a pattern, such a folder is a place, not a name. So it is known by its real path, which is what identifies it,
//! and is recognised under every name that leads there as far as words can tell: the path it was given by, with symbolic
//! links resolved and not, from the root, from the working folder (which tool servers inherit) and from the user's home
//! (`~`). A relative name of one segment stands for the folder only with something below it: otherwise `--home state`
//! would deny every argument that is the word `state`.

use std::io;
use std::path::{Path, PathBuf};

use super::reading::{Form, plain_forms};

/// A folder that no policy opens.
#[derive(Clone, Debug)]
pub(crate) struct Protected {
    /// The real path: the identity of the folder.
    path: String,
    /// All names of the folder, without case.
    names: Vec<String>,
}

impl Protected {
    /// Finds out how the folder may be called here. It need not exist.
    pub(crate) fn find(folder: &Path) -> io::Result<Self> {
        let given = std::path::absolute(folder)?;
        let real = real(&given);
        let both = |path: Option<PathBuf>| -> Vec<PathBuf> {
            path.map(|path| vec![path.canonicalize().unwrap_or_else(|_| path.clone()), path])
                .unwrap_or_default()
        };
        let surroundings =
            Surroundings { working: both(std::env::current_dir().ok()), user: both(std::env::home_dir()) };
        Self::named(&real, &given, &surroundings)
    }

    fn named(real: &Path, given: &Path, surroundings: &Surroundings) -> io::Result<Self> {
        let mut names = Vec::new();
        for name in [real, given].into_iter().flat_map(absolute_names) {
            for working in surroundings.working.iter().flat_map(|path| starts(path)) {
                names.extend(relative(&name, &working));
            }
            for user in surroundings.user.iter().flat_map(|path| starts(path)) {
                names.extend(
                    name.strip_prefix(&user)
                        .filter(|rest| starts_segment(rest))
                        .map(|rest| format!("~{rest}")),
                );
            }
            names.extend(name.strip_prefix('/').map(str::to_owned));
            names.push(name);
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "every path lies in it"));
        }
        Ok(Self { path: real.to_string_lossy().into_owned(), names })
    }

    /// The real path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Takes in the names under which the same folder was given once more.
    pub(crate) fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
        self.names.sort();
        self.names.dedup();
    }

    /// Whether the form names the folder or something in it.
    pub(crate) fn covers(&self, form: &Form) -> bool {
        self.names.iter().any(|name| match form.caseless.strip_prefix(name.as_str()) {
            Some("") => name.contains('/') || name.starts_with(['.', '~']),
            Some(rest) => starts_segment(rest),
            None => false,
        })
    }
}

/// From where relative names lead to a folder.
struct Surroundings {
    /// Names of the working folder.
    working: Vec<PathBuf>,
    /// Names of the user's home.
    user: Vec<PathBuf>,
}

/// The path with the symbolic links of what exists of it resolved.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

/// The absolute forms of a path, which are what arguments are compared with.
fn absolute_names(path: &Path) -> Vec<String> {
    // Calls under a name that cannot be read are refused.
    let forms = plain_forms(&path.to_string_lossy()).unwrap_or_default();
    forms.into_iter().map(|form| form.caseless).filter(|name| name.starts_with('/')).collect()
}

/// What the absolute form of a path in the folder may start with; nothing for the root.
fn starts(folder: &Path) -> Vec<String> {
    let names = absolute_names(folder);
    if names.is_empty() { vec![String::new()] } else { names }
}

/// How `name` is called from `working`, without the leading `..`, which forms have lost too; `None` from inside it, where
/// every relative path would be meant.
fn relative(name: &str, working: &str) -> Option<String> {
    let (mut rest, mut from) = (name.split('/').peekable(), working.split('/').peekable());
    while rest.peek().is_some() && rest.peek() == from.peek() {
        rest.next();
        from.next();
    }
    let rest: Vec<&str> = rest.collect();
    (!rest.is_empty()).then(|| rest.join("/"))
}

fn starts_segment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use crate::paths::{Kind, forms};

    fn protected(real: &str, given: &str, working: &str, user: &str) -> Protected {
        let surroundings = Surroundings { working: vec![working.into()], user: vec![user.into()] };
        Protected::named(Path::new(real), Path::new(given), &surroundings).unwrap()
    }

    fn covers(folder: &Protected, text: &str) -> bool {
        forms(text, Kind::Path).unwrap().iter().any(|form| folder.covers(form))
    }

    #[test]
    fn a_folder_is_known_under_all_its_names() {
        let folder = protected("/data/Chio", "/srv/link/../state", "/data/projects/app", "/home/u");
        for text in [
            "/data/chio",
            "/data/chio/keys/kernel.key",
            "/DATA/Chio/",
            "/srv/state/chio.db",
            "/srv/x/../state",
            "srv/state/chio.db",
            "../../data/chio/x",
            "../../chio/keys",
            "../Chio/keys",
            "\\data\\chio\\x",
            "file:///data/chio/policy.yaml",
            "file:///data/%63hio",
            "/proc/self/root/data/chio",
        ] {
            assert!(covers(&folder, text), "{text}");
        }
        for text in
            ["/data/chiot", "/data", "chio", "/srv/chio/x", "/x/data/chio", "state", "~/chio", "a/chio/x", ""]
        {
            assert!(!covers(&folder, text), "{text}");
        }
    }

    #[test]
    fn a_folder_in_the_working_folder_or_the_users_home() {
        let folder = protected("/home/u/state", "/home/u/state", "/home/u", "/home/u");
        for text in [
            "state/chio.db",
            "./state/keys",
            "/proc/self/cwd/state/keys",
            "~/state",
            "$HOME/state/keys",
            "/home/u/state",
        ] {
            assert!(covers(&folder, text), "{text}");
        }
        // The bare word is a word.
        assert!(!covers(&folder, "state"));
        let hidden = protected("/home/u/.chio", "/home/u/.chio", "/home/u", "/home/u");
        assert!(covers(&hidden, ".chio"));
        // From inside the folder every relative path would be meant.
        let around = protected("/home/u", "/home/u", "/home/u/app", "/home/u");
        assert!(covers(&around, "~") && covers(&around, "/home/u/x") && !covers(&around, "x"));
    }

    #[test]
    fn a_user_or_a_server_may_live_in_the_root() {
        let folder = protected("/.chio", "/.chio", "/", "/");
        assert!(covers(&folder, "~/.chio/keys") && covers(&folder, ".chio") && !covers(&folder, "~/chio"));
    }

    #[test]
    fn the_root_is_no_folder_to_protect() {
        let surroundings = Surroundings { working: Vec::new(), user: Vec::new() };
        assert!(Protected::named(Path::new("/"), Path::new("/"), &surroundings).is_err());
    }
}
