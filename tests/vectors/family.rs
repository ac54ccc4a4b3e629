//! One file of vectors: how it is written, compared and judged.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Vectors of one kind, in one file.
pub(crate) trait Family {
    /// Name of the file, without its ending.
    const NAME: &'static str;
    /// What the file holds and how its verdicts are reached.
    const ABOUT: &'static str;
    /// What a case states beside its name.
    type Case: Serialize + DeserializeOwned;

    /// Makes all cases, the same every time.
    fn cases() -> Vec<Named<Self::Case>>;

    /// Whether the library agrees with a case; otherwise what it says.
    fn judge(case: &Self::Case) -> Result<(), String>;
}

/// A case with its name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Named<C> {
    id: String,
    about: String,
    #[serde(flatten)]
    case: C,
}

impl<C> Named<C> {
    pub(crate) fn case(&self) -> &C {
        &self.case
    }

    pub(crate) fn case_mut(&mut self) -> &mut C {
        &mut self.case
    }
}

pub(crate) fn named<C>(id: impl Into<String>, about: impl Into<String>, case: C) -> Named<C> {
    Named { id: id.into(), about: about.into(), case }
}

#[derive(Serialize, Deserialize)]
struct File<C> {
    about: String,
    cases: Vec<Named<C>>,
}

/// The folder of the vectors.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/vectors"))
}

/// Compares the file with what is made here, or rewrites it when that is asked for.
pub(crate) fn compare<F: Family>() {
    let cases = F::cases();
    let mut ids = BTreeSet::new();
    for case in &cases {
        assert!(ids.insert(&case.id), "{}: two cases are named {}", F::NAME, case.id);
    }
    let made = serde_json::to_string_pretty(&File { about: F::ABOUT.to_owned(), cases }).unwrap() + "\n";
    let path = path::<F>();
    if std::env::var_os("CHIO_BLESS").is_some() {
        return std::fs::write(&path, made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some(line) = (1..).zip(found.lines().zip(made.lines())).find(|(_, (found, made))| found != made) {
        panic!("{} differs in line {}; run CHIO_BLESS=1 cargo test --test vectors", path.display(), line.0);
    }
    assert_eq!(found.len(), made.len(), "{} is cut short or too long", path.display());
}

/// Asks the library about every case of the file and returns how many there are.
pub(crate) fn judge<F: Family>() -> usize {
    let file: File<F::Case> = serde_json::from_str(&std::fs::read_to_string(path::<F>()).unwrap()).unwrap();
    let disagreements: Vec<String> = file
        .cases
        .iter()
        .filter_map(|named| F::judge(&named.case).err().map(|said| format!("{}: {said}", named.id)))
        .collect();
    assert!(disagreements.is_empty(), "{}:\n{}", F::NAME, disagreements.join("\n"));
    file.cases.len()
}

/// Agreement, or both sides of a disagreement.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, stated: T, found: T) -> Result<(), String> {
    if stated == found {
        Ok(())
    } else {
        Err(format!("{what}: the file states {stated:?}, the library says {found:?}"))
    }
}

fn path<F: Family>() -> PathBuf {
    folder().join(F::NAME).with_extension("json")
}
