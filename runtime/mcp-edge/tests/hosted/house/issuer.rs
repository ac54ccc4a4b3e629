//! An issuer of tokens whose keys lie in a file.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::keys::SigningKey;
use chio_mcp_edge::EdgeConfig;
use chio_mcp_edge::auth::{JwksSource, JwtConfig, Method};
use serde_json::json;

use super::House;

const URL: &str = "https://issuer.example.com";
const AUDIENCE: &str = "https://edge.example.com/mcp";

pub struct Issuer {
    key: SigningKey,
    folder: tempfile::TempDir,
}

impl Issuer {
    pub fn new() -> Self {
        let key = SigningKey::from_seed([5; 32]);
        let folder = tempfile::tempdir().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public().hex().as_bytes());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "use": "sig"}]});
        std::fs::write(folder.path().join("jwks.json"), keys.to_string()).unwrap();
        Self { key, folder }
    }

    /// An edge that knows callers by the tokens of this issuer.
    pub async fn house(&self, config: EdgeConfig) -> House {
        self.house_with_keys_at(config, JwksSource::File(self.folder.path().join("jwks.json"))).await
    }

    /// The same, when the keys are to be read from there.
    pub async fn house_with_keys_at(&self, config: EdgeConfig, jwks: JwksSource) -> House {
        let jwt = JwtConfig { issuer: URL.to_owned(), audience: Some(AUDIENCE.to_owned()), jwks };
        House::with(config, Method::Jwt(jwt)).await
    }

    /// The value of an `Authorization` header.
    pub fn token(&self, subject: &str, scope: &str) -> String {
        self.token_for(subject, scope, 300)
    }

    /// The same, with a token that lives for so many seconds.
    pub fn token_for(&self, subject: &str, scope: &str, life: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"iss": URL, "sub": subject, "aud": AUDIENCE, "exp": now + life, "iat": now,
            "scope": scope, "client_id": "editor"});
        let header = json!({"alg": "EdDSA", "kid": "k", "typ": "JWT"});
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).as_bytes());
        format!("Bearer {signed}.{signature}")
    }
}
