//! Regular expressions that came with a token.
//!
//! Their author is the issuer, but an attenuating holder may add some, so they are strangers' input: the
//! engine matches in linear time, and these limits bound what compiling one may cost. An expression that
//! cannot be compiled within them is a constraint that cannot be decided.

use regex::{Regex, RegexBuilder};

use super::{ArgumentView, Verdict};

/// Expressions that one constraint, and all constraints of a token together, may hold. They are compiled for
/// every call.
const COUNT_LIMIT: usize = 64;

/// Bytes that one compiled expression may take.
const SIZE_LIMIT: usize = 1 << 18;

/// Groups within groups.
const NEST_LIMIT: u32 = 64;

/// At least one string leaf matches.
pub(super) fn some_match(expression: &str, arguments: &ArgumentView) -> Verdict {
    let Some(expression) = compile(expression) else { return invalid() };
    let none =
        arguments.every_string(&mut |_, text| if expression.is_match(text) { Err(()) } else { Ok(()) });
    match none {
        Err(()) => Ok(()),
        Ok(()) => Err("no string among the arguments matches".into()),
    }
}

/// No string leaf matches any of the expressions.
pub(super) fn no_match(expressions: &[String], arguments: &ArgumentView) -> Verdict {
    few(expressions.len())?;
    for expression in expressions {
        let Some(compiled) = compile(expression) else { return invalid() };
        arguments.every_string(&mut |_, text| {
            if compiled.is_match(text) {
                return Err(format!(
                    "a string among the arguments matches the denied pattern {expression:?}"
                ));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether so many expressions may be compiled.
pub(super) fn few(expressions: usize) -> Verdict {
    if expressions <= COUNT_LIMIT {
        return Ok(());
    }
    Err(format!(
        "invalid capability constraint: more than {COUNT_LIMIT} regular expressions; put several into one with `|`"
    )
    .into())
}

fn compile(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build()
        .ok()
}

fn invalid() -> Verdict {
    Err("invalid capability constraint: the regular expression cannot be compiled within its limits".into())
}
