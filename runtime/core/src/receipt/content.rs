//! What a receipt says about the result of the call.

use chio_json::{Json, JsonError, Sha256Hex};
use chio_spec::ReceiptStream;
use sha2::{Digest, Sha256};

use crate::hash::{NULL_CONTENT_HASH, hash_json, sha256};

/// The content hash of a call that returned one value, or none (a denial, an error, a call still open).
///
/// # Errors
///
/// The value has no canonical text.
pub fn content_hash(value: Option<&Json>) -> Result<Sha256Hex, JsonError> {
    value.map_or(Ok(NULL_CONTENT_HASH), hash_json)
}

/// The content hash of a stream, chunk by chunk: SHA-256 over the chunk hashes, each as 64 hexadecimal
/// digits. So a client that saw only some chunks can still check those against the receipt's metadata.
#[derive(Debug, Clone, Default)]
pub struct StreamHasher {
    whole: Sha256,
    chunk_hashes: Vec<Sha256Hex>,
    total_bytes: u64,
}

impl StreamHasher {
    /// Before the first chunk.
    #[must_use]
    pub fn new() -> StreamHasher {
        StreamHasher::default()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    ///
    /// The chunk has no canonical text; it is then not counted.
    pub fn push(&mut self, chunk: &Json) -> Result<(), JsonError> {
        let text = chunk.canonical()?;
        let hash = sha256(text.as_bytes());
        self.whole.update(hash.to_string());
        self.chunk_hashes.push(hash);
        self.total_bytes = self.total_bytes.saturating_add(text.len() as u64);
        Ok(())
    }

    /// Chunks so far.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunk_hashes.len() as u64
    }

    /// Bytes of all chunks so far, in canonical JSON.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The content hash and what the receipt's metadata says about the stream. `expected` is the number of
    /// chunks that the tool announced, if it did.
    #[must_use]
    pub fn finish(self, expected: Option<u64>) -> (Sha256Hex, ReceiptStream) {
        let received = self.chunks();
        let content_hash = Sha256Hex::from_bytes(self.whole.finalize().into());
        (content_hash, ReceiptStream::new(self.chunk_hashes, expected, received, self.total_bytes))
    }
}
