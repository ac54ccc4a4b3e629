//! The two scopes, as a set.

use std::fmt;

use crate::auth::{SCOPE_INVOKE, SCOPE_READ};

/// A non-empty set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scopes {
    read: bool,
    invoke: bool,
}

impl Scopes {
    /// Everything that there is: what a request without `scope` asks for (RFC 6749 section 3.3).
    pub(super) const ALL: Scopes = Scopes { read: true, invoke: true };

    /// Reads a `scope` parameter. None when it is empty or names a scope that does not exist.
    pub(super) fn parse(text: &str) -> Option<Scopes> {
        let mut scopes = Scopes { read: false, invoke: false };
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                SCOPE_READ => scopes.read = true,
                SCOPE_INVOKE => scopes.invoke = true,
                _ => return None,
            }
        }
        (scopes.read || scopes.invoke).then_some(scopes)
    }

    /// Whether every scope of this set is in `other`.
    pub(super) fn is_within(self, other: Scopes) -> bool {
        (!self.read || other.read) && (!self.invoke || other.invoke)
    }

    /// Whether tools may be called.
    pub(super) fn may_invoke(self) -> bool {
        self.invoke
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.read, self.invoke) {
            (true, true) => "chio.read chio.invoke",
            (true, false) => SCOPE_READ,
            (false, _) => SCOPE_INVOKE,
        })
    }
}
