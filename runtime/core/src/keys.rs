//! Ed25519 keys and signatures, strict only.
//!
//! Verifiers in the field disagree on signatures made with small-order or oddly encoded keys, and a dishonest
//! holder of such a key can sign once for every message: in a dispute over a receipt that is repudiation. So
//! there is one check here, `verify_strict`, and a [`PublicKey`] cannot exist unless its encoding is
//! canonical and its order large. Batch verification is left out on purpose: its verdict on odd keys depends
//! on chance.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use chio_json::{PublicKeyHex, SignatureHex};
use chio_spec::ErrorCode;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use zeroize::{Zeroize, Zeroizing};

/// Why bytes were refused as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The text is not 64 lower-case hexadecimal digits.
    #[error(
        "the key is not 64 lower-case hexadecimal digits; give the 32 bytes of an Ed25519 key in that form"
    )]
    NotHex,
    /// The bytes are no point of the curve.
    #[error("the 32 bytes are not a point of the Ed25519 curve; check that the key was copied whole")]
    NotAPoint,
    /// The bytes encode a point in a second way (RFC 8032 5.1.3: the coordinate must be below the field
    /// prime).
    #[error(
        "the key is a non-canonical encoding of its point, which verifiers judge differently; use another key"
    )]
    NotCanonical,
    /// The point has small order: a signature by it can be valid for every message.
    #[error(
        "the key is a point of small order, under which one signature fits many messages; use another key"
    )]
    Weak,
}

impl KeyFault {
    /// The registry entry of this fault, where a key is given by itself; within a token the token's fault
    /// decides.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidParams
    }

    /// The short reason that the caller is told.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed("key is not usable")
    }
}

/// A checked Ed25519 public key, decompressed once.
#[derive(Clone, Copy)]
pub struct PublicKey {
    hex: PublicKeyHex,
    point: VerifyingKey,
}

impl PublicKey {
    /// Reads a key of 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    ///
    /// See [`KeyFault`]: anything that two verifiers might judge differently is refused here.
    pub fn parse(text: &str) -> Result<PublicKey, KeyFault> {
        let hex: PublicKeyHex = text.parse().map_err(|_| KeyFault::NotHex)?;
        PublicKey::try_from(hex)
    }

    /// The wire form.
    #[must_use]
    pub fn hex(&self) -> PublicKeyHex {
        self.hex
    }

    /// The first sixteen digits of the key: for people to compare at a glance, never for a decision.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = self.hex.to_string();
        text.truncate(16);
        text
    }

    /// Whether `signature` over exactly `message` was made by the holder of this key (RFC 8032 5.1.7 with `S`
    /// below the group order, and `R` neither of small order nor oddly encoded).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &SignatureHex) -> bool {
        let signature = Signature::from_bytes(signature.as_bytes());
        self.point.verify_strict(message, &signature).is_ok()
    }
}

impl TryFrom<PublicKeyHex> for PublicKey {
    type Error = KeyFault;

    fn try_from(hex: PublicKeyHex) -> Result<PublicKey, KeyFault> {
        if !encodes_canonically(hex.as_bytes()) {
            return Err(KeyFault::NotCanonical);
        }
        let point = VerifyingKey::from_bytes(hex.as_bytes()).map_err(|_| KeyFault::NotAPoint)?;
        if point.is_weak() {
            return Err(KeyFault::Weak);
        }
        Ok(PublicKey { hex, point })
    }
}

/// Whether the y coordinate is below the field prime 2^255 − 19. The other ambiguity, a sign bit on x = 0,
/// belongs to the points y = ±1, which are refused as weak.
fn encodes_canonically(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    high & 0x7f != 0x7f || *low < 0xed || middle.iter().any(|byte| *byte != 0xff)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.hex == other.hex
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hex.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.hex)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.hex, formatter)
    }
}

/// An Ed25519 private key. Its memory is wiped when it is dropped, and it never shows in `Debug` output.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 5.1.5). The caller brings the randomness.
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> SigningKey {
        let secret = ed25519_dalek::SigningKey::from_bytes(&seed);
        seed.zeroize();
        let point = secret.verifying_key();
        // A clamped scalar is neither 0 nor a multiple of the group order, so this point is canonical and not
        // weak.
        let public = PublicKey { hex: PublicKeyHex::from_bytes(point.to_bytes()), point };
        SigningKey { secret, public }
    }

    /// The key of a seed written as 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`KeyFault::NotHex`]; the message never repeats the text.
    pub fn from_seed_hex(text: &str) -> Result<SigningKey, KeyFault> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(KeyFault::NotHex);
        }
        let mut seed = Zeroizing::new([0_u8; 32]);
        for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return Err(KeyFault::NotHex) };
            *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Ok(SigningKey::from_seed(*seed))
    }

    /// The seed, for a key file. The text wipes itself.
    #[must_use]
    pub fn seed_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.secret.as_bytes() {
            for digit in [byte >> 4, byte & 0x0f] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// The seed, for another signer of the same key. It wipes itself.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.secret.as_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs exactly `message` (RFC 8032 5.1.6: deterministic, no prehash, no prefix).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> SignatureHex {
        SignatureHex::from_bytes(self.secret.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey(secret, public {})", self.public)
    }
}

fn hex_digit(digit: u8) -> Result<u8, KeyFault> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(KeyFault::NotHex),
    }
}
