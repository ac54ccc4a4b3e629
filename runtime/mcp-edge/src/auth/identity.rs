//! Stands in for the type of `chio-policy` until that is merged.

use std::collections::{BTreeMap, BTreeSet};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How the caller became known.
    pub method: AuthMethod,
    /// The caller's one name.
    pub principal: String,
    /// Issuer of the token.
    pub issuer: Option<String>,
    /// Subject of the token.
    pub subject: Option<String>,
    /// The client that acts for the subject.
    pub client_id: Option<String>,
    /// What the token permits.
    pub scopes: BTreeSet<String>,
    /// Other claims of the token.
    pub claims: BTreeMap<String, Vec<String>>,
}

/// How a caller became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Not at all.
    Anonymous,
    /// By a pipe.
    Local,
    /// By the static token.
    StaticBearer,
    /// By an OAuth token.
    OauthBearer,
}
