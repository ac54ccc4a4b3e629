//! `chio init`: a home with keys and a policy to edit. No command needs it; it is for those who want to begin with
//! their own policy.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::failure::{Answer, Failure, OrFail};
use super::home::Home;
use super::keys::{self, Role};
use super::output::Output;
use super::policy;

/// The safe preset with its comments.
const PRESET: &str = include_str!("../policy/presets/safe.yaml");

/// What stands above it in a home's own policy.
const HEAD: &str = "\
# The policy of this home, in force for `chio wrap` and `chio serve` unless --policy names another file.
#
# It begins as the safe preset: secrets, credential stores, version control data and Chio's own state are out of
# reach of every tool and resource; everything else is allowed, and every call has its receipt. Try a change with:
#   chio check --tool read_file --params '{\"path\":\".env\"}'
";

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    home: &'a Path,
    kernel_key: String,
    authority_key: String,
    policy: &'a Path,
    policy_created: bool,
}

impl Init {
    pub(crate) fn run(&self, home: &Home) -> Result<Answer, Failure> {
        let path = home.ensure()?;
        let kernel = keys::load_or_create(home, Role::Kernel)?.public();
        let authority = keys::load_or_create(home, Role::Authority)?.public();
        let policy = path.join(policy::FILE);
        let policy_created = write_new(&policy).doing(format_args!("writing {}", policy.display()))?;
        let mut out = Output::new();
        if self.json {
            out.json(&Report {
                home: path,
                kernel_key: kernel.to_string(),
                authority_key: authority.to_string(),
                policy: &policy,
                policy_created,
            })?;
            return Ok(Answer::Yes);
        }
        let note =
            if policy_created { "written, ready to edit" } else { "was there before and is unchanged" };
        out.line(format!("home       {}", path.display()))?;
        out.line(format!("kernel     {kernel} signs receipts"))?;
        out.line(format!("authority  {authority} issues capabilities"))?;
        out.line(format!("policy     {} {note}", policy.display()))?;
        Ok(Answer::Yes)
    }
}

/// Writes the policy unless the file exists; tells whether it did.
fn write_new(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    file.write_all(text().as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

/// The preset under a head of its own: what its own head says is about the preset.
fn text() -> String {
    let body = PRESET.split_once("\n\n").map_or(PRESET, |(_, body)| body);
    format!("{HEAD}\n{body}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chio_policy::EffectivePolicy;

    #[test]
    fn the_written_policy_is_the_safe_preset() {
        let written = EffectivePolicy::parse(&super::text(), "policy.yaml").unwrap();
        assert_eq!(written.hash(), EffectivePolicy::safe_preset().unwrap().hash());
    }
}
