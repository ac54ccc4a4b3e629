//! SHA-256 of texts and of folders.

use std::fmt::Write;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The digest of one text, as lower-case hexadecimal digits.
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of some files below `root`: their paths and contents, each preceded by its length so that nothing can
/// move from one into the other.
pub(crate) fn of_files(root: &Path, files: &[String]) -> io::Result<String> {
    let mut digest = Sha256::new();
    for file in files {
        let content = std::fs::read(root.join(file))?;
        for part in [file.as_bytes(), &content] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
    }
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
