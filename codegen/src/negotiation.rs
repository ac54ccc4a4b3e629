//! The negotiation file: which versions of which protocol this implementation speaks.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::registry::{Registry, read_checked};

/// The negotiation file.
pub(crate) const FILE: &str = "spec/versions/chio-protocol-negotiation.v1.json";
/// The schema of that file; it fixes every rule that code implements, such as the exact match of versions.
const META: &str = "spec/meta/protocol-negotiation.schema.json";

/// What the constants are made of.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Negotiation {
    /// The surfaces that negotiate.
    pub surfaces: Surfaces,
}

/// The surfaces that negotiate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surfaces {
    /// The native transport.
    pub native_chio: Native,
    /// MCP over HTTP.
    pub hosted_mcp: HostedMcp,
    /// The trust-control service.
    pub trust_control: TrustControl,
}

/// The native transport.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Native {
    /// Name of the wire version.
    pub wire_version: String,
    /// The most bytes that a frame's payload may have.
    pub max_frame_bytes: u32,
    /// How the version is agreed on.
    pub exchange_format: String,
    /// Which versions go together.
    pub compatibility: String,
    /// What happens when no version goes together.
    pub connection_rejection: Rejection,
}

/// MCP over HTTP.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostedMcp {
    /// Where a client names its version.
    pub initialize_request_field: String,
    /// Where the server answers with its own.
    pub initialize_response_field: String,
    /// The header that repeats the version after initialization.
    pub session_header: String,
    /// The versions spoken here.
    pub supported_protocol_versions: Vec<String>,
    /// How one is chosen.
    pub selection_policy: String,
    /// What happens when none is.
    pub connection_rejection: Rejection,
}

/// The trust-control service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustControl {
    /// How versions are told apart.
    pub versioning: String,
    /// The path below which all operations of this version stand.
    pub base_path_prefix: String,
    /// Which versions go together.
    pub compatibility: String,
}

/// What happens to a connection whose version is not spoken here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// What happens to the transport.
    pub transport_action: Option<String>,
    /// The JSON-RPC code of the answer.
    pub jsonrpc_code: Option<i32>,
    /// The registry's number of the answer.
    pub chio_error_code: u16,
}

impl Negotiation {
    /// Reads and checks the negotiation file.
    ///
    /// # Errors
    /// A file that its schema refuses, or a rejection that the error registry does not know.
    pub fn read(root: &Path, registry: &Registry) -> Result<Self> {
        let found: Self =
            serde_json::from_value(read_checked(root, FILE, META)?).with_context(|| FILE.to_owned())?;
        let surfaces = &found.surfaces;
        for rejection in
            [&surfaces.native_chio.connection_rejection, &surfaces.hosted_mcp.connection_rejection]
        {
            let known = registry.codes.iter().find(|entry| entry.code == rejection.chio_error_code);
            let known = known.with_context(|| {
                format!("{FILE}: the registry has no error {}", rejection.chio_error_code)
            })?;
            if let Some(code) = rejection.jsonrpc_code {
                ensure!(
                    code == known.jsonrpc_code,
                    "{FILE}: JSON-RPC code {code} is not the registry's {} of {}",
                    known.jsonrpc_code,
                    known.name
                );
            }
        }
        Ok(found)
    }
}
