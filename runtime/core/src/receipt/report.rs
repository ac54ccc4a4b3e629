//! Verifying a receipt, from foreign JSON.

use chio_json::{PublicKeyHex, Sha256Hex, SignatureHex, Signed, canonical, strict};
use chio_spec::Receipt;
use serde_json::{Map, Value};

use crate::foreign::{key, known_algorithm, member};
use crate::hash::sha256;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiptReport {
    /// Whether the key named in the receipt signed it. That is integrity, not origin: see [`trust`].
    pub signature_valid: bool,
    /// Whether `parameter_hash` is the hash of the parameters in the receipt.
    pub parameter_hash_valid: bool,
    /// The verdict: `allow`, `deny`, `cancelled` or `incomplete`; `None` when the receipt does not say one of
    /// these.
    pub decision: Option<String>,
    /// The key that the receipt names as its signer, if that is a key at all.
    pub signer_key: Option<PublicKeyHex>,
    /// Why something above is not as it should be, one sentence each.
    pub reasons: Vec<String>,
}

impl ReceiptReport {
    /// Whether the receipt is what its signer signed, and means something.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.signature_valid && self.parameter_hash_valid && self.decision.is_some()
    }
}

/// How far the signer of a receipt can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignerTrust {
    /// The receipt is valid and its signer is one of those trusted.
    Trusted,
    /// The receipt is valid under the key it carries, and nothing vouches for that key: integrity, not
    /// origin.
    IntegrityOnly,
    /// The receipt is not valid, so its signer proves nothing.
    Invalid,
}

/// Whether the signer of a verified receipt is among `trusted`.
#[must_use]
pub fn trust(report: &ReceiptReport, trusted: &[PublicKeyHex]) -> SignerTrust {
    match report.signer_key {
        Some(signer) if report.valid() => {
            if trusted.contains(&signer) {
                SignerTrust::Trusted
            } else {
                SignerTrust::IntegrityOnly
            }
        }
        _ => SignerTrust::Invalid,
    }
}

/// Verifies a receipt by itself. Nothing malformed stops the verification: it is reported.
#[must_use]
pub fn verify(text: &str) -> ReceiptReport {
    let mut report = ReceiptReport {
        signature_valid: false,
        parameter_hash_valid: false,
        decision: None,
        signer_key: None,
        reasons: Vec::new(),
    };
    let receipt = match strict::parse(text) {
        Ok(Value::Object(receipt)) => receipt,
        Ok(_) => {
            report.reasons.push("the receipt is not a JSON object".to_owned());
            return report;
        }
        Err(error) => {
            report.reasons.push(format!("the receipt cannot be read: {error}"));
            return report;
        }
    };
    report.signer_key = member(&receipt, "kernel_key").ok();
    match receipt_signature(text, &receipt) {
        Ok(()) => report.signature_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match parameter_hash(&receipt) {
        Ok(()) => report.parameter_hash_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match verdict(&receipt) {
        Ok(verdict) => report.decision = Some(verdict),
        Err(reason) => report.reasons.push(reason),
    }
    report
}

fn receipt_signature(text: &str, receipt: &Map<String, Value>) -> Result<(), String> {
    known_algorithm(receipt)?;
    let signer = key(receipt, "kernel_key")?;
    let signature: SignatureHex = member(receipt, "signature")?;
    let signed = Signed::<Receipt>::from_text(text.to_owned()).map_err(|error| error.to_string())?;
    let input = signed.signing_input().map_err(|error| error.to_string())?;
    if signer.verify(input.as_bytes(), &signature) {
        Ok(())
    } else {
        Err("the signature of the receipt does not verify".to_owned())
    }
}

fn parameter_hash(receipt: &Map<String, Value>) -> Result<(), String> {
    let Some(Value::Object(action)) = receipt.get("action") else {
        return Err("`action` is missing or not an object".to_owned());
    };
    let stated: Sha256Hex = member(action, "parameter_hash")?;
    let parameters = action.get("parameters").ok_or("`parameters` is missing")?;
    let computed = sha256(canonical::from_value(parameters).as_bytes());
    if computed == stated {
        Ok(())
    } else {
        Err(format!("the hash of the parameters is {computed}, and the receipt states {stated}"))
    }
}

fn verdict(receipt: &Map<String, Value>) -> Result<String, String> {
    let verdict =
        receipt.get("decision").and_then(|decision| decision.get("verdict")).and_then(Value::as_str);
    match verdict {
        Some(known @ ("allow" | "deny" | "cancelled" | "incomplete")) => Ok(known.to_owned()),
        Some(other) => {
            Err(format!("the verdict {other:?} is not one of allow, deny, cancelled and incomplete"))
        }
        None => Err("`decision.verdict` is missing".to_owned()),
    }
}
