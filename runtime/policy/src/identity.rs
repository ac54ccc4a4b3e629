//! Who calls, as a surface authenticated it, and which of the policy's grants that one is given.

use std::collections::{BTreeMap, BTreeSet};

use chio_config::IdentityRule;
use chio_spec::ReceiptCallerMethod;

/// A caller that presents no capability of its own, as its surface authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How the caller was authenticated.
    pub method: ReceiptCallerMethod,
    /// The caller's stable name on its surface: `local`, `anonymous`, `static:{fingerprint}` or
    /// `{issuer}#{subject}`.
    pub principal: String,
    /// The issuer of the caller's token.
    pub issuer: Option<String>,
    /// The subject of the caller's token.
    pub subject: Option<String>,
    /// The client that the token was issued to.
    pub client_id: Option<String>,
    /// The scopes of the token.
    pub scopes: BTreeSet<String>,
    /// Claims of the token that are text or lists of text.
    pub claims: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The one who started this process and speaks to it through its pipes.
    #[must_use]
    pub fn local() -> Self {
        Self::named(ReceiptCallerMethod::Local, "local")
    }

    /// Anybody who reaches a surface without authentication.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::named(ReceiptCallerMethod::Anonymous, "anonymous")
    }

    /// A caller of whom nothing is known but a name.
    pub fn named(method: ReceiptCallerMethod, principal: impl Into<String>) -> Self {
        Self {
            method,
            principal: principal.into(),
            issuer: None,
            subject: None,
            client_id: None,
            scopes: BTreeSet::new(),
            claims: BTreeMap::new(),
        }
    }

    /// Whether two requests come from the same caller: a token may be renewed and its scopes may change, its
    /// issuer, subject and client may not.
    #[must_use]
    pub fn is_same_caller(&self, other: &Self) -> bool {
        self.method == other.method
            && self.principal == other.principal
            && self.issuer == other.issuer
            && self.subject == other.subject
            && self.client_id == other.client_id
    }

    /// Whether every condition of the rule holds.
    pub(crate) fn is_described_by(&self, rule: &IdentityRule) -> bool {
        let equals = |wanted: &Option<String>, found: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == found)
        };
        let principal = rule.principal.as_ref().is_none_or(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => self.principal.starts_with(prefix),
            None => *pattern == self.principal,
        });
        principal
            && equals(&rule.issuer, self.issuer.as_ref())
            && equals(&rule.subject, self.subject.as_ref())
            && equals(&rule.client_id, self.client_id.as_ref())
            && rule.scopes.iter().all(|scope| self.scopes.contains(scope))
            && rule
                .claims
                .iter()
                .all(|(claim, value)| self.claims.get(claim).is_some_and(|found| found.contains(value)))
    }
}
