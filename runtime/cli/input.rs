//! Reading what the user names: a file, `-` for standard input, or JSON written on the command line.

use std::io::Read;
use std::path::Path;

use serde_json::value::RawValue;

use super::failure::{Failure, OrFail};

/// The text behind an argument: standard input for `-`, the argument itself when it is a JSON object or array, else the
/// contents of the file of that name.
pub(crate) fn text(argument: &str) -> Result<String, Failure> {
    if argument == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).doing("reading standard input")?;
        return Ok(text);
    }
    if argument.trim_ascii_start().starts_with(['{', '[']) {
        return Ok(argument.to_owned());
    }
    std::fs::read_to_string(Path::new(argument))
        .doing(format_args!("reading {argument}"))
        .hint("name a file, write - for standard input, or give the JSON itself")
}

/// The JSON values in a text, each exactly as it is written: several in a row, and the elements of arrays. Text that is
/// not JSON is the error, in words.
pub(crate) fn values(text: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        let value = value.map_err(|error| error.to_string())?;
        if value.get().starts_with('[') {
            let elements: Vec<Box<RawValue>> =
                serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
            values.extend(elements.into_iter().map(|element| element.get().to_owned()));
        } else {
            values.push(value.get().to_owned());
        }
    }
    Ok(values)
}
