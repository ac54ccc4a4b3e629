//! Readers of single values that refuse what the type alone would let through.

use serde::{Deserialize, Deserializer};

use crate::Located;

/// An optional key that, when written, must have a value: a null is refused instead of read as absence.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

pub(crate) fn present_positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = u32::deserialize(deserializer)?;
    at_least_one(u64::from(number))?;
    Ok(Some(number))
}

pub(crate) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    at_least_one(number)?;
    Ok(number)
}

fn at_least_one<E: serde::de::Error>(number: u64) -> Result<(), E> {
    match number {
        0 => Err(E::custom("the number must be at least 1")),
        _ => Ok(()),
    }
}

pub(crate) fn non_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(serde::de::Error::custom("the list is empty; name at least one operation"));
    }
    Ok(list)
}

pub(crate) fn name_or_star<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    NameOrStar::deserialize(deserializer).map(|name| name.0)
}

pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Located<String>>, D::Error> {
    let names: Vec<Located<NameOrStar>> = Vec::deserialize(deserializer)?;
    Ok(names.into_iter().map(|name| name.map(|name| name.0)).collect())
}

/// Names are exact or `*`: a star inside a longer name would match nothing, so it is refused. The wire allows
/// 512 characters.
struct NameOrStar(String);

impl<'de> Deserialize<'de> for NameOrStar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let exact = !name.is_empty() && !name.contains('*') && name.chars().count() <= 512;
        if exact || name == "*" {
            return Ok(Self(name));
        }
        Err(serde::de::Error::custom(format!(
            "{name:?} is not a name; write an exact name of 1 to 512 characters, or \"*\" for all of them"
        )))
    }
}

pub(crate) fn present_pattern<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    pattern_with_final_star(deserializer).map(Some)
}

pub(crate) fn pattern_with_final_star<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let pattern = String::deserialize(deserializer)?;
    let before_last = pattern.strip_suffix('*').unwrap_or(&pattern);
    if pattern.is_empty() || before_last.contains('*') {
        return Err(serde::de::Error::custom(format!(
            "{pattern:?} is not a pattern; write an exact value, a prefix followed by one \"*\", or \"*\""
        )));
    }
    Ok(pattern)
}
