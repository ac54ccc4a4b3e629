//! Texts that left the program, and what they are held against.

use std::cell::RefCell;
use std::collections::BTreeSet;

use chio_json::canonical;
use serde_json::Value;

use crate::specification::Specification;
use crate::strict_shape;

/// Everything captured so far.
#[derive(Default)]
pub(crate) struct Samples(RefCell<Vec<Sample>>);

/// One text, with the type that it must be an example of.
struct Sample {
    kind: &'static str,
    origin: String,
    text: String,
}

impl Samples {
    /// Keeps a text; `origin` says where it was caught.
    pub(crate) fn keep(&self, kind: &'static str, origin: impl Into<String>, text: impl Into<String>) {
        self.0.borrow_mut().push(Sample { kind, origin: origin.into(), text: text.into() });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// What is wrong with what was captured, one sentence each.
    pub(crate) fn faults(&self, specification: &Specification) -> Vec<String> {
        let mut faults = Vec::new();
        for sample in self.0.borrow().iter() {
            let found = sample.faults(specification);
            faults.extend(found.into_iter().map(|fault| {
                let text: String = sample.text.chars().take(2000).collect();
                format!("{} from {}: {fault}\n  {text}", sample.kind, sample.origin)
            }));
        }
        faults
    }

    /// The types and branches that the samples are examples of.
    pub(crate) fn seen(&self, specification: &Specification) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for sample in self.0.borrow().iter() {
            let document: Value = serde_json::from_str(&sample.text).unwrap();
            specification.examples(sample.kind, &document, &mut seen);
            for receipt in receipts(sample.kind, &document) {
                specification.examples("ReceiptMetadata", &receipt["metadata"], &mut seen);
            }
        }
        seen
    }
}

impl Sample {
    fn faults(&self, specification: &Specification) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(fault) = canonical::scan(self.text.as_bytes()) {
            faults.push(format!("the text is not canonical: {fault}"));
        }
        let Ok(document) = serde_json::from_str::<Value>(&self.text) else {
            return vec!["the text is no JSON".to_owned()];
        };
        let validate = |kind: &str, document: &Value| -> Vec<String> {
            let validator = specification.validator(kind);
            validator
                .iter_errors(document)
                .map(|fault| format!("{} at {}", fault, fault.instance_path()))
                .collect()
        };
        faults.extend(validate(self.kind, &document));
        if self.kind == "KernelMessage" {
            faults.extend(strict_shape::faults(&document));
        }
        for receipt in receipts(self.kind, &document) {
            faults.extend(validate("ReceiptMetadata", &receipt["metadata"]));
            let report = chio_core::receipt::verify(&canonical::from_value(receipt));
            if !report.valid() {
                faults.push(format!("the receipt does not verify: {:?}", report.reasons));
            }
        }
        faults
    }
}

/// The receipts inside a document. What a kernel writes into their metadata has a schema of its own.
fn receipts<'d>(kind: &str, document: &'d Value) -> Vec<&'d Value> {
    let found = match kind {
        "Receipt" => Some(document),
        "KernelMessage" | "ReceiptProofBundle" => document.get("receipt"),
        _ => None,
    };
    found.into_iter().collect()
}
