//! The public keys of an issuer (RFC 7517), and which signature each may make.
//!
//! A key decides about the algorithm, never a token: each key is pinned to the algorithms of its own type, so that an
//! RSA key can never be used as the secret of an HMAC, and what is not asymmetric has no name here at all. Keys that
//! are of no use to us are passed over, because an issuer may publish others beside them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chio_core::keys::PublicKey;
use chio_json::{PublicKeyHex, SignatureHex, strict};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// Most keys of one set.
const MOST_KEYS: usize = 64;
/// Bytes of an RSA modulus: 2048 to 4096 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// Most bytes of an RSA exponent.
const LONGEST_EXPONENT: usize = 4;

const RSA_ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A set of public keys.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// A public key and what it may be used for.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Ed25519(PublicKey),
    Other(DecodingKey),
}

/// What a set says to a token's header.
pub(crate) enum Found<'a> {
    /// This key decides.
    Key(&'a Key),
    /// No key has that name, or none is named and several could be meant.
    Unknown,
    /// There is such a key, but it does not make such signatures.
    OtherAlgorithm,
}

impl KeySet {
    /// Reads a JWK set.
    pub(crate) fn parse(text: &str) -> Result<KeySet, String> {
        let value = strict::parse(text).map_err(|error| format!("the answer is not JSON: {error}"))?;
        let listed = value.get("keys").and_then(Value::as_array).ok_or("the answer has no array \"keys\"")?;
        if listed.len() > MOST_KEYS {
            return Err(format!("it holds {} keys, and at most {MOST_KEYS} are read", listed.len()));
        }
        Ok(KeySet { keys: listed.iter().filter_map(Value::as_object).filter_map(Key::read).collect() })
    }

    /// The set of one Ed25519 key, which is our own.
    pub(crate) fn of(id: String, key: PublicKey) -> KeySet {
        let key = Key { id: Some(id), algorithms: vec![Algorithm::EdDSA], material: Material::Ed25519(key) };
        KeySet { keys: vec![key] }
    }

    /// The key that `id` names and that signs with `algorithm`. A token without a key id means the only key that
    /// could have signed it.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let (mut found, mut any) = (None, false);
        for key in named {
            any = true;
            if !key.algorithms.contains(&algorithm) {
                continue;
            }
            if found.is_some() {
                return Found::Unknown;
            }
            found = Some(key);
        }
        match found {
            Some(key) => Found::Key(key),
            None if any && id.is_some() => Found::OtherAlgorithm,
            None => Found::Unknown,
        }
    }
}

impl Key {
    /// Whether this key signed `message`. The algorithm must be one of its own, which [`KeySet::find`] looked at.
    pub(crate) fn signed(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        if !self.algorithms.contains(&algorithm) {
            return false;
        }
        match &self.material {
            Material::Ed25519(key) => URL_SAFE_NO_PAD
                .decode(signature)
                .ok()
                .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok())
                .is_some_and(|bytes| key.verify(message.as_bytes(), &SignatureHex::from_bytes(bytes))),
            Material::Other(key) => {
                jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
            }
        }
    }

    fn read(jwk: &Map<String, Value>) -> Option<Key> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let (material, algorithms) = match (text("kty")?, text("crv")) {
            ("OKP", Some("Ed25519")) => {
                let bytes = <[u8; 32]>::try_from(URL_SAFE_NO_PAD.decode(text("x")?).ok()?).ok()?;
                let key = PublicKey::try_from(PublicKeyHex::from_bytes(bytes)).ok()?;
                (Material::Ed25519(key), &[Algorithm::EdDSA][..])
            }
            ("EC", Some("P-256")) => (elliptic(text("x")?, text("y")?, 32)?, &[Algorithm::ES256][..]),
            ("EC", Some("P-384")) => (elliptic(text("x")?, text("y")?, 48)?, &[Algorithm::ES384][..]),
            ("RSA", _) => (rsa(text("n")?, text("e")?)?, RSA_ALGORITHMS),
            _ => return None,
        };
        let algorithms = match jwk.get("alg") {
            None => algorithms.to_vec(),
            Some(name) => {
                let only = name.as_str().and_then(algorithm)?;
                algorithms.contains(&only).then(|| vec![only])?
            }
        };
        Some(Key { id: text("kid").map(str::to_owned), algorithms, material })
    }
}

/// The asymmetric algorithm of that name; `none` and the symmetric ones have no meaning here.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        // RFC 9864 gives the second name to what the first one means in practice.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

fn elliptic(x: &str, y: &str, bytes: usize) -> Option<Material> {
    let whole = |text: &str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|decoded| decoded.len() == bytes);
    if !whole(x) || !whole(y) {
        return None;
    }
    DecodingKey::from_ec_components(x, y).ok().map(Material::Other)
}

fn rsa(modulus: &str, exponent: &str) -> Option<Material> {
    let modulus_bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?.len();
    let exponent_bytes = URL_SAFE_NO_PAD.decode(exponent).ok()?.len();
    if !RSA_MODULUS.contains(&modulus_bytes) || exponent_bytes > LONGEST_EXPONENT {
        return None;
    }
    DecodingKey::from_rsa_components(modulus, exponent).ok().map(Material::Other)
}
