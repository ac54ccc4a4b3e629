//! Secrets that nobody can guess.

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoRandomness(getrandom::Error);

/// `N` random bytes.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// 128 random bits as hexadecimal digits: unguessable within any lifetime here.
pub(super) fn token() -> Result<String, NoRandomness> {
    Ok(hex(&bytes::<16>()?))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
