//! An agent that speaks the native transport: its key, its capabilities, its calls.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chio_core::keys::SigningKey;
use chio_json::{Json, Signed, canonical};
use chio_native::Client;
use chio_spec::{
    CapabilityToken, RequestId, ServerId, ToolCallError, ToolCallRequest, ToolCallResponse, ToolCallResult,
    ToolName,
};
use serde_json::Value;

use crate::home::Home;

/// Longest that one call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A signed capability.
pub type Token = Signed<CapabilityToken>;

/// The holder of a key made by the program.
pub struct Agent {
    pub key_file: PathBuf,
    pub public: String,
}

impl Agent {
    pub fn new(home: &Home, name: &str) -> Self {
        let key_file = home.side(&format!("{name}.key"));
        let made = home.json(&["capability", "keygen", "--json", "--out", key_file.to_str().unwrap()]);
        Self { key_file, public: made["public_key"].as_str().unwrap().to_owned() }
    }

    pub fn key(&self) -> SigningKey {
        read_key(&self.key_file)
    }

    /// A capability that the home's authority issues to this agent.
    pub fn issue(&self, home: &Home, arguments: &[&str]) -> Token {
        let fixed = ["capability", "issue", "--json", "--subject", self.public.as_str()];
        let arguments: Vec<&str> = fixed.into_iter().chain(arguments.iter().copied()).collect();
        token(home.ok(&arguments))
    }

    /// A narrower capability that this agent passes on to another.
    pub fn attenuate(&self, home: &Home, parent: &Token, to: &Agent, arguments: &[&str]) -> Token {
        let key = self.key_file.to_str().unwrap();
        let fixed =
            ["capability", "attenuate", parent.text(), "--json", "--key", key, "--subject", &to.public];
        let arguments: Vec<&str> = fixed.into_iter().chain(arguments.iter().copied()).collect();
        token(home.ok(&arguments))
    }
}

pub fn read_key(file: &Path) -> SigningKey {
    SigningKey::from_seed_hex(std::fs::read_to_string(file).unwrap().trim()).unwrap()
}

/// Reads a token that the program printed.
pub fn token(text: String) -> Token {
    let token = Token::from_text(text.trim().to_owned()).unwrap();
    token.view().unwrap();
    token
}

/// The id of a token.
pub fn id(token: &Token) -> String {
    token.view().unwrap().id.to_string()
}

/// An object signed again by its holder, whatever it says.
pub fn sign(key: &SigningKey, mut object: Value) -> Value {
    object.as_object_mut().unwrap().remove("signature");
    let signature = key.sign(canonical::from_value(&object).as_bytes()).to_string();
    object["signature"] = signature.into();
    object
}

/// A token made by hand, signed by the key given.
pub fn forge(key: &SigningKey, claims: Value) -> Token {
    token(canonical::from_value(&sign(key, claims)))
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A request with an id of its own.
pub fn request(token: &Token, server: &str, tool: &str, params: &Value) -> ToolCallRequest {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    ToolCallRequest::new(
        token.clone(),
        RequestId::new(format!("e2e-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap(),
        Json::from_value(params),
        ServerId::new(server).unwrap(),
        ToolName::new(tool).unwrap(),
    )
}

/// Makes one call to the built-in tools.
pub async fn call(client: &Client, token: &Token, tool: &str, params: &Value) -> ToolCallResponse {
    make(client, request(token, "demo", tool, params)).await
}

/// Makes one call.
pub async fn make(client: &Client, request: ToolCallRequest) -> ToolCallResponse {
    tokio::time::timeout(PATIENCE, client.call(request)).await.expect("the call ends in time").unwrap()
}

/// The error of a response that must be one.
pub fn error(response: &ToolCallResponse) -> &ToolCallError {
    match &response.result {
        ToolCallResult::Err(result) => &result.error,
        other => panic!("not refused: {other:?}"),
    }
}

/// Whether a call was allowed and completed.
pub fn is_ok(response: &ToolCallResponse) -> bool {
    matches!(response.result, ToolCallResult::Ok(_))
}

/// The receipt of a response as JSON.
pub fn receipt(response: &ToolCallResponse) -> Value {
    serde_json::from_str(response.receipt.text()).unwrap()
}

/// The name that the registry gives to the cause of a denial.
pub fn cause(response: &ToolCallResponse) -> String {
    receipt(response)["metadata"]["error"]["name"].as_str().unwrap_or_default().to_owned()
}
