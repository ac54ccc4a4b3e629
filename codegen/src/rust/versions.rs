//! The negotiation file as constants; the rule that goes with them, an exact match, is a line of hand-written code.

use anyhow::Result;
use quote::quote;

use super::imports;
use crate::model::Model;
use crate::negotiation::Negotiation;

pub(super) fn emit(negotiation: &Negotiation) -> Result<String> {
    let surfaces = &negotiation.surfaces;
    let wire = &surfaces.native_chio.wire_version;
    let frame = proc_macro2::Literal::u32_unsuffixed(surfaces.native_chio.max_frame_bytes);
    let versions = &surfaces.hosted_mcp.supported_protocol_versions;
    let header = &surfaces.hosted_mcp.session_header;
    let prefix = &surfaces.trust_control.base_path_prefix;
    let file = syn::parse2::<syn::File>(quote! {
        /// The version of the native wire. Peers agree on it outside of the protocol, and only an exact match goes
        /// together.
        pub const WIRE_VERSION: &str = #wire;
        /// The most bytes that the payload of a native frame may have.
        pub const MAX_FRAME_BYTES: u32 = #frame;
        /// The versions of the Model Context Protocol that the hosted edge speaks; a client's must be one of them.
        pub const MCP_PROTOCOL_VERSIONS: &[&str] = &[#(#versions),*];
        /// The HTTP header that repeats the agreed MCP version on every request after initialization.
        pub const MCP_PROTOCOL_VERSION_HEADER: &str = #header;
        /// The path below which all operations of the trust-control service stand.
        pub const TRUST_CONTROL_PATH_PREFIX: &str = #prefix;
    })?;
    imports::file(
        "Which versions of which protocol this implementation speaks.",
        &Model::default(),
        &file.items,
    )
}
