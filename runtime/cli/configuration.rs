//! `chio.yaml`: how the process itself behaves.

use std::collections::HashMap;
use std::path::Path;

use chio_config::ChioConfig;

use super::failure::{Failure, OrFail};
use super::home::Home;

/// The configuration of a home folder, if it has one.
pub(crate) fn read(home: &Home) -> Result<Option<ChioConfig>, Failure> {
    read_file(&home.path()?.join("chio.yaml"))
}

/// The configuration in a file, if it exists.
pub(crate) fn read_file(path: &Path) -> Result<Option<ChioConfig>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).doing(format_args!("reading {}", path.display())),
    };
    let variables: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let name = path.display().to_string();
    Ok(Some(ChioConfig::parse(&text, &name, variables)?))
}
