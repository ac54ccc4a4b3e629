//! Signed manifests of tool servers.

use chio_core::manifest::verify;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{STRANGER, public, signature, tampered, text, with, without};

/// Seed byte of the publisher.
const PUBLISHER: u8 = 0x31;

pub(crate) enum Manifests {}

#[derive(Serialize, Deserialize)]
pub(crate) struct Case {
    signed_manifest: String,
    expected: Expected,
}

#[derive(Serialize, Deserialize)]
struct Expected {
    structure_valid: bool,
    signature_valid: bool,
    embedded_public_key_valid: bool,
    embedded_public_key_matches_signer: bool,
}

impl Family for Manifests {
    const NAME: &'static str = "manifests";
    const ABOUT: &'static str = "What `signed_manifest`, in exactly this text, proves. The signature covers the \
        canonical text of the member `manifest` as it arrived. The structure is judged without the embedded key, \
        which has answers of its own; it needs at least one tool and no two of one name.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let manifest = manifest();
        let signed = signed(&manifest, PUBLISHER);
        let good = [true; 4];
        let edited = |id: &str, about: &str, expected, edit: fn(&mut Value)| {
            let mut manifest = self::manifest();
            edit(&mut manifest);
            case(id, about, &self::signed(&manifest, PUBLISHER), expected)
        };
        let weak = format!("01{}", "0".repeat(62));
        vec![
            case("valid", "everything that a tool may say", &signed, good),
            edited("valid-minimal", "one tool, nothing optional", good, |manifest| {
                manifest["description"] = Value::Null;
                manifest["required_permissions"] = Value::Null;
                manifest["tools"] = json!([{"description": "", "has_side_effects": true, "input_schema": true, "latency_hint": null, "name": "t"}]);
            }),
            edited("valid-big-integer", "a schema inside is opaque and exact", good, |manifest| {
                manifest["tools"][0]["input_schema"]["maximum"] = json!(u64::MAX);
            }),
            case(
                "tampered-tool",
                "a description changed after it was signed",
                &tampered(&signed, "/manifest/tools/0/description"),
                [true, false, true, true],
            ),
            case("tampered-server", "", &tampered(&signed, "/manifest/server_id"), [true, false, true, true]),
            case("tampered-signature", "", &tampered(&signed, "/signature"), [true, false, true, true]),
            case(
                "other-signer",
                "a stranger signs the publisher's manifest",
                &self::signed(&manifest, STRANGER),
                [true, true, true, false],
            ),
            case(
                "claimed-signer",
                "a stranger's signature under the publisher's name",
                &with(&self::signed(&manifest, STRANGER), "signer_key", json!(public(PUBLISHER))),
                [true, false, true, true],
            ),
            case(
                "weak-signer",
                "a key of small order signs nothing",
                &with(&signed, "signer_key", json!(weak)),
                [true, false, true, false],
            ),
            edited(
                "embedded-key-weak",
                "signed, with an unusable key inside",
                [true, true, false, false],
                |manifest| manifest["public_key"] = json!(format!("01{}", "0".repeat(62))),
            ),
            edited(
                "embedded-key-other",
                "signed, with another good key inside",
                [true, true, true, false],
                |manifest| manifest["public_key"] = json!(public(STRANGER)),
            ),
            edited("no-tools", "signed, but empty", [false, true, true, true], |manifest| {
                manifest["tools"] = json!([])
            }),
            edited("tools-alike", "signed, but one name twice", [false, true, true, true], |manifest| {
                let tool = manifest["tools"][0].clone();
                manifest["tools"].as_array_mut().unwrap().push(tool);
            }),
            edited(
                "unknown-member",
                "signed, but no member of this schema",
                [false, true, true, true],
                |manifest| manifest["note"] = json!(1),
            ),
            edited("unknown-version", "signed, but another kind", [false, true, true, true], |manifest| {
                manifest["schema"] = json!("chio.manifest.v2")
            }),
            edited(
                "unknown-hint",
                "signed, but no latency of this schema",
                [false, true, true, true],
                |manifest| manifest["tools"][0]["latency_hint"] = json!("soon"),
            ),
            case("manifest-missing", "", &without(&signed, "manifest"), [false; 4]),
        ]
    }

    fn judge(case: &Case) -> Result<(), String> {
        let (expected, report) = (&case.expected, verify(&case.signed_manifest));
        same("structure_valid", expected.structure_valid, report.structure_valid)?;
        same("signature_valid", expected.signature_valid, report.signature_valid)?;
        same(
            "embedded_public_key_valid",
            expected.embedded_public_key_valid,
            report.embedded_public_key_valid,
        )?;
        let matches = report.embedded_public_key_matches_signer;
        same("embedded_public_key_matches_signer", expected.embedded_public_key_matches_signer, matches)
    }
}

fn case(id: &str, about: &str, signed: &Value, expected: [bool; 4]) -> Named<Case> {
    let [structure_valid, signature_valid, embedded_public_key_valid, embedded_public_key_matches_signer] =
        expected;
    let expected = Expected {
        structure_valid,
        signature_valid,
        embedded_public_key_valid,
        embedded_public_key_matches_signer,
    };
    named(id, about, Case { signed_manifest: text(signed), expected })
}

fn signed(manifest: &Value, signer: u8) -> Value {
    json!({"manifest": manifest, "signature": signature(manifest, signer), "signer_key": public(signer)})
}

fn manifest() -> Value {
    json!({
        "description": "Reads and writes files",
        "name": "Files",
        "public_key": public(PUBLISHER),
        "required_permissions": {
            "environment_variables": null,
            "network_hosts": [],
            "read_paths": ["/srv"],
            "write_paths": null,
        },
        "schema": "chio.manifest.v1",
        "server_id": "files",
        "tools": [{
            "description": "Reads a file",
            "has_side_effects": false,
            "input_schema": {"properties": {"path": {"type": "string"}}, "type": "object"},
            "latency_hint": "fast",
            "name": "read",
            "output_schema": {"type": "string"},
            "pricing": {
                "base_price": {"currency": "EUR", "units": 1},
                "billing_unit": "megabyte",
                "pricing_model": "per_unit",
                "unit_price": {"currency": "EUR", "units": 2},
            },
        }],
        "version": "1.0.0",
    })
}
