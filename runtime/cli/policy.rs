//! Which policy is in force: the file that was named, else `policy.yaml` of the home folder, else the safe preset.
//!
//! Whatever it says, the home folder itself is out of reach of every tool: whoever can read its keys signs receipts and
//! issues capabilities, and whoever can write its policy decides.

use std::path::Path;

use chio_policy::EffectivePolicy;

use super::failure::{Failure, OrFail};
use super::home::Home;

/// The file in the home folder.
pub(crate) const FILE: &str = "policy.yaml";

/// The policy in force.
pub(crate) fn effective(home: &Home, given: Option<&Path>) -> Result<EffectivePolicy, Failure> {
    let policy = match written(home, given)? {
        Some(policy) => policy,
        None => EffectivePolicy::safe_preset()?,
    };
    Ok(policy.protecting(home.path()?)?)
}

/// The safe preset, whatever the home says.
pub(crate) fn preset(home: &Home) -> Result<EffectivePolicy, Failure> {
    Ok(EffectivePolicy::safe_preset()?.protecting(home.path()?)?)
}

/// The policy that an operator wrote, if there is one.
pub(crate) fn written(home: &Home, given: Option<&Path>) -> Result<Option<EffectivePolicy>, Failure> {
    if let Some(path) = given {
        return read(path).map(Some);
    }
    let path = home.path()?.join(FILE);
    if path.exists() { read(&path).map(Some) } else { Ok(None) }
}

fn read(path: &Path) -> Result<EffectivePolicy, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).doing(format_args!("reading the policy {name}"))?;
    Ok(EffectivePolicy::parse(&text, &name)?)
}
