//! The two durable batches of a call, in the words of the kernel.
//!
//! A call that may run is *admitted*: every fact that could have changed since the kernel looked is looked at again,
//! and everything the call consumes is taken, in one transaction. A call that ended is *completed*: what it took is
//! settled, its intent is closed and its receipt becomes a leaf of the log, in one transaction. A denial that never
//! got as far as an admission is only appended.

use std::sync::Arc;

use chio_json::{PublicKeyHex, Sha256Hex};

/// A capability token as the kernel verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The id the issuer chose. It is bound to `digest` the first time the store sees it.
    pub id: String,
    /// SHA-256 of the bytes that the token's signature covers. Two texts of one token (other white space, an explicit
    /// `algorithm`) share it.
    pub digest: Sha256Hex,
    /// The exact text that was verified; kept as lineage for descendants that arrive without their ancestors.
    pub text: Arc<str>,
}

/// A proof-of-possession nonce to be used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceClaim {
    /// The public key that signed the proof. Two keys may use the same nonce.
    pub key: PublicKeyHex,
    /// The nonce as it stands in the proof.
    pub nonce: String,
    /// Unix seconds until which (inclusive) a second use is refused: issue time + lifetime + clock skew.
    pub keep_until: u64,
}

/// One invocation to be charged to one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The capability whose grant is charged: the presented one or an ancestor.
    pub capability_id: String,
    /// The index of the grant in that capability.
    pub grant_index: u32,
    /// How many invocations the grant allows in all.
    pub limit: u64,
}

/// Everything a call needs before it may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The agent that calls and every agent whose authority it uses (those that delegated to it), as the emergency stop
    /// names them: stopping one stops what it passed on.
    pub agents: Vec<String>,
    /// The kernel's clock, Unix seconds.
    pub now: u64,
    /// The presented capability.
    pub token: Token,
    /// Its ancestors, all of them, in any order.
    pub ancestors: Vec<Token>,
    /// The nonce of the proof, when the grant demands one.
    pub nonce: Option<NonceClaim>,
    /// The grants to charge: all of them or none.
    pub charges: Vec<Charge>,
    /// What is known about the call, for the `incomplete` receipt should this process die: any text of the kernel's.
    /// `None` only when the operator marked the tool read-only.
    pub intent: Option<String>,
}

/// Whether a call may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionOutcome {
    /// It may: what it needs is taken and durable.
    Admitted(Ticket),
    /// It may not. Nothing was changed.
    Refused(Refusal),
}

/// Why a call may not run. The first reason in the decision order wins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// An emergency stop is in force.
    Stopped {
        /// The stopped agent, or `None` when everything is stopped.
        agent: Option<String>,
    },
    /// The capability or one of its ancestors is revoked.
    Revoked {
        /// The revoked id.
        id: String,
    },
    /// The id belongs to another token already.
    IdRebound {
        /// The id in question.
        id: String,
    },
    /// The nonce was used before.
    Replay,
    /// No room is left for nonces. Dropping a live one would allow its replay, so the call is refused instead.
    NonceTableFull,
    /// A grant has no invocation left.
    BudgetExhausted {
        /// The capability whose grant is used up.
        capability_id: String,
        /// The index of that grant.
        grant_index: u32,
        /// How many invocations it allowed.
        limit: u64,
    },
}

/// Proof of an admission: what must be settled and closed when the call ends.
///
/// Dropping it leaves the charge in place and the intent open until this process ends; then the intent counts as dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) intent: Option<u64>,
    pub(crate) charges: Vec<(String, u32)>,
}

/// What becomes of the invocations an admission reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The tool ran, or nobody knows: they are spent.
    Charge,
    /// The tool certainly did not run: they are given back.
    Release,
}

/// The verdict of a receipt, as the log indexes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The call was allowed.
    Allow,
    /// The call was denied.
    Deny,
    /// The call was cancelled.
    Cancelled,
    /// The call did not come to an end, or its end is unknown.
    Incomplete,
}

impl Outcome {
    pub(crate) const fn to_integer(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Deny => 1,
            Self::Cancelled => 2,
            Self::Incomplete => 3,
        }
    }
}

/// A signed receipt on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReceipt {
    /// The receipt's id. No two receipts share one.
    pub id: String,
    /// The receipt's timestamp, Unix seconds.
    pub timestamp: u64,
    /// Its verdict.
    pub outcome: Outcome,
    /// The capability it names.
    pub capability_id: String,
    /// The tool server it names.
    pub server: String,
    /// The tool it names.
    pub tool: String,
    /// The canonical text of the whole signed receipt. Exactly these bytes are the leaf.
    pub text: String,
}

/// The end of an admitted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the admission handed out.
    pub ticket: Ticket,
    /// What becomes of its reservation.
    pub settlement: Settlement,
    /// The receipt that closes it.
    pub receipt: NewReceipt,
}

/// Where a receipt stands in the log. It is durable when this is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number, counted from 1.
    pub seq: u64,
    /// Its leaf, counted from 0.
    pub leaf_index: u64,
    /// The size of the first tree that contains it.
    pub tree_size: u64,
}

/// An intent whose process is gone: the call may or may not have run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadIntent {
    /// To be completed with a receipt that says `incomplete`. When two processes try, one of them gets
    /// [`StoreError::IntentClosed`](crate::StoreError::IntentClosed) and no second receipt.
    pub ticket: Ticket,
    /// What the kernel knew about the call when it was admitted.
    pub context: String,
    /// When it was admitted, Unix seconds.
    pub admitted_at: u64,
}
