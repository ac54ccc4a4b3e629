//! Session ids: 256 random bits, so that nobody finds one by trying.

/// A fresh id, 64 lower-case hexadecimal digits.
pub(super) fn fresh() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut id, byte| {
        for nibble in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        id
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::collections::HashSet;

    #[test]
    fn session_ids_are_unique_and_uniform() {
        let mut seen = HashSet::new();
        let mut counts = [0_u32; 256];
        for _ in 0..100_000 {
            let id = super::fresh().unwrap();
            assert_eq!(id.len(), 64);
            for at in (0..64).step_by(2) {
                counts[usize::from(u8::from_str_radix(&id[at..at + 2], 16).unwrap())] += 1;
            }
            assert!(seen.insert(id));
        }
        let expected = 100_000.0 * 32.0 / 256.0;
        let chi_square: f64 =
            counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: mean 255, standard deviation 22.6; six deviations either way.
        assert!((120.0..391.0).contains(&chi_square), "{chi_square}");
    }
}
