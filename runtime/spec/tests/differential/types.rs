//! Every type that stands for a schema, with how it reads a document.

use chio_spec::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a text and writes it back.
pub(crate) type Decode = fn(&str) -> Result<String, String>;

/// The unions of whole messages.
pub(crate) const MESSAGES: &[&str] = &["AgentMessage", "KernelMessage"];

/// Every type, by the name of its schema.
#[rustfmt::skip]
pub(crate) const ALL: &[(&str, Decode)] = &[
    ("AgentMessage", agent_message),
    ("ApprovalThreshold", plain::<ApprovalThreshold>),
    ("Attenuation", plain::<Attenuation>),
    ("AutonomyTier", plain::<AutonomyTier>),
    ("CapabilityId", plain::<CapabilityId>),
    ("CapabilityToken", plain::<CapabilityToken>),
    ("CheckpointBody", plain::<CheckpointBody>),
    ("CheckpointSchema", plain::<CheckpointSchema>),
    ("ChioScope", plain::<ChioScope>),
    ("ConsistencyProof", plain::<ConsistencyProof>),
    ("Constraint", plain::<Constraint>),
    ("ContentReviewTier", plain::<ContentReviewTier>),
    ("CurrencyCode", plain::<CurrencyCode>),
    ("Decision", plain::<Decision>),
    ("DelegationLink", plain::<DelegationLink>),
    ("DpopBody", plain::<DpopBody>),
    ("DpopNonce", plain::<DpopNonce>),
    ("DpopProof", plain::<DpopProof>),
    ("DpopSchema", plain::<DpopSchema>),
    ("GuardEvidence", plain::<GuardEvidence>),
    ("KernelCheckpoint", plain::<KernelCheckpoint>),
    ("KernelMessage", kernel_message),
    ("LatencyHint", plain::<LatencyHint>),
    ("ManifestSchema", plain::<ManifestSchema>),
    ("MerkleHash", plain::<MerkleHash>),
    ("MerkleProof", plain::<MerkleProof>),
    ("ModelConstraint", plain::<ModelConstraint>),
    ("MonetaryAmount", plain::<MonetaryAmount>),
    ("Operation", plain::<Operation>),
    ("OperationClass", plain::<OperationClass>),
    ("PolicyDenial", plain::<PolicyDenial>),
    ("PricingModel", plain::<PricingModel>),
    ("PromptGrant", plain::<PromptGrant>),
    ("PublicKeyHex", plain::<PublicKeyHex>),
    ("Receipt", plain::<Receipt>),
    ("ReceiptAction", plain::<ReceiptAction>),
    ("ReceiptAttribution", plain::<ReceiptAttribution>),
    ("ReceiptError", plain::<ReceiptError>),
    ("ReceiptId", plain::<ReceiptId>),
    ("ReceiptInclusionProof", plain::<ReceiptInclusionProof>),
    ("ReceiptMetadata", plain::<ReceiptMetadata>),
    ("ReceiptProofBundle", receipt_proof_bundle),
    ("ReceiptRecovery", plain::<ReceiptRecovery>),
    ("ReceiptRequest", plain::<ReceiptRequest>),
    ("ReceiptRule", plain::<ReceiptRule>),
    ("ReceiptStream", plain::<ReceiptStream>),
    ("RequestId", plain::<RequestId>),
    ("RequiredPermissions", plain::<RequiredPermissions>),
    ("ResourceGrant", plain::<ResourceGrant>),
    ("RuntimeAssurance", plain::<RuntimeAssurance>),
    ("SafetyTier", plain::<SafetyTier>),
    ("ServerId", plain::<ServerId>),
    ("Sha256Hex", plain::<Sha256Hex>),
    ("SignatureHex", plain::<SignatureHex>),
    ("SignedManifest", plain::<SignedManifest>),
    ("SigningAlgorithm", plain::<SigningAlgorithm>),
    ("ToolCallError", plain::<ToolCallError>),
    ("ToolCallResult", plain::<ToolCallResult>),
    ("ToolDefinition", plain::<ToolDefinition>),
    ("ToolGrant", plain::<ToolGrant>),
    ("ToolManifest", plain::<ToolManifest>),
    ("ToolName", plain::<ToolName>),
    ("ToolPricing", plain::<ToolPricing>),
    ("TrustLevel", plain::<TrustLevel>),
];

/// Reads a type that holds no signed object.
pub(crate) fn plain<T: DeserializeOwned + Serialize>(text: &str) -> Result<String, String> {
    let value: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
    serde_json::to_string(&value).map_err(|error| error.to_string())
}

/// Signed objects are read when somebody looks at them; a malformed one inside a good frame is no malformed frame.
/// The schema does not make that difference, so the comparison looks at them at once.
fn seen<T: DeserializeOwned>(signed: &Signed<T>) -> Result<(), String> {
    signed.view().map(|_| ()).map_err(ToString::to_string)
}

fn written(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn agent_message(text: &str) -> Result<String, String> {
    let message = AgentMessage::from_json(text).map_err(|error| error.to_string())?;
    if let AgentMessage::ToolCallRequest(request) = &message {
        seen(&request.capability_token)?;
        request.ancestors.iter().try_for_each(seen)?;
    }
    written(&message)
}

fn kernel_message(text: &str) -> Result<String, String> {
    let message = KernelMessage::from_json(text).map_err(|error| error.to_string())?;
    match &message {
        KernelMessage::ToolCallResponse(response) => seen(&response.receipt)?,
        KernelMessage::CapabilityList(list) => list.capabilities.iter().try_for_each(seen)?,
        KernelMessage::ToolCallChunk(_) | KernelMessage::CapabilityRevoked(_) | KernelMessage::Heartbeat => {}
    }
    written(&message)
}

fn receipt_proof_bundle(text: &str) -> Result<String, String> {
    let bundle: ReceiptProofBundle = serde_json::from_str(text).map_err(|error| error.to_string())?;
    seen(&bundle.receipt)?;
    written(&bundle)
}
