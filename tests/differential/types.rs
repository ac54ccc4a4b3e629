//! Every type that stands for a schema, with how it reads a document.

use chio_json::{canonical, strict};
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
    ("ChioErrorEntry", plain::<ChioErrorEntry>),
    ("ChioErrorRetry", plain::<ChioErrorRetry>),
    ("ChioProtocol", plain::<ChioProtocol>),
    ("ChioProtocolErrorRegistry", plain::<ChioProtocolErrorRegistry>),
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
    ("McpAdminAuthContext", plain::<McpAdminAuthContext>),
    ("McpAdminAuthKind", plain::<McpAdminAuthKind>),
    ("McpAdminEndedLifecycle", plain::<McpAdminEndedLifecycle>),
    ("McpAdminEndedSession", plain::<McpAdminEndedSession>),
    ("McpAdminFailure", plain::<McpAdminFailure>),
    ("McpAdminHealth", plain::<McpAdminHealth>),
    ("McpAdminLifecycle", plain::<McpAdminLifecycle>),
    ("McpAdminReconnect", plain::<McpAdminReconnect>),
    ("McpAdminServer", plain::<McpAdminServer>),
    ("McpAdminServers", plain::<McpAdminServers>),
    ("McpAdminSession", plain::<McpAdminSession>),
    ("McpAdminSessionState", plain::<McpAdminSessionState>),
    ("McpAdminSessions", plain::<McpAdminSessions>),
    ("McpDecision", plain::<McpDecision>),
    ("McpRequestMeta", request_meta),
    ("McpResultMeta", plain::<McpResultMeta>),
    ("McpServerOwner", plain::<McpServerOwner>),
    ("McpSessionState", plain::<McpSessionState>),
    ("MerkleHash", plain::<MerkleHash>),
    ("MerkleProof", plain::<MerkleProof>),
    ("ModelConstraint", plain::<ModelConstraint>),
    ("ModelId", plain::<ModelId>),
    ("ModelMetadata", plain::<ModelMetadata>),
    ("ModelProvider", plain::<ModelProvider>),
    ("MonetaryAmount", plain::<MonetaryAmount>),
    ("Operation", plain::<Operation>),
    ("OperationClass", plain::<OperationClass>),
    ("PolicyDenial", plain::<PolicyDenial>),
    ("PricingModel", plain::<PricingModel>),
    ("PromptGrant", plain::<PromptGrant>),
    ("ProvenanceClass", plain::<ProvenanceClass>),
    ("PublicKeyHex", plain::<PublicKeyHex>),
    ("Receipt", plain::<Receipt>),
    ("ReceiptAction", plain::<ReceiptAction>),
    ("ReceiptAttribution", plain::<ReceiptAttribution>),
    ("ReceiptCaller", plain::<ReceiptCaller>),
    ("ReceiptCallerMethod", plain::<ReceiptCallerMethod>),
    ("ReceiptError", plain::<ReceiptError>),
    ("ReceiptId", plain::<ReceiptId>),
    ("ReceiptInclusionProof", plain::<ReceiptInclusionProof>),
    ("ReceiptMetadata", plain::<ReceiptMetadata>),
    ("ReceiptModelMetadata", plain::<ReceiptModelMetadata>),
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
    read(text, |text| serde_json::from_str::<T>(text), |_| Ok(()))
}

/// Reads a text in every way that there is; they must agree.
fn read<T: DeserializeOwned + Serialize>(
    text: &str,
    from_text: impl Fn(&str) -> serde_json::Result<T>,
    look: fn(&T) -> Result<(), String>,
) -> Result<String, String> {
    let from_value = strict::parse(text)
        .map_err(|error| error.to_string())
        .and_then(|value| serde_json::from_value::<T>(value).map_err(|error| error.to_string()));
    let value = match from_text(text) {
        Ok(value) => value,
        Err(error) if from_value.is_err() => return Err(error.to_string()),
        Err(_) => return Ok("accepted as a parsed value only".to_owned()),
    };
    look(&value)?;
    let written = written(&value)?;
    let strictly: T = strict::from_str(text).map_err(|error| error.to_string())?;
    let Ok(from_value) = from_value else { return Ok("refused as a parsed value only".to_owned()) };
    // Opaque parts come back from a parsed value in another spelling.
    let alike = [self::written(&from_value)?, self::written(&strictly)?]
        .into_iter()
        .all(|other| canonical::from_text(&other) == canonical::from_text(&written));
    Ok(if alike { written } else { "another value, depending on the way of reading".to_owned() })
}

/// Signed objects are read when somebody looks at them; a malformed one inside a good frame is no malformed frame.
/// The schema does not make that difference, so the comparison looks at them at once.
fn seen<T: DeserializeOwned + Serialize>(signed: &Signed<T>) -> Result<(), String> {
    let view = signed.view().map_err(ToString::to_string)?;
    // What the view is written as is what was signed, or a signature made over the one would not fit the other.
    let text = canonical::from_text(signed.text()).map_err(|error| error.to_string())?;
    if canonical::from_text(&written(view)?) == Ok(text) {
        Ok(())
    } else {
        Err("the view is written differently".to_owned())
    }
}

fn written(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn agent_message(text: &str) -> Result<String, String> {
    read(text, AgentMessage::from_json, |message| match message {
        AgentMessage::ToolCallRequest(request) => {
            seen(&request.capability_token)?;
            request.ancestors.iter().try_for_each(seen)
        }
        AgentMessage::ListCapabilities | AgentMessage::Heartbeat => Ok(()),
    })
}

fn kernel_message(text: &str) -> Result<String, String> {
    read(text, KernelMessage::from_json, |message| match message {
        KernelMessage::ToolCallResponse(response) => seen(&response.receipt),
        KernelMessage::CapabilityList(list) => list.capabilities.iter().try_for_each(seen),
        KernelMessage::ToolCallChunk(_) | KernelMessage::CapabilityRevoked(_) | KernelMessage::Heartbeat => {
            Ok(())
        }
    })
}

fn receipt_proof_bundle(text: &str) -> Result<String, String> {
    read(text, |text| serde_json::from_str(text), |bundle: &ReceiptProofBundle| seen(&bundle.receipt))
}

fn request_meta(text: &str) -> Result<String, String> {
    let look = |meta: &McpRequestMeta| {
        seen(&meta.chio_dev_capability)?;
        meta.chio_dev_ancestors.iter().try_for_each(seen)
    };
    read(text, |text| serde_json::from_str(text), look)
}
