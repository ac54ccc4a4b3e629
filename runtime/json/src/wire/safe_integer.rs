//! An integer field from 0 to 2^53 − 1, checked when it is read and when it is written.

use serde::{Deserializer, Serializer};

use super::integer;

/// The largest integer a field of ours may hold: 2^53 − 1, which every JSON implementation keeps exactly.
pub const MAX: u64 = 9_007_199_254_740_991;

/// # Errors
/// Anything but an integer from 0 to 2^53 − 1.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    integer::read::<0, MAX, D>(deserializer)
}

/// # Errors
/// A greater value, which only a program of ours can have put there.
pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    integer::write::<0, MAX, S>(value, serializer)
}

/// The same for a field that may be absent.
pub mod optional {
    use super::*;

    /// # Errors
    /// Anything but an integer from 0 to 2^53 − 1; `null` is refused.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        integer::read_present::<0, MAX, D>(deserializer)
    }

    /// # Errors
    /// A greater value, which only a program of ours can have put there.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        integer::write_option::<0, MAX, S>(value, serializer)
    }
}

/// The same for a field that may be null.
pub mod nullable {
    use super::*;

    /// # Errors
    /// Anything but `null` or an integer from 0 to 2^53 − 1.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        integer::read_nullable::<0, MAX, D>(deserializer)
    }

    /// # Errors
    /// A greater value, which only a program of ours can have put there.
    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        integer::write_option::<0, MAX, S>(value, serializer)
    }
}
