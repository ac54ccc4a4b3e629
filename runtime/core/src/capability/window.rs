//! The validity window: from `issued_at` on, and up to but not including `expires_at`.
//!
//! There is no leeway here. A token is never accepted one second late; a kernel whose callers have fast
//! clocks waits.

use std::fmt;

/// Where a moment lies relative to a token's validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeStatus {
    /// `issued_at ≤ now < expires_at`.
    Valid,
    /// `now ≥ expires_at`.
    Expired,
    /// `now < issued_at`.
    NotYetValid,
}

impl TimeStatus {
    /// The name that reports use: `valid`, `expired` or `not_yet_valid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TimeStatus::Valid => "valid",
            TimeStatus::Expired => "expired",
            TimeStatus::NotYetValid => "not_yet_valid",
        }
    }
}

impl fmt::Display for TimeStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Places `now` in the window of a token; all three are Unix seconds. An empty or inverted window is never
/// valid.
#[must_use]
pub fn time_status(issued_at: u64, expires_at: u64, now: u64) -> TimeStatus {
    if now >= expires_at {
        TimeStatus::Expired
    } else if now < issued_at {
        TimeStatus::NotYetValid
    } else {
        TimeStatus::Valid
    }
}
