//! Files below a folder, in an order that does not depend on the machine.

use std::io;
use std::path::Path;

/// A folder that Python writes beside every module it imports and that git ignores: neither an input nor an output.
const CACHE: &str = "__pycache__";

/// Paths of all files below `folder`, relative to it, with `/` between their parts, sorted.
///
/// # Errors
/// A folder that cannot be read, or a name that is not UTF-8.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    collect(folder, "", &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            let reason = format!("the name of {} is not UTF-8", Path::new(&name).display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        let path = format!("{prefix}{name}");
        if name == CACHE {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
