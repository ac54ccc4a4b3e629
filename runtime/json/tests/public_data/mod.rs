//! Finds the public test data, which is not part of this repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A file or folder of the public test data.
///
/// Its place is `CHIO_TEST_DATA`, or `shared/data` beside the repository. Without the data a test says so
/// and passes, except in CI (`CI` is set), where it fails.
pub(crate) fn find(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CHIO_TEST_DATA").map_or_else(beside_the_repository, PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    let advice =
        format!("public test data is missing: {}; set CHIO_TEST_DATA to its folder", found.display());
    assert!(std::env::var_os("CI").is_none(), "{advice}");
    eprintln!("SKIPPED, {advice}");
    None
}

/// The files directly in a folder, with their names, sorted.
pub(crate) fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect();
    files.sort();
    files
}

fn beside_the_repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")
}
