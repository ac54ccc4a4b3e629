//! The clients: one that is known beforehand, and those that registered themselves.
//!
//! A registration is not kept anywhere: its client id *is* the registration, signed by us (RFC 7591 appendix A.5.2). So
//! no stranger can fill a table, a client that remembers its id works after a restart, and there is nothing to clean
//! up. It grants nothing: whatever a client calls itself, the operator approves what it gets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::keys::SigningKey;
use chio_json::SignatureHex;
use serde::{Deserialize, Serialize};

use super::AuthorizationServer;

/// The client that needs no registration.
const KNOWN_CLIENT: &str = "chio-cli";
/// Where that client listens; its port may vary.
const KNOWN_REDIRECT: &str = "http://127.0.0.1:53682/callback";
/// Marks the id of a registered client.
const REGISTERED_PREFIX: &str = "dcr-";
/// Says what is signed, so that no signature of ours means two things. No JWT begins like this.
const DOMAIN: &[u8] = b"chio.oauth.client.v1\0";
/// Longest client id, in bytes.
const LONGEST_ID: usize = 2048;

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Its id.
    pub(super) id: String,
    /// What it calls itself.
    pub(super) name: String,
    /// Where it may be answered.
    pub(super) redirect_uris: Vec<String>,
}

/// What a registered client's id holds.
#[derive(Serialize, Deserialize)]
struct Registration {
    n: String,
    r: Vec<String>,
}

impl AuthorizationServer {
    /// The client with this id.
    pub(super) fn client(&self, id: &str) -> Option<Client> {
        if id == KNOWN_CLIENT {
            return Some(Client {
                id: id.to_owned(),
                name: "Chio command line".to_owned(),
                redirect_uris: vec![KNOWN_REDIRECT.to_owned()],
            });
        }
        if id.len() > LONGEST_ID {
            return None;
        }
        let (payload, signature) = id.strip_prefix(REGISTERED_PREFIX)?.split_once('.')?;
        let signature = <[u8; 64]>::try_from(URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        if !self.key.public().verify(&signed_bytes(&payload), &SignatureHex::from_bytes(signature)) {
            return None;
        }
        let registration: Registration = serde_json::from_slice(&payload).ok()?;
        Some(Client { id: id.to_owned(), name: registration.n, redirect_uris: registration.r })
    }
}

/// The id of a new client. None when it would be too long.
pub(super) fn register(key: &SigningKey, name: String, redirect_uris: Vec<String>) -> Option<String> {
    let payload = serde_json::to_vec(&Registration { n: name, r: redirect_uris }).ok()?;
    let signature = key.sign(&signed_bytes(&payload));
    let id = format!(
        "{REGISTERED_PREFIX}{}.{}",
        URL_SAFE_NO_PAD.encode(&payload),
        URL_SAFE_NO_PAD.encode(signature.as_bytes())
    );
    (id.len() <= LONGEST_ID).then_some(id)
}

fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

impl Client {
    /// Whether the client registered itself.
    pub(super) fn is_registered(&self) -> bool {
        self.id != KNOWN_CLIENT
    }
}
