//! The fuzz targets on a stable compiler: the same laws, over arbitrary bytes and mutated golden vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// Pieces that matter to some reader.
const DICTIONARY: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0061",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"null",
    b"true",
    b"-0",
    b"1.0",
    b"1e21",
    b"9007199254740993",
    b"18446744073709551616",
    b"\"signature\":\"",
    b"\"algorithm\":\"ed25519\",",
    b"\"algorithm\":{},",
    b"\"signature\":1,",
    b"\"type\":\"heartbeat\"",
    b"\"id\":\"a\",",
    b"\"verdict\":\"allow\"",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80",
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, &'static [u8]),
    /// The end of another sample takes the place of the own.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        (place(), 1..=255_u8).prop_map(|(place, bits)| Change::Flip(place, bits)),
        (place(), 1..80_usize).prop_map(|(place, length)| Change::Remove(place, length)),
        (place(), 1..80_usize).prop_map(|(place, length)| Change::Repeat(place, length)),
        (place(), select(DICTIONARY)).prop_map(|(place, piece)| Change::Insert(place, piece)),
        (place(), any::<Index>(), any::<Index>())
            .prop_map(|(place, other, from)| Change::Splice(place, other, from)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let end = bytes.len();
        match self {
            Change::Flip(place, bits) if end > 0 => bytes[place.index(end)] ^= bits,
            Change::Remove(place, length) if end > 0 => {
                let start = place.index(end);
                drop(bytes.drain(start..end.min(start + length)));
            }
            Change::Repeat(place, length) if end > 0 => {
                let start = place.index(end);
                let piece = bytes[start..end.min(start + length)].to_vec();
                drop(bytes.splice(start..start, piece));
            }
            Change::Insert(place, piece) => {
                let start = place.index(end + 1);
                drop(bytes.splice(start..start, piece.iter().copied()));
            }
            Change::Splice(place, other, from) => {
                let other = other.get(samples);
                bytes.truncate(place.index(end + 1));
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Change::Flip(..) | Change::Remove(..) | Change::Repeat(..) => {}
        }
    }
}

/// A mutated sample, most of the time; else bytes that nobody chose.
fn input(samples: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let mutated = (select(samples), vec(change(), 0..4)).prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes, samples));
        bytes
    });
    prop_oneof![9 => mutated, 1 => vec(any::<u8>(), 0..200)]
}

/// A frame whose length is right, three times of four: otherwise few mutations would get past the prefix.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    (input(&FRAMES), 0..4_u8).prop_map(|(mut bytes, keep)| {
        if keep > 0 && bytes.len() >= 4 {
            let length = u32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        bytes
    })
}

static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let digits = |hex: &str| {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    samples("frames", "bytes").iter().map(|hex| digits(std::str::from_utf8(hex).unwrap())).collect()
});
static TEXTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let objects = (0..4).flat_map(|_| samples("dpop", "proof"));
    samples("canonical", "text").into_iter().chain(objects).chain(samples("capabilities", "token")).collect()
});
static TOKENS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| samples("capabilities", "token"));
static RECEIPTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| samples("receipts", "receipt"));

fn samples(file: &str, member: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/spec/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    cases.map(|case| case[member].as_str().unwrap().as_bytes().to_vec()).collect()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(30_000))]

    #[test]
    fn any_bytes_are_one_message_or_none(bytes in framed()) {
        targets::frame(&bytes);
    }
}

proptest! {
    #![proptest_config(cases(60_000))]

    #[test]
    fn scan_writer_and_reader_agree_on_any_text(bytes in input(&TEXTS)) {
        targets::canonical(&bytes);
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn no_bytes_are_a_forged_token(bytes in input(&TOKENS)) {
        targets::token(&bytes);
    }

    #[test]
    fn no_bytes_are_a_forged_receipt(bytes in input(&RECEIPTS)) {
        targets::receipt(&bytes);
    }
}
