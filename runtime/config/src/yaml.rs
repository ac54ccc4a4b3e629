//! Reading YAML strictly, and turning the reader's errors into ours.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use crate::error::{ConfigError, Place};

/// Reads one document. `variables` are substituted for `${NAME}` in plain scalars when given.
///
/// `yes` and `no` are not booleans and merge keys are refused: in a file that decides what is permitted, a
/// value must mean what it looks like.
pub(crate) fn read<T: DeserializeOwned>(
    text: &str,
    source_name: &str,
    variables: Option<HashMap<String, String>>,
) -> Result<T, ConfigError> {
    let mut options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    if let Some(variables) = variables {
        options = options.with_properties(variables);
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error, source_name))
}

fn explain(error: &serde_saphyr::Error, source_name: &str) -> ConfigError {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let place = Place { file: source_name.to_owned(), line, column };
    ConfigError::Syntax { place, problem: error.to_string() }
}
