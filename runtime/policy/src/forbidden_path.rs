//! The forbidden-path guard: secrets stay out of every argument of every tool.
//!
//! What counts as a path, and how it is compared, is decided in [`crate::paths`].

use std::ops::ControlFlow;

use chio_config::{ForbiddenPath, Located, Place};
use chio_spec::ReceiptRule;

use crate::effective::Origin;
use crate::paths::{self, Candidate, Kind, PathPattern, PathRules, Protected, Unreadable};
use crate::{Guard, GuardCall, GuardError, PolicyError, Verdict};

/// Longest piece of an argument that is shown to the operator, in characters.
const SHOWN: usize = 200;

/// The guard `forbidden-path`, configured by `guards.forbidden_path`.
#[derive(Debug)]
pub struct ForbiddenPathGuard {
    rules: PathRules,
    protected: Vec<Protected>,
    unreadable: ReceiptRule,
}

impl ForbiddenPathGuard {
    /// The guard of a policy read from `source`, or of a built-in one if there is no source. `built_in` are the
    /// patterns in force when the options name none.
    ///
    /// # Errors
    ///
    /// A pattern or exception that is not a glob, with its place.
    pub fn new(
        options: &ForbiddenPath,
        built_in: &[Located<String>],
        source: Option<&str>,
    ) -> Result<Self, PolicyError> {
        let origin = Origin(source);
        let (patterns, patterns_origin) = match &options.patterns {
            Some(patterns) => (patterns.as_slice(), Origin(source)),
            None => (built_in, Origin(None)),
        };
        let compiled = |list: &[Located<String>], key: &str, origin: &Origin<'_>| -> Vec<PathPattern> {
            let pattern = |(index, pattern): (usize, &Located<String>)| PathPattern {
                pattern: pattern.value.clone(),
                rule: origin.rule(format!("guards.forbidden_path.{key}[{index}]"), pattern),
            };
            list.iter().enumerate().map(pattern).collect()
        };
        let mut all = compiled(patterns, "patterns", &patterns_origin);
        all.extend(compiled(&options.additional_patterns, "additional_patterns", &origin));
        let exceptions: Vec<String> =
            options.exceptions.iter().map(|exception| exception.value.clone()).collect();
        let rules = PathRules::compile(all, &exceptions).map_err(|fault| {
            let written = match fault.exception {
                true => options.exceptions.get(fault.index),
                false => patterns.iter().chain(&options.additional_patterns).nth(fault.index),
            };
            let place = match written {
                Some(pattern) => Place::of(source.unwrap_or("the built-in policy"), pattern),
                None => {
                    Place { file: source.unwrap_or("the built-in policy").to_owned(), line: 0, column: 0 }
                }
            };
            let pattern = written.map(|pattern| pattern.value.clone()).unwrap_or_default();
            PolicyError::Pattern { place, pattern, problem: fault.problem }
        })?;
        let unreadable = ReceiptRule::new("guards.forbidden_path".to_owned());
        Ok(Self { rules, protected: Vec::new(), unreadable })
    }

    /// The guard that also keeps everybody out of `protected`, which no exception opens.
    pub(crate) fn protecting(self, protected: Vec<Protected>) -> Self {
        Self { protected, ..self }
    }

    fn denial(&self, candidate: Candidate<'_>) -> Option<Verdict> {
        let shown = Shown { candidate };
        let forms = match paths::forms(candidate.text, candidate.kind) {
            Ok(forms) => forms,
            Err(fault) => {
                let found = match fault {
                    Unreadable::Nul => "contains a NUL",
                    Unreadable::Control => "contains a control character, which some readers drop",
                    Unreadable::Encoded => "is percent-encoded too often to be read",
                    Unreadable::Roundabout => "leads through the roots of processes again and again",
                    Unreadable::Manifold => "is long and could be read as a path in too many ways",
                };
                return Some(Verdict::Deny {
                    reason: "an argument is not a readable path".to_owned(),
                    rule: Box::new(self.unreadable.clone()),
                    details: format!("{shown} {found}"),
                });
            }
        };
        let protected = |(_, folder): &(usize, &Protected)| forms.iter().any(|form| folder.covers(form));
        if let Some((index, folder)) = self.protected.iter().enumerate().find(protected) {
            return Some(Verdict::Deny {
                reason: "the path is not permitted by policy".to_owned(),
                rule: Box::new(ReceiptRule::new(format!("guards.forbidden_path.protected[{index}]"))),
                details: format!("{shown} lies in {:?}, which no policy opens to tools", folder.path()),
            });
        }
        let forbidding = forms.iter().find_map(|form| self.rules.forbids(form))?;
        Some(Verdict::Deny {
            reason: "the path is not permitted by policy".to_owned(),
            rule: Box::new(forbidding.rule.clone()),
            details: format!("{shown} is forbidden by the pattern {:?}", forbidding.pattern),
        })
    }
}

impl Guard for ForbiddenPathGuard {
    fn name(&self) -> &'static str {
        "forbidden-path"
    }

    fn check(&self, call: &GuardCall<'_>) -> Result<Verdict, GuardError> {
        if let Some(text) = call.resource_uri {
            let place = paths::Pointer::Arguments;
            if let Some(denial) = self.denial(Candidate { text, kind: Kind::Uri, place: &place }) {
                return Ok(denial);
            }
        }
        let mut inspected: usize = 0;
        let found = paths::in_arguments(call.arguments, &mut |candidate| {
            inspected += 1;
            match self.denial(candidate) {
                Some(denial) => ControlFlow::Break(denial),
                None => ControlFlow::Continue(()),
            }
        });
        Ok(match found {
            ControlFlow::Break(denial) => denial,
            ControlFlow::Continue(()) => {
                Verdict::Allow { details: format!("no forbidden path among {inspected} candidates") }
            }
        })
    }
}

/// How a candidate is shown to the operator: where it stands, and its text, escaped and not too long.
struct Shown<'a> {
    candidate: Candidate<'a>,
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.candidate.kind {
            Kind::Uri => f.write_str("the resource URI")?,
            Kind::Path | Kind::Prose => write!(f, "the argument {}", self.candidate.place)?,
        }
        let text = self.candidate.text;
        match text.char_indices().nth(SHOWN) {
            None => write!(f, " {text:?}"),
            Some((end, _)) => write!(f, " {:?}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        }
    }
}
