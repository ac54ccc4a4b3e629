//! Manifests: what a tool server says about itself, signed.

use std::collections::HashSet;

use chio_json::{JsonError, PublicKeyHex, SignatureHex, canonical, strict};
use chio_spec::{SignedManifest, ToolManifest};
use serde_json::{Map, Value};

use crate::foreign::{key, member};
use crate::keys::SigningKey;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestReport {
    /// Whether the manifest has the shape of `chio.manifest.v1` and at least one tool, and no two tools share
    /// a name. The embedded key is judged apart.
    pub structure_valid: bool,
    /// Whether the signer's key signed the manifest as received.
    pub signature_valid: bool,
    /// Whether the `public_key` in the manifest is a usable key.
    pub embedded_public_key_valid: bool,
    /// Whether that key is the signer's.
    pub embedded_public_key_matches_signer: bool,
    /// The signer that the envelope names, if that is a key at all.
    pub signer_key: Option<PublicKeyHex>,
    /// Why something above is not as it should be, one sentence each.
    pub reasons: Vec<String>,
}

impl ManifestReport {
    /// Whether all four answers are good. Trust in the signer is another question.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.structure_valid
            && self.signature_valid
            && self.embedded_public_key_valid
            && self.embedded_public_key_matches_signer
    }
}

/// Signs a manifest. Its `public_key` is expected to be the signer's; a verifier reports when it is not.
///
/// # Errors
///
/// A schema inside the manifest has no canonical text.
pub fn sign(publisher: &SigningKey, manifest: ToolManifest) -> Result<SignedManifest, JsonError> {
    let signature = publisher.sign(canonical::to_string(&manifest)?.as_bytes());
    Ok(SignedManifest::new(manifest, signature, publisher.public().hex()))
}

/// Verifies a signed manifest, over the `manifest` value as received: keys that this version does not know
/// are signed bytes too. Nothing malformed stops the verification: it is reported.
#[must_use]
pub fn verify(text: &str) -> ManifestReport {
    let mut report = ManifestReport {
        structure_valid: false,
        signature_valid: false,
        embedded_public_key_valid: false,
        embedded_public_key_matches_signer: false,
        signer_key: None,
        reasons: Vec::new(),
    };
    let envelope = match strict::parse(text) {
        Ok(Value::Object(envelope)) => envelope,
        Ok(_) => {
            report.reasons.push("the signed manifest is not a JSON object".to_owned());
            return report;
        }
        Err(error) => {
            report.reasons.push(format!("the signed manifest cannot be read: {error}"));
            return report;
        }
    };
    let signer: Result<PublicKeyHex, String> = member(&envelope, "signer_key");
    report.signer_key = signer.as_ref().ok().copied();
    let Some(Value::Object(manifest)) = envelope.get("manifest") else {
        report.reasons.push("`manifest` is missing or not an object".to_owned());
        return report;
    };

    match structure(manifest) {
        Ok(()) => report.structure_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match manifest_signature(&envelope, manifest) {
        Ok(()) => report.signature_valid = true,
        Err(reason) => report.reasons.push(reason),
    }
    match key(manifest, "public_key") {
        Ok(embedded) => {
            report.embedded_public_key_valid = true;
            report.embedded_public_key_matches_signer = signer == Ok(embedded.hex());
            if !report.embedded_public_key_matches_signer {
                report.reasons.push("the manifest's `public_key` is not the signer's key".to_owned());
            }
        }
        Err(reason) => report.reasons.push(reason),
    }
    report
}

fn structure(manifest: &Map<String, Value>) -> Result<(), String> {
    // The embedded key has an answer of its own, so it must not decide this one: a placeholder stands in for
    // it.
    let mut manifest = manifest.clone();
    if let Some(key @ Value::String(_)) = manifest.get_mut("public_key") {
        *key = Value::String(PublicKeyHex::from_bytes([0; 32]).to_string());
    }
    let text = canonical::from_value(&Value::Object(manifest));
    let manifest: ToolManifest = strict::from_str(&text)
        .map_err(|error| format!("the manifest is not a chio.manifest.v1: {error}"))?;
    if manifest.tools.is_empty() {
        return Err("the manifest has no tools".to_owned());
    }
    let mut names = HashSet::new();
    for tool in &manifest.tools {
        if !names.insert(tool.name.as_str()) {
            return Err(format!("the manifest has two tools named {:?}", tool.name.as_str()));
        }
    }
    Ok(())
}

fn manifest_signature(envelope: &Map<String, Value>, manifest: &Map<String, Value>) -> Result<(), String> {
    let signer = key(envelope, "signer_key")?;
    let signature: SignatureHex = member(envelope, "signature")?;
    let input = canonical::from_value(&Value::Object(manifest.clone()));
    if signer.verify(input.as_bytes(), &signature) {
        Ok(())
    } else {
        Err("the signature of the manifest does not verify".to_owned())
    }
}
