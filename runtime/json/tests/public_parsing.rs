//! The strict reader against JSONTestSuite (seriot.ch): `y_` must be read, `n_` must be refused, and for
//! `i_`, where the RFC leaves the choice to us, the choice is written down here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod public_data;

use std::fs;

use chio_json::{Json, JsonError, Signed, canonical, strict};
use serde_json::Value;

/// `y_` files that hold a key twice: lawful JSON by the RFC, and refused here on purpose.
const DUPLICATE_KEYS: [&str; 2] = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];

/// `i_` files that are read. A number that is too small becomes zero and one with too many digits the
/// nearest double; one that is too large for a double, anything that is not UTF-8, a byte order mark,
/// a lone surrogate and five hundred nested arrays are refused.
const READ: [&str; 5] = [
    "i_number_double_huge_neg_exp.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
];

#[test]
fn every_file_has_its_verdict() {
    let Some(folder) = public_data::find("json-parsing/test_parsing") else { return };
    let (mut must, mut must_not, mut may) = (0, 0, 0);
    for (name, path) in public_data::files(&folder) {
        let bytes = fs::read(path).unwrap();
        let read = std::str::from_utf8(&bytes).ok().and_then(|text| strict::parse(text).ok());
        let expected = match name.split_at(2).0 {
            "y_" => {
                must += 1;
                !DUPLICATE_KEYS.contains(&name.as_str())
            }
            "n_" => {
                must_not += 1;
                false
            }
            _ => {
                may += 1;
                READ.contains(&name.as_str())
            }
        };
        assert_eq!(read.is_some(), expected, "{name}: {:?}", String::from_utf8_lossy(&bytes));

        // What the scan accepts, the reader accepts; what the reader accepts can be made canonical.
        assert!(canonical::scan(&bytes).is_err() || read.is_some(), "{name}");
        if let Some(value) = read {
            let text = canonical::from_value(&value);
            assert_eq!(canonical::scan(text.as_bytes()), Ok(text.as_str()), "{name}");
        }
    }
    println!("JSONTestSuite: {must} to be read, {must_not} to be refused, {may} left to us");
    assert_eq!((must, must_not, may), (95, 188, 35));
}

#[test]
fn duplicates_are_refused_by_name() {
    let Some(folder) = public_data::find("json-parsing/test_parsing") else { return };
    for name in DUPLICATE_KEYS {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(
            matches!(strict::parse(&text), Err(JsonError::DuplicateKey { key, .. }) if key == "a"),
            "{name}"
        );
    }
}

/// Files that readers are known to interpret differently: whatever we make of them, we make one thing.
#[test]
fn files_that_other_readers_transform() {
    let Some(folder) = public_data::find("json-parsing/test_transform") else { return };
    let files = public_data::files(&folder);
    for (name, path) in &files {
        let Ok(text) = String::from_utf8(fs::read(path).unwrap()) else { continue };
        let parsed = strict::parse(&text);
        let json = Json::from_text(text.clone());
        assert_eq!(
            json.as_ref().map(|json| json.canonical().is_ok()).unwrap_or(false),
            parsed.is_ok(),
            "{name}"
        );
        let signed = Signed::<Value>::from_text(text);
        assert_eq!(signed.map(|signed| signed.view().is_ok()).unwrap_or(false), parsed.is_ok(), "{name}");
    }
    println!("JSONTestSuite: {} transformations", files.len());
    assert_eq!(files.len(), 22);
}
