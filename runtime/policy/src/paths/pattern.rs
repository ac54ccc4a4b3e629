//! Patterns of forbidden paths and of exceptions.

use chio_spec::ReceiptRule;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::decode::caseless;
use super::reading::Form;

/// Homes of users, so that `~/x` and what `~` stands for are one rule.
const HOMES: &[&str] = &["~", "/home/*", "/Users/*", "/root", "/var/root"];

/// A pattern in the words of its author, and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct PathPattern {
    pub(crate) pattern: String,
    pub(crate) rule: ReceiptRule,
}

/// A pattern that is not a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternFault {
    /// Whether it is an exception.
    pub(crate) exception: bool,
    /// Position of the pattern in the list given.
    pub(crate) index: usize,
    pub(crate) problem: String,
}

/// Forbidden patterns and their exceptions, compiled.
#[derive(Debug)]
pub(crate) struct PathRules {
    forbidden: GlobSet,
    /// For each compiled glob, the position of its pattern.
    origin: Vec<usize>,
    patterns: Vec<PathPattern>,
    exceptions: GlobSet,
}

impl PathRules {
    pub(crate) fn compile(patterns: Vec<PathPattern>, exceptions: &[String]) -> Result<Self, PatternFault> {
        let mut forbidden = GlobSetBuilder::new();
        let mut origin = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            for glob in forbidding(&pattern.pattern) {
                let fault = |problem| PatternFault { exception: false, index, problem };
                forbidden.add(glob_of(&caseless(&glob)).map_err(fault)?);
                origin.push(index);
            }
        }
        let mut allowed = GlobSetBuilder::new();
        for (index, pattern) in exceptions.iter().enumerate() {
            let fault = |problem| PatternFault { exception: true, index, problem };
            allowed.add(glob_of(pattern.strip_prefix("./").unwrap_or(pattern)).map_err(fault)?);
        }
        let built = |set: GlobSetBuilder, exception| {
            set.build().map_err(|error| PatternFault { exception, index: 0, problem: error.to_string() })
        };
        Ok(Self { forbidden: built(forbidden, false)?, origin, patterns, exceptions: built(allowed, true)? })
    }

    /// The first pattern, in the order of the policy, that forbids this form.
    pub(crate) fn forbids(&self, form: &Form) -> Option<&PathPattern> {
        if !self.forbidden.is_match(&form.caseless) || self.exceptions.is_match(&form.exact) {
            return None;
        }
        let matches = self.forbidden.matches(&form.caseless);
        let first = matches.into_iter().filter_map(|glob| self.origin.get(glob)).min()?;
        self.patterns.get(*first)
    }
}

fn glob_of(pattern: &str) -> Result<Glob, String> {
    if pattern.trim().is_empty() {
        return Err("the pattern is empty".to_owned());
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| error.kind().to_string())
}

/// The globs that together forbid what the pattern means.
fn forbidding(pattern: &str) -> Vec<String> {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let anchored = if let Some(below_home) = pattern.strip_prefix("~/") {
        HOMES.iter().map(|home| format!("{home}/{below_home}")).collect()
    } else if pattern.starts_with('/') || pattern.starts_with("**") {
        vec![pattern.to_owned()]
    } else if pattern.is_empty() {
        vec![String::new()]
    } else {
        vec![format!("**/{pattern}")]
    };
    let mut globs = Vec::new();
    for glob in anchored {
        // A relative path is also compared with absolute patterns: the server's directory may be the root.
        let from_root = glob.strip_prefix('/').map(str::to_owned);
        for glob in std::iter::once(glob).chain(from_root) {
            if let Some(directory) = glob.strip_suffix("/**").or_else(|| glob.strip_suffix('/')) {
                globs.push(directory.to_owned());
                globs.push(format!("{directory}/**"));
            } else {
                globs.push(glob);
            }
        }
    }
    globs.retain(|glob| !glob.is_empty() || pattern.is_empty());
    globs
}
