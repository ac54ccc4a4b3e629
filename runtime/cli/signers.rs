//! Whose signatures count: the keys that the user names, this home's own, and those in its configuration.

use chio_core::keys::PublicKey;
use chio_json::PublicKeyHex;

use super::configuration;
use super::failure::{Failure, OrFail};
use super::home::Home;
use super::keys::{self, Role};

/// Reads a public key from an option.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text).map_err(|fault| fault.to_string())
}

/// The keys that vouch for receipts and checkpoints: those given with `--key`, or else this home's own; and in any case
/// those given with `--trust-issuer`.
pub(crate) fn of_receipts(
    home: &Home,
    keys: &[PublicKey],
    also: &[PublicKey],
) -> Result<Vec<PublicKeyHex>, Failure> {
    let mut trusted: Vec<PublicKeyHex> = keys.iter().chain(also).map(PublicKey::hex).collect();
    if keys.is_empty() && home.path().is_ok() {
        trusted.extend(keys::load(home, Role::Kernel)?.map(|key| key.public().hex()));
    }
    Ok(trusted)
}

/// The keys whose root capabilities are accepted: this home's authority, those in `chio.yaml`, those given.
pub(crate) fn of_capabilities(home: &Home, given: &[PublicKey]) -> Result<Vec<PublicKeyHex>, Failure> {
    let mut trusted: Vec<PublicKeyHex> = given.iter().map(PublicKey::hex).collect();
    if home.path().is_ok() {
        trusted.extend(keys::load(home, Role::Authority)?.map(|key| key.public().hex()));
        for issuer in configuration::read(home)?.unwrap_or_default().trusted_issuers {
            trusted.push(issuer.value.parse().doing("reading `trusted_issuers` of chio.yaml")?);
        }
    }
    Ok(trusted)
}
