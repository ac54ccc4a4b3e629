//! An integer within the bounds that its schema states, checked when it is read and when it is written.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Unexpected};
use serde::ser::{self, Serialize, Serializer};

/// An integer from `MIN` to `MAX`, where a field's attribute cannot say so.
pub struct Bounded<const MIN: u64, const MAX: u64>(pub u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&value) {
            return Ok(Self(value));
        }
        Err(de::Error::invalid_value(Unexpected::Unsigned(value), &Bounds { min: MIN, max: MAX }))
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Bounded<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if (MIN..=MAX).contains(&self.0) {
            return serializer.serialize_u64(self.0);
        }
        Err(ser::Error::custom(format_args!("{} is not {}", self.0, Bounds { min: MIN, max: MAX })))
    }
}

/// # Errors
/// Anything but an integer from `MIN` to `MAX`.
pub fn read<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<u64, D::Error>
where
    D: Deserializer<'de>,
{
    Bounded::<MIN, MAX>::deserialize(deserializer).map(|value| value.0)
}

/// # Errors
/// Anything but an integer from `MIN` to `MAX`; `null` is refused.
pub fn read_present<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<Option<u64>, D::Error>
where
    D: Deserializer<'de>,
{
    read::<MIN, MAX, D>(deserializer).map(Some)
}

/// # Errors
/// Anything but `null` or an integer from `MIN` to `MAX`.
pub fn read_nullable<'de, const MIN: u64, const MAX: u64, D>(deserializer: D) -> Result<Option<u64>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<Bounded<MIN, MAX>>::deserialize(deserializer)?.map(|value| value.0))
}

/// # Errors
/// A value outside `MIN..=MAX`, which only a program of ours can have put there.
pub fn write<const MIN: u64, const MAX: u64, S>(value: &u64, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
{
    Bounded::<MIN, MAX>(*value).serialize(serializer)
}

/// # Errors
/// A value outside `MIN..=MAX`, which only a program of ours can have put there.
pub fn write_option<const MIN: u64, const MAX: u64, S>(
    value: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error>
where
    S: Serializer,
{
    value.map(Bounded::<MIN, MAX>).serialize(serializer)
}

struct Bounds {
    min: u64,
    max: u64,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from {} to {}", self.min, self.max)
    }
}

impl de::Expected for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
